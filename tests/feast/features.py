"""The views of guest_examples/03_cart_promotion, as a Feast project declares them."""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Array, Float64, Int64, String

user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)


def view(name, source, schema):
    # Feast wants a batch source beside each push source; nothing reads these.
    batch = FileSource(name=f"{source}_batch", path=f"{source}.parquet", timestamp_field="timestamp")
    push = PushSource(name=source, batch_source=batch)
    return FeatureView(name=name, entities=[user], ttl=timedelta(0), schema=schema, source=push, online=True)


items = view(
    "user_items_added_to_cart",
    "add_item_to_cart",
    [
        Field(name="user_id", dtype=String),
        Field(name="item_id", dtype=String),
        Field(name="quantity", dtype=Int64),
        Field(name="value", dtype=Float64),
    ],
)
purchases = view(
    "user_purchases",
    "orders",
    [
        Field(name="user_id", dtype=String),
        Field(name="lifetime_value", dtype=Float64),
        Field(name="previous_offers", dtype=Array(String)),
    ],
)
promotion = FeatureService(name="promotion", features=[items, purchases])
