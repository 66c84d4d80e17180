"""Rows a second that Feast's own Redis online store writes: 1,000 rows a call, as its stream processors do.

Usage: feast_writer.py HOST:PORT FOLDER. Needs `feast[redis]`. Prints one number.
"""

import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.types import Int64

ROWS, CALLS, WARM, USERS = 1000, 30, 5, 50_000


def main(address, folder):
    folder = Path(folder)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    past = FileSource(path=str(folder / "past.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(
        name="user_impression_counts",
        entities=[user],
        ttl=timedelta(0),
        schema=[Field(name="impression", dtype=Int64)],
        source=PushSource(name="impressions", batch_source=past),
    )
    pandas.DataFrame({"user_id": ["u"], "impression": [1], "event_timestamp": [datetime.now(timezone.utc)]}).to_parquet(
        folder / "past.parquet"
    )
    store = FeatureStore(
        config=RepoConfig(
            project="feast_peer",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "redis", "connection_string": address},
            entity_key_serialization_version=3,
        )
    )
    store.apply([user, view])
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    frames = [
        pandas.DataFrame(
            {
                "user_id": [f"{(call * ROWS + row) * 7919 % USERS:08x}-0000-4000-a000-0123456789ab" for row in range(ROWS)],
                "impression": [1] * ROWS,
                "event_timestamp": [begin + timedelta(seconds=call * ROWS + row) for row in range(ROWS)],
            }
        )
        for call in range(WARM + CALLS)
    ]
    for frame in frames[:WARM]:
        store.write_to_online_store("user_impression_counts", frame)
    started = time.perf_counter()
    for frame in frames[WARM:]:
        store.write_to_online_store("user_impression_counts", frame)
    print(round(ROWS * CALLS / (time.perf_counter() - started)))


main(*sys.argv[1:3])
