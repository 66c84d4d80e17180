#!/usr/bin/env python3
"""A stock Feast client against a running host: prints what it gets as JSON.

Run in a folder with feature_store.yaml and features.py, HOST_URL in the environment. What is expected stands in the test.
"""

import json
import os
import warnings

warnings.filterwarnings("ignore")

import pandas
import requests
from feast import FeatureStore

import features


def push(source, rows):
    """As Feast's documentation pushes to a feature server."""
    frame = pandas.DataFrame(rows)
    body = {"push_source_name": source, "df": frame.to_dict("list"), "to": "online"}
    answer = requests.post(os.environ["HOST_URL"] + "/push", data=json.dumps(body), timeout=60)
    answer.raise_for_status()


def main():
    store = FeatureStore(repo_path=".")
    store.apply([features.user, features.items, features.purchases, features.promotion])
    times = ["2026-03-04T05:06:07.832793", "2026-03-04T05:06:08"]
    push(
        "add_item_to_cart",
        {"user_id": ["ada", "ben"], "item_id": ["boots", "tent"], "price": [89.9, 249.0], "quantity": [1, 2], "timestamp": times},
    )
    # Nobody has an empty list: Feast's client cannot guess the type of one.
    push(
        "orders",
        {"user_id": ["ada", "cem"], "lifetime_total": [1430.5, 5.0], "offers_redeemed": [["SPRING10", "MAY5"], ["WELCOME"]], "timestamp": times},
    )
    who = [{"user_id": name} for name in ("ada", "ben", "cem", "nobody")]
    one = store.get_online_features(
        features=["user_items_added_to_cart:quantity", "user_items_added_to_cart:item_id"], entity_rows=who
    )
    full = store.get_online_features(
        features=["user_items_added_to_cart:value", "user_purchases:lifetime_value"],
        entity_rows=who,
        full_feature_names=True,
    )
    service = store.get_online_features(features=store.get_feature_service("promotion"), entity_rows=who)
    print(json.dumps({"one": one.to_dict(), "full": full.to_dict(), "service": service.to_dict()}))


if __name__ == "__main__":
    main()
