"""Makes the demo's streams and fills the first with events about drivers whose time is now, or splits its shards.

produce.py ENDPOINT STREAM OUTPUT_STREAM EVENTS RATE SPLITS: RATE = events a second; SPLITS = how many shards to split.
"""

import datetime
import json
import random
import sys
import time

import boto3

endpoint, stream, output_stream = sys.argv[1:4]
events, rate, splits = map(int, sys.argv[4:7])

kinesis = boto3.client(
    "kinesis",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="demo",
    aws_secret_access_key="demo",
)


def active(name):
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.01)


for name in (stream, output_stream):
    try:
        kinesis.create_stream(StreamName=name, ShardCount=2)
    except kinesis.exceptions.ResourceInUseException:
        pass
    active(name)

for shard in kinesis.list_shards(StreamName=stream)["Shards"][:splits]:
    span = shard["HashKeyRange"]
    middle = (int(span["StartingHashKey"]) + int(span["EndingHashKey"]) + 1) // 2
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
    active(stream)


def event():
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    return {
        "driver_id": random.randrange(1001, 1051),
        "event_timestamp": now,
        "conv_rate": round(random.random(), 4),
        "acc_rate": round(random.random(), 4),
        "created": now,
    }


random.seed(1)
started = time.monotonic()
sent = 0
while sent < events:
    # What is due by now goes in one request.
    due = min(events, int((time.monotonic() - started) * rate) + 1, sent + 500)
    made = [event() for _ in range(due - sent)]
    if made:
        entries = [{"PartitionKey": str(one["driver_id"]), "Data": json.dumps(one)} for one in made]
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        if answer.get("FailedRecordCount"):
            sys.exit("not every event was acknowledged")
        sent = due
    time.sleep(0.02)
