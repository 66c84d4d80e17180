#!/usr/bin/env python3
"""Asks a stock Feast client, whose online store is a Redis, for rows that somebody else has written there; says every difference.

It shares nothing with the host: Feast computes keys, fields and values itself.

    feast_redis.py < TASK        (in a Python that has `feast[redis]`)

TASK  JSON:
  connection  Feast's connection_string, such as "127.0.0.1:6379" or "a:1,b:2,password=…"
  cluster     true for a cluster
  project     the project
  views       [{"name": …, "keys": {join key: type}, "features": {feature: type}}], types as view files spell them
  write       [{"view": …, "event_time": …, "key": {…}, "values": {…}}]: rows that Feast is to write first; may be left out
  rows        [{"view": …, "event_time": … or null, "key": {…}, "values": {…}}]: what Feast must read then

Values: bytes in base64, timestamps and event times as RFC 3339 in UTC, dates as YYYY-MM-DD, decimals as text, maps as
lists of pairs, everything else as JSON has it. An event time of null means that there is no row. Feast reads whole seconds
of timestamps and the midnight of dates; event times are compared to the microsecond.
"""

import base64
import json
import logging
import math
import struct
import sys
import tempfile
import warnings
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import pandas
import judgment
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType, types

SCALARS = {
    "bool": types.Bool,
    "int8": types.Int32,
    "int16": types.Int32,
    "int32": types.Int32,
    "uint8": types.Int32,
    "uint16": types.Int32,
    "uint32": types.Int64,
    "int64": types.Int64,
    "uint64": types.Int64,
    "float32": types.Float32,
    "float64": types.Float64,
    "string": types.String,
    "bytes": types.Bytes,
    "timestamp": types.UnixTimestamp,
    "date": types.UnixTimestamp,
}
KEYS = {
    "string": ValueType.STRING,
    "bytes": ValueType.BYTES,
    "int32": ValueType.INT32,
    "int64": ValueType.INT64,
    "timestamp": ValueType.UNIX_TIMESTAMP,
}


def split(text):
    """The parts of a text between commas that are not within brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def parse(text):
    """A type: its name and its parts."""
    name, _, rest = text.strip().partition("<")
    if not rest:
        return ("decimal", None) if name.startswith("decimal") else (name, None)
    parts = split(rest[:-1])
    if name == "struct":
        return name, {field.partition(":")[0].strip(): parse(field.partition(":")[2]) for field in parts}
    return name, [parse(part) for part in parts]


def feast_type(kind):
    """The type that a Feast project would declare."""
    name, parts = kind
    if name == "decimal":
        return types.Decimal
    if name == "list":
        return types.Array(feast_type(parts[0]))
    if name == "struct":
        return types.Struct({field: feast_type(part) for field, part in parts.items()})
    if name == "map":
        return types.Map if parts[0][0] == "string" else types.ScalarMap
    return SCALARS[name]


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def value(kind, given):
    """A value of the task as Feast's users see it."""
    name, parts = kind
    if given is None:
        return None
    if name == "bytes":
        return base64.b64decode(given)
    if name == "timestamp":
        return instant(given).replace(microsecond=0)
    if name == "date":
        return datetime.fromisoformat(given).replace(tzinfo=timezone.utc)
    if name == "decimal":
        return Decimal(given)
    if name == "float32":
        return struct.unpack("<f", struct.pack("<f", float(given)))[0]
    if name == "float64":
        return float(given)
    if name == "uint64" and given >= 1 << 63:
        return Decimal(given)
    if name == "list":
        return [value(parts[0], item) for item in given]
    if name == "struct":
        return {field: value(part, given[field]) for field, part in parts.items()}
    if name == "map":
        return {value(parts[0], key): value(parts[1], item) for key, item in given}
    return given


def same(found, expected):
    if isinstance(expected, float) and isinstance(found, float) and math.isnan(expected):
        return math.isnan(found)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, dict):
        return isinstance(found, dict) and found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    # 1 is no True, and 1.0 no 1.
    return type(found) is type(expected) and found == expected


def open_store(task, folder):
    """A store with the views of the task, as a project of its own would declare them."""
    online = {"type": "redis", "connection_string": task["connection"]}
    if task.get("cluster"):
        online["redis_type"] = "redis_cluster"
    config = RepoConfig(
        project=task["project"],
        registry=str(Path(folder) / "registry.db"),
        provider="local",
        online_store=online,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entities, declared = {}, []
    for view in task["views"]:
        for key, kind in view["keys"].items():
            entities.setdefault(key, Entity(name=key, join_keys=[key], value_type=KEYS[kind]))
        # Feast wants a batch source beside each push source; nothing reads these.
        batch = FileSource(name=f"{view['name']}_batch", path=f"{view['name']}.parquet", timestamp_field="event_timestamp")
        schema = [Field(name=name, dtype=feast_type(parse(kind))) for name, kind in [*view["keys"].items(), *view["features"].items()]]
        declared.append(
            FeatureView(
                name=view["name"],
                entities=[entities[key] for key in view["keys"]],
                ttl=timedelta(0),
                schema=schema,
                source=PushSource(name=f"{view['name']}_push", batch_source=batch),
                online=True,
            )
        )
    store.apply([*entities.values(), *declared])
    return store


def write(store, views, rows):
    by_view = defaultdict(list)
    for row in rows:
        view = views[row["view"]]
        record = {key: value(parse(kind), row["key"][key]) for key, kind in view["keys"].items()}
        record |= {name: value(parse(kind), row["values"][name]) for name, kind in view["features"].items()}
        by_view[row["view"]].append(record | {"event_timestamp": instant(row["event_time"])})
    for name, records in by_view.items():
        frame = {column: pandas.Series([record[column] for record in records], dtype=object) for column in records[0]}
        frame["event_timestamp"] = pandas.to_datetime(frame["event_timestamp"], utc=True)
        store.write_to_online_store(name, pandas.DataFrame(frame))


def check(store, views, rows):
    faults, count = [], 0
    by_view = defaultdict(list)
    for row in rows:
        by_view[row["view"]].append(row)
    for name, rows in by_view.items():
        view = views[name]
        asked = [{key: value(parse(kind), row["key"][key]) for key, kind in view["keys"].items()} for row in rows]
        answer = store.get_online_features(features=[f"{name}:{feature}" for feature in view["features"]], entity_rows=asked)
        found = answer.to_dict()
        order = list(answer.proto.metadata.feature_names.val)
        for feature, kind in view["features"].items():
            times = answer.proto.results[order.index(feature)].event_timestamps
            for index, row in enumerate(rows):
                where = f"{name}:{feature} of {json.dumps(row['key'])}"
                there = row["event_time"] is not None
                expected = value(parse(kind), row["values"][feature]) if there else None
                if not same(found[feature][index], expected):
                    faults.append(f"{where}: Feast reads {found[feature][index]!r}, expected {expected!r}")
                time = instant(row["event_time"]) if there else datetime.fromtimestamp(0, timezone.utc)
                read = times[index].ToDatetime(tzinfo=timezone.utc)
                if read != time:
                    faults.append(f"{where}: Feast reads the event time {read}, expected {time}")
                count += 1
    return faults, count


def main():
    task = json.load(sys.stdin)
    views = {view["name"]: view for view in task["views"]}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(task, folder)
        write(store, views, task.get("write", []))
        faults, count = check(store, views, task["rows"])
    return judgment.verdict(faults, f"{len(task['rows'])} rows, {count} values")


if __name__ == "__main__":
    judgment.run(main, __doc__, 0)
