"""What the checkers have in common: how they read lines, judge the order of records and the rows at the end, and say every
difference. What a record must look like, and where it must stand, each checker knows for itself.
"""

import json
import sys
from collections import defaultdict

# Further faults are only counted.
MOST_FAULTS = 50


def lines(path):
    """The values of an NDJSON file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def whole(path):
    """The value of a JSON file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def identity(record):
    """By what consumers know a record of version 2 again, recomputed from its fields."""
    source, applied = record["source"], str(record["online_applied"]).lower()
    place = [source["name"], source["partition"], source["position"], str(source["row"])]
    return ";".join(["1", str(record["epoch"]), *place, str(record["generation"]), record["component"], applied])


class Order:
    """How far the records of each lane have come; a lane is whatever has an order of its own.

    mode  once    every record stands there once, in order
          again   a stretch may be repeated, in order, from an earlier record on
          shared  as `again`, and repeats of several writers may be mingled: only what is new must be in order
    """

    def __init__(self, mode, faults):
        if mode not in ("once", "again", "shared"):
            raise ValueError(f"unknown mode {mode}")
        self.mode, self.faults = mode, faults
        # For each lane: how many different records were seen, which came last.
        self.reached, self.last = defaultdict(int), {}
        self.repeats = 0
        # How far the consumer has come in each partition.
        self.stands = {}

    def consumed(self, partition, offset):
        """Where the consumer saw a record."""
        if offset <= self.stands.get(partition, -1):
            self.faults.append(f"{partition}@{offset}: the consumer went back from {self.stands[partition]}")
        self.stands[partition] = offset

    def seen(self, where, lane, number):
        """The next record of a lane, by its number there."""
        reached = self.reached[lane]
        if number > reached:
            self.faults.append(f"{where}: event {number} of {lane} before {reached}")
        if number < reached:
            self.repeats += 1
            if self.mode == "once":
                self.faults.append(f"{where}: event {number} of {lane} again, {reached} were there")
            elif self.mode == "again" and number > self.last[lane] + 1:
                self.faults.append(f"{where}: event {number} of {lane} after {self.last[lane]}, within a repeated stretch")
        self.last[lane] = number
        self.reached[lane] = max(reached, number + 1)

    def complete(self, expected):
        """What each lane must have at the end: its places, in order."""
        if not expected:
            self.faults.append("the test itself has no events")
        for lane, places in sorted(expected.items()):
            if self.reached[lane] < len(places):
                self.faults.append(f"{lane}: {self.reached[lane]} of {len(places)} events came out; next is {places[self.reached[lane]]}")

    def summary(self, events, users):
        return f"{events} events, {sum(self.reached.values())} records, {self.repeats} repeats, {users} users"


def rows(faults, vectors, expected):
    """Each user's row must be there and say what is expected: {user: {field: value}}."""
    for user, fields in sorted(expected.items()):
        row = vectors.get(user, {"status": "not asked"})
        if row["status"] != "PRESENT":
            faults.append(f"{user}: status {row['status']}")
            continue
        for field, value in fields.items():
            if row[field] != value:
                faults.append(f"{user}: stored {field} {row[field]}, but the newest record has {value}")


def verdict(faults, summary):
    """Says all faults and what was looked at; gives how the program ends."""
    for fault in faults[:MOST_FAULTS]:
        print(fault)
    if len(faults) > MOST_FAULTS:
        print(f"… and {len(faults) - MOST_FAULTS} more")
    print(f"{summary}, {len(faults)} faults")
    return 1 if faults else 0


def run(main, usage, arguments):
    """Runs a checker that wants that many arguments."""
    if len(sys.argv) != 1 + arguments:
        print(usage, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
