#!/usr/bin/env python3
"""Recomputes, from the events in a source topic, what must stand in an output topic, and where; says every difference.

It shares nothing with the host: another language, another way of computing.

    check_topic.py MODE TOPIC PARTITIONS EVENTS SEEN VECTORS

MODE        once    every record stands there once, in order
            again   a stretch may be repeated, in order, from an earlier record on
            shared  as `again`, and repeats of several hosts may be mingled: only what is new must be in order
TOPIC       the source topic
PARTITIONS  number of partitions of the output topic
EVENTS      NDJSON: [partition, offset, user, time] of each event
SEEN        NDJSON: [partition, offset, key, header, record], as a consumer of committed records saw them; version 2
VECTORS     JSON: what was read at the end, {user: {"status": ..., "effective_time" or "timestamp": ..., ...}}; null = not asked
"""

import json
import sys
from collections import defaultdict


def murmur2(data):
    """The hash by which Java's producer chooses a partition."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main(mode, topic, partitions, events_path, seen_path, vectors_path):
    partitions = int(partitions)
    faults = []
    # What must be there: for each pair of output and source partition the offsets in order.
    events = {}
    expected = defaultdict(list)
    newest = {}
    for source, offset, user, time in sorted(lines(events_path)):
        events[source, offset] = user, time
        expected[(murmur2(user.encode()) & 0x7FFFFFFF) % partitions, source].append(offset)
        version = (time, f"{topic}-{source}", offset)
        newest[user] = max(newest.get(user, version), version)
    index = {pair: {offset: number for number, offset in enumerate(offsets)} for pair, offsets in expected.items()}

    # For each pair: how many different records were seen, which came last.
    reached = defaultdict(int)
    last = {}
    stands = {}
    repeats = 0
    for partition, offset, key, header, record in lines(seen_path):
        where = f"{partition}@{offset}"
        if offset <= stands.get(partition, -1):
            faults.append(f"{where}: the consumer went back from {stands[partition]}")
        stands[partition] = offset
        user, source = record["entity_keys"]["user_id"], record["source"]
        source_partition, position = int(source["partition"].rsplit("-", 1)[1]), int(source["position"], 16)
        if source["partition"] != f"{topic}-{source_partition}":
            faults.append(f"{where}: of partition {source['partition']}")
        if events.get((source_partition, position)) != (user, record["feature_timestamp"]):
            faults.append(f"{where}: no such event: {source} of {user} at {record['feature_timestamp']}")
            continue
        applied = str(record["online_applied"]).lower()
        identity = ["1", str(record["epoch"]), source["name"], source["partition"], source["position"], str(source["row"])]
        identity += [str(record["generation"]), record["component"], applied]
        if header != ";".join(identity):
            faults.append(f"{where}: header {header}, but the record says {';'.join(identity)}")
        if key != user:
            faults.append(f"{where}: key {key} on a record of {user}")
        pair = partition, source_partition
        number = index.get(pair, {}).get(position)
        if number is None:
            faults.append(f"{where}: a record of {user} does not belong into this partition")
            continue
        if number > reached[pair]:
            faults.append(f"{where}: event {number} of {pair} before {reached[pair]}")
        if number < reached[pair]:
            repeats += 1
            if mode == "once":
                faults.append(f"{where}: event {number} of {pair} again, {reached[pair]} were there")
            elif mode == "again" and number > last[pair] + 1:
                faults.append(f"{where}: event {number} of {pair} after {last[pair]}, within a repeated stretch")
        last[pair] = number
        reached[pair] = max(reached[pair], number + 1)
    for pair, offsets in sorted(expected.items()):
        if reached[pair] < len(offsets):
            faults.append(f"{pair}: {reached[pair]} of {len(offsets)} events came out; next is offset {offsets[reached[pair]]}")

    with open(vectors_path, encoding="utf-8") as file:
        vectors = json.load(file)
    if vectors is not None:
        for user, (time, source, offset) in sorted(newest.items()):
            row = vectors.get(user, {"status": "not asked"})
            if row["status"] != "PRESENT":
                faults.append(f"{user}: status {row['status']}")
            elif row["feature_timestamp"] != time:
                faults.append(f"{user}: stored {row['feature_timestamp']}, but the newest is {time} at {source}@{offset}")

    for fault in faults[:50]:
        print(fault)
    if len(faults) > 50:
        print(f"… and {len(faults) - 50} more")
    print(f"{len(events)} events, {sum(reached.values())} records, {repeats} repeats, {len(newest)} users, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 7:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
