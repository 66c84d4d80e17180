#!/usr/bin/env python3
"""Recomputes, from what was acknowledged, what a host must have emitted and stored; says every difference.

It shares nothing with the host: another language, another way of computing.

    check.py ACKNOWLEDGED OUTPUT VECTORS

ACKNOWLEDGED  NDJSON, in the order of acknowledgement: the events, each with a time of its own.
OUTPUT        NDJSON: the output stream, records of version 2.
VECTORS       JSON: what was read at the end, {user: {"timestamp": text, "status": text, "value": number}}.

Each generation of the transform gives all its rows the same value.
"""

import json

import judgment


def load(path):
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                yield number, None
            else:
                yield number, json.loads(line)


def main(acknowledged_path, output_path, vectors_path):
    faults = []
    # What must be there: one record for each acknowledged event, known by its time, of its user.
    expected = {}
    order = []
    for _, event in load(acknowledged_path):
        key = event["timestamp"]
        if key in expected:
            faults.append(f"the test itself acknowledged {key} twice")
        expected[key] = event["user_uuid"]
        order.append(key)

    seen = {}
    positions = []
    newest = {}
    values = {}
    generation = 0
    for number, record in load(output_path):
        if record is None:
            faults.append(f"output line {number} is torn")
            continue
        time, user = record["feature_timestamp"], record["entity_keys"]["user_id"]
        if time in seen:
            faults.append(f"record of {time} stands in lines {seen[time]} and {number}")
        seen[time] = number
        if expected.get(time) != user:
            faults.append(f"line {number}: no acknowledged event of {user} at {time}")
        source = record["source"]
        position = (source["position"], source["row"])
        if positions and position <= positions[-1]:
            faults.append(f"line {number}: position {position} after {positions[-1]}")
        positions.append(position)
        if record["generation"] < generation:
            faults.append(f"line {number}: generation {record['generation']} after {generation}")
        generation = record["generation"]
        value = record["feature_values"]["impression"]
        if values.setdefault(generation, value) != value:
            faults.append(f"line {number}: {value} in generation {generation}, which gave {values[generation]} before")
        # The total order: event time first, then position.
        if user not in newest or (time, position) > newest[user][:2]:
            newest[user] = (time, position, value)

    if not order:
        faults.append("the test itself acknowledged nothing")
    for time in order:
        if time not in seen:
            faults.append(f"acknowledged, but never emitted: {time} of {expected[time]}")

    rows = {user: {} for user in expected.values()}
    rows |= {user: {"timestamp": newest[user][0], "value": newest[user][2]} for user in rows if user in newest}
    judgment.rows(faults, judgment.whole(vectors_path), rows)

    return judgment.verdict(faults, f"{len(order)} events acknowledged, {len(seen)} records, {len(rows)} users")


if __name__ == "__main__":
    judgment.run(main, __doc__, 3)
