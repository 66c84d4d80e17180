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

from collections import defaultdict

import judgment
from judgment import lines


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

    order, home = judgment.Order(mode, faults), {}
    for shard, sequence, key, record in lines(seen_path):
        where = f"{shard}@{sequence}"
        order.consumed(shard, int(sequence))
        user, source = record["entity_keys"]["user_id"], record["source"]
        position = source["position"]
        # 24 bytes of sequence number, 8 of the place in a packed record, which none of these are.
        place = source["partition"], int(position[:48], 16)
        if len(position) != 64 or int(position[48:], 16):
            faults.append(f"{where}: position {position}")
        if events.get(place) != (user, record["feature_timestamp"]):
            faults.append(f"{where}: no such event: {source} of {user} at {record['feature_timestamp']}")
            continue
        identity = judgment.identity(record)
        if record["millrace"] != identity:
            faults.append(f"{where}: identity {record['millrace']}, but the record says {identity}")
        if key != user:
            faults.append(f"{where}: key {key} on a record of {user}")
        if home.setdefault(key, shard) != shard:
            faults.append(f"{where}: {key} stood in {home[key]} before")
        order.seen(where, user, index[user][place])
    order.complete(expected)

    vectors = judgment.whole(vectors_path)
    if vectors is not None:
        judgment.rows(faults, vectors, {user: {"feature_timestamp": time} for user, (time, *_) in newest.items()})

    return judgment.verdict(faults, order.summary(len(events), len(newest)))


if __name__ == "__main__":
    judgment.run(main, __doc__, 4)
