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

from collections import defaultdict

import judgment
from judgment import lines


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

    order = judgment.Order(mode, faults)
    for partition, offset, key, header, record in lines(seen_path):
        where = f"{partition}@{offset}"
        order.consumed(partition, offset)
        user, source = record["entity_keys"]["user_id"], record["source"]
        source_partition, position = int(source["partition"].rsplit("-", 1)[1]), int(source["position"], 16)
        if source["partition"] != f"{topic}-{source_partition}":
            faults.append(f"{where}: of partition {source['partition']}")
        if events.get((source_partition, position)) != (user, record["feature_timestamp"]):
            faults.append(f"{where}: no such event: {source} of {user} at {record['feature_timestamp']}")
            continue
        identity = judgment.identity(record)
        if header != identity:
            faults.append(f"{where}: header {header}, but the record says {identity}")
        if key != user:
            faults.append(f"{where}: key {key} on a record of {user}")
        pair = partition, source_partition
        number = index.get(pair, {}).get(position)
        if number is None:
            faults.append(f"{where}: a record of {user} does not belong into this partition")
            continue
        order.seen(where, pair, number)
    order.complete(expected)

    vectors = judgment.whole(vectors_path)
    if vectors is not None:
        judgment.rows(faults, vectors, {user: {"feature_timestamp": time} for user, (time, *_) in newest.items()})

    return judgment.verdict(faults, order.summary(len(events), len(newest)))


if __name__ == "__main__":
    judgment.run(main, __doc__, 6)
