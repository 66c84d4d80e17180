"""Reads so many records of a topic and prints those that are no repeats, each on a line.

    consume.py BOOTSTRAP TOPIC COUNT
"""

import sys

from confluent_kafka import Consumer
from millrace_dedupe import Dedupe

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-consumer", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
dedupe = Dedupe()
idle = 0
while count and idle < 60:
    record = consumer.poll(1.0)
    if record is None or record.error():
        idle += 1
        continue
    idle = 0
    count -= 1
    if dedupe.is_new(record.topic(), record.partition(), dict(record.headers())["millrace"]):
        print(record.value().decode())
consumer.close()
sys.exit(1 if count else 0)
