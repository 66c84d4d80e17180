#!/usr/bin/env python3
"""Sends promotions: reads the output stream as it grows, asks for the user's features, decides.

    python3 consumer.py out/user_items_added_to_cart.ndjson --url http://127.0.0.1:6566

For every record it prints one line of JSON with the decision. Needs nothing but Python. What it deliberately is not: a
durable consumer. A record is read again when the program is started again; a real one remembers its place.
"""

import argparse
import json
import math
import time
import urllib.request

# A promotion is sent if it makes a purchase more likely by at least this much.
THRESHOLD = 0.10
# How long to wait before looking whether the file has grown.
PAUSE_SECONDS = 0.05


def records(path, stop_after_idle):
    """The records of an output stream in a file, waiting for more; ends after so many seconds without one."""
    rest, last = b"", time.monotonic()
    while True:
        try:
            file = open(path, "rb")
            break
        except FileNotFoundError:
            if stop_after_idle is not None and time.monotonic() - last > stop_after_idle:
                return
            time.sleep(PAUSE_SECONDS)
    with file:
        while True:
            piece = file.read(1 << 16)
            if piece:
                last = time.monotonic()
                # The last line may not be whole yet.
                *lines, rest = (rest + piece).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
            elif stop_after_idle is not None and time.monotonic() - last > stop_after_idle:
                return
            else:
                time.sleep(PAUSE_SECONDS)


def feature_vector(url, user_id):
    """All features of the service `promotion` for a user, by name; `None` where there is none."""
    question = {"feature_service": "promotion", "entities": {"user_id": [user_id]}}
    request = urllib.request.Request(
        url + "/get-online-features", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    # The order of the answer's features is not the order of the question's.
    columns = zip(answer["metadata"]["feature_names"], answer["results"])
    return {name: column["values"][0] if column["statuses"][0] == "PRESENT" else None for name, column in columns}


def probability(features, with_promotion):
    """Stands for a call to a model service: how likely this user is to buy what is in the cart."""
    lifetime_value = features.get("lifetime_value") or 0.0
    offers = len(features.get("previous_offers") or [])
    score = -1.0 + 0.4 * math.log1p(lifetime_value / 100) - 0.002 * (features.get("value") or 0.0)
    if with_promotion:
        # Offers work on those who have redeemed some, and on those who have only just begun to buy.
        score += 0.2 + 0.15 * offers + (0.4 if 0 < lifetime_value < 50 else 0.0)
    return 1 / (1 + math.exp(-score))


def decide(record, features):
    """What is decided for a record of the output stream, given the user's features."""
    without, given = probability(features, False), probability(features, True)
    return {
        "user_id": record["entity_keys"]["user_id"],
        "item_id": features.get("item_id"),
        "feature_timestamp": record["feature_timestamp"],
        "uplift": round(given - without, 4),
        "promote": given - without >= THRESHOLD,
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("stream", help="the file of output_stream in view.yaml")
    arguments.add_argument("--url", default="http://127.0.0.1:6566")
    arguments.add_argument("--stop-after-idle", type=float, metavar="SECONDS", help="end when nothing comes for so long")
    options = arguments.parse_args()
    for record in records(options.stream, options.stop_after_idle):
        features = feature_vector(options.url, record["entity_keys"]["user_id"])
        print(json.dumps(decide(record, features), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
