"""An application behind the output topic: prints records, drops repeats, and says at the end what it has seen.

consume.py HELPER_DIR SERVERS TOPIC EXPECTED SHOWN: EXPECTED 0 = until stopped; SHOWN = records to print.
"""

import datetime
import json
import sys
import time

sys.path.insert(0, sys.argv[1])
from confluent_kafka import Consumer, KafkaError  # noqa: E402
from millrace_dedupe import Dedupe  # noqa: E402

servers, topic, expected, shown = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

# The host makes the topic: it may not be there yet.
consumer = Consumer(
    {
        "bootstrap.servers": servers,
        "group.id": "demo-application",
        "auto.offset.reset": "earliest",
        "topic.metadata.refresh.interval.ms": 500,
    }
)
consumer.subscribe([topic])
dedupe = Dedupe()
new, repeats, delays = 0, 0, []
quiet_since = time.monotonic()
while expected == 0 or new < expected:
    record = consumer.poll(0.5)
    if record is None or record.error():
        if record is not None and record.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            sys.exit(f"cannot consume: {record.error()}")
        if expected and time.monotonic() - quiet_since > 60:
            sys.exit(f"{new} of {expected} records came, and none for a minute")
        continue
    quiet_since = time.monotonic()
    header = dict(record.headers())["millrace"]
    if not dedupe.is_new(record.topic(), record.partition(), header):
        repeats += 1
        continue
    new += 1
    value = json.loads(record.value())
    made = datetime.datetime.fromisoformat(value["feature_timestamp"].replace("Z", "+00:00"))
    delays.append((datetime.datetime.now(datetime.timezone.utc) - made).total_seconds())
    if new <= shown or expected == 0:
        print(f"{record.key().decode():>5}  {record.value().decode()}", flush=True)
consumer.close()
delays.sort()
print(
    f"{new} records, {repeats} repeats dropped; event to application: half within {delays[len(delays) // 2] * 1000:.1f} ms",
    flush=True,
)
