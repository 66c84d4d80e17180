#!/usr/bin/env python3
"""Recomputes, from the events in a source stream of Kinesis, what must stand in an output stream; says every difference.

It shares nothing with the host: another language, another way of computing.

    check_stream.py MODE EVENTS SEEN VECTORS

MODE     once    every record stands there once, each user's in order
         again   a stretch of a user's records may be repeated, in order, from an earlier record on
         shared  as `again`, and repeats of several hosts may be mingled: only what is new must be in order
EVENTS   NDJSON: [shard, sequence, user, time] of each event, each user's in the order in which they were put
SEEN     NDJSON: [shard, sequence, key, record] as a consumer saw them, shard by shard; version 2
VECTORS  JSON: what was read at the end, {user: {"status": ..., "feature_timestamp": ..., ...}}; null = not asked

The output stream must have kept its shards: then each partition key stands in one of them.
"""

import json
import sys
from collections import defaultdict


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main(mode, events_path, seen_path, vectors_path):
    faults = []
    # What must be there: each user's events in order.
    events, expected, newest = {}, defaultdict(list), {}
    for shard, sequence, user, time in lines(events_path):
        place = shard, int(sequence)
        if place in events:
            faults.append(f"the test itself has two events at {place}")
        if expected[user] and int(sequence) <= expected[user][-1][1]:
            faults.append(f"the server itself gave an event of {user} {sequence} after {expected[user][-1]}")
        events[place] = user, time
        expected[user].append(place)
        # The total order: event time first, then shard and position.
        newest[user] = max(newest.get(user, (time, *place)), (time, *place))
    index = {user: {place: number for number, place in enumerate(places)} for user, places in expected.items()}

    # For each user: how many different records were seen, and which came last.
    reached, last, home, stands = defaultdict(int), {}, {}, {}
    repeats = 0
    for shard, sequence, key, record in lines(seen_path):
        where = f"{shard}@{sequence}"
        if int(sequence) <= stands.get(shard, -1):
            faults.append(f"{where}: the consumer went back from {stands[shard]}")
        stands[shard] = int(sequence)
        user, source = record["entity_keys"]["user_id"], record["source"]
        position = source["position"]
        # 24 bytes of sequence number, 8 of the place in a packed record, which none of these are.
        place = source["partition"], int(position[:48], 16)
        if len(position) != 64 or int(position[48:], 16):
            faults.append(f"{where}: position {position}")
        if events.get(place) != (user, record["feature_timestamp"]):
            faults.append(f"{where}: no such event: {source} of {user} at {record['feature_timestamp']}")
            continue
        applied = str(record["online_applied"]).lower()
        identity = ["1", str(record["epoch"]), source["name"], source["partition"], position, str(source["row"])]
        identity = ";".join([*identity, str(record["generation"]), record["component"], applied])
        if record["millrace"] != identity:
            faults.append(f"{where}: identity {record['millrace']}, but the record says {identity}")
        if key != user:
            faults.append(f"{where}: key {key} on a record of {user}")
        if home.setdefault(key, shard) != shard:
            faults.append(f"{where}: {key} stood in {home[key]} before")
        number = index[user][place]
        if number > reached[user]:
            faults.append(f"{where}: event {number} of {user} before {reached[user]}")
        if number < reached[user]:
            repeats += 1
            if mode == "once":
                faults.append(f"{where}: event {number} of {user} again, {reached[user]} were there")
            elif mode == "again" and number > last[user] + 1:
                faults.append(f"{where}: event {number} of {user} after {last[user]}, within a repeated stretch")
        last[user] = number
        reached[user] = max(reached[user], number + 1)
    for user, places in sorted(expected.items()):
        if reached[user] < len(places):
            faults.append(f"{user}: {reached[user]} of {len(places)} events came out; next is {places[reached[user]]}")

    with open(vectors_path, encoding="utf-8") as file:
        vectors = json.load(file)
    if vectors is not None:
        for user, (time, shard, sequence) in sorted(newest.items()):
            row = vectors.get(user, {"status": "not asked"})
            if row["status"] != "PRESENT":
                faults.append(f"{user}: status {row['status']}")
            elif row["feature_timestamp"] != time:
                faults.append(f"{user}: stored {row['feature_timestamp']}, but the newest is {time} at {shard}@{sequence}")

    for fault in faults[:50]:
        print(fault)
    if len(faults) > 50:
        print(f"… and {len(faults) - 50} more")
    print(f"{len(events)} events, {sum(reached.values())} records, {repeats} repeats, {len(newest)} users, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
