"""The view of guest_examples/02_driver_stats, as a Feast project declares it."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float32, Int64

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)

stats = FeatureView(
    name="driver_hourly_stats_stream",
    entities=[driver],
    ttl=timedelta(0),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="conv_percentage", dtype=Float32),
        Field(name="acc_percentage", dtype=Float32),
    ],
    # Feast wants a batch source; nothing reads it.
    source=FileSource(name="driver_stats", path="driver_stats.parquet", timestamp_field="event_timestamp"),
    online=True,
)
