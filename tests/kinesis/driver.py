#!/usr/bin/env python3
"""Writes, reads and reshapes streams with stock boto3, as anybody else would: one request a line in, one answer a line out.

    driver.py ENDPOINT

A request is {"do": VERB, "stream": NAME, ...}; an answer is {"ok": ...} or {"error": text}.

    create  shards                              makes a stream and waits until it is active
    delete                                      removes a stream and waits until it is gone
    put     records: [[key, data, hash|null]]   data in base64; gives [[shard, sequence]], in the same order
    pack    records                             the same, but packed into one, as Amazon's producer library does it
    shards                                      gives what ListShards says
    split   shard, at|null                      at = the hash key where the second child begins; null = the middle
    merge   shards: [one, its neighbor]
    more                                        gives the records that this driver has not read yet, parents first,
                                                as [[shard, sequence, key, data, seconds]]
    again                                       the same from the beginning on
"""

import base64
import hashlib
import json
import sys
import time

import boto3
from botocore.config import Config

kinesis = boto3.client(
    "kinesis",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    config=Config(retries={"max_attempts": 3}, read_timeout=60),
)

# Where each shard of each stream is read on: an iterator, or None when the shard has ended.
readers = {}


def active(stream):
    while kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.005)


def shards(stream):
    found, token = [], None
    while True:
        page = kinesis.list_shards(NextToken=token) if token else kinesis.list_shards(StreamName=stream)
        found += page["Shards"]
        token = page.get("NextToken")
        if not token:
            return found


def create(stream, shards):
    kinesis.create_stream(StreamName=stream, ShardCount=shards)
    active(stream)


def delete(stream):
    kinesis.delete_stream(StreamName=stream)
    while True:
        try:
            kinesis.describe_stream_summary(StreamName=stream)
        except kinesis.exceptions.ResourceNotFoundException:
            return
        time.sleep(0.005)


def field(number, data):
    """A protobuf field of bytes, or of a number."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def pack(stream, records):
    keys = sorted({key for key, _, _ in records})
    hashes = sorted({explicit for _, _, explicit in records if explicit})
    message = b"".join(field(1, key.encode()) for key in keys) + b"".join(field(2, one.encode()) for one in hashes)
    for key, data, explicit in records:
        hashed = field(2, hashes.index(explicit)) if explicit else b""
        message += field(3, field(1, keys.index(key)) + hashed + field(3, base64.b64decode(data)))
    packed = b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest()
    return put(stream, [[records[0][0], base64.b64encode(packed).decode(), records[0][2]]])


def put(stream, records):
    places = []
    for start in range(0, len(records), 500):
        entries = []
        for key, data, explicit in records[start : start + 500]:
            entry = {"PartitionKey": key, "Data": base64.b64decode(data)}
            entries.append(entry | ({"ExplicitHashKey": explicit} if explicit else {}))
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        if answer.get("FailedRecordCount"):
            raise RuntimeError(f"{answer['FailedRecordCount']} records were refused")
        places += [[record["ShardId"], record["SequenceNumber"]] for record in answer["Records"]]
    return places


def split(stream, shard, at):
    (parent,) = [known for known in shards(stream) if known["ShardId"] == shard]
    if at is None:
        span = parent["HashKeyRange"]
        at = str((int(span["StartingHashKey"]) + int(span["EndingHashKey"]) + 1) // 2)
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard, NewStartingHashKey=at)
    active(stream)


def merge(stream, pair):
    kinesis.merge_shards(StreamName=stream, ShardToMerge=pair[0], AdjacentShardToMerge=pair[1])
    active(stream)


def more(stream):
    read, known = [], readers.setdefault(stream, {})
    # Shards are named in the order in which they were made, so parents come first.
    for shard in sorted(shard["ShardId"] for shard in shards(stream)):
        if shard not in known:
            start = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
            known[shard] = start["ShardIterator"]
        empty = 0
        while known[shard] and not empty:
            answer = kinesis.get_records(ShardIterator=known[shard])
            known[shard] = answer.get("NextShardIterator")
            empty += not answer["Records"]
            for record in answer["Records"]:
                data = base64.b64encode(record["Data"]).decode()
                arrived = record["ApproximateArrivalTimestamp"].timestamp()
                read.append([shard, record["SequenceNumber"], record["PartitionKey"], data, arrived])
    return read


def answer(request):
    verb, stream = request["do"], request["stream"]
    if verb == "create":
        return create(stream, request["shards"])
    if verb == "delete":
        return delete(stream)
    if verb == "put":
        return put(stream, request["records"])
    if verb == "pack":
        return pack(stream, request["records"])
    if verb == "shards":
        return shards(stream)
    if verb == "split":
        return split(stream, request["shard"], request.get("at"))
    if verb == "merge":
        return merge(stream, request["shards"])
    if verb == "again":
        readers.pop(stream, None)
    elif verb != "more":
        raise ValueError(f"unknown verb {verb}")
    return more(stream)


for line in sys.stdin:
    try:
        said = {"ok": answer(json.loads(line))}
    except Exception as error:  # Whatever it is, the test shall see it.
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)
