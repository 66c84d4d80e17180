"""Creates the demo's source topic and fills it with ad impressions whose time is now.

produce.py SERVERS TOPIC PARTITIONS EVENTS RATE: EVENTS 0 = until stopped; RATE = events a second.
"""

import datetime
import json
import random
import sys
import time

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

servers, topic, partitions, events, rate = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])

admin = AdminClient({"bootstrap.servers": servers})
try:
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
except KafkaException as error:
    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise

producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "partitioner": "murmur2"})
random.seed(1)
started = time.monotonic()
sent = 0
while events == 0 or sent < events:
    user = f"u{random.randrange(200)}"
    event = {
        "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "user_uuid": user,
        "ad_id": random.randrange(1000),
        "clicked": random.random() < 0.1,
        "bid": round(random.random(), 4),
    }
    producer.produce(topic, json.dumps(event), key=user)
    producer.poll(0)
    sent += 1
    pause = started + sent / rate - time.monotonic()
    if pause > 0:
        time.sleep(pause)
if producer.flush(60):
    sys.exit("not every event was acknowledged")
