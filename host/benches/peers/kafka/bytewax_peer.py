"""Ad events to output records with Bytewax: one worker, orjson, batches of 1,000."""

import os

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow

BROKERS = [os.environ["KAFKA_BOOTSTRAP"]]


def transform(message):
    event = orjson.loads(message.value)
    record = {
        "version": "1",
        "producer": "millrace",
        "job_type": "stream",
        "feature_view_name": "user_impression_counts",
        "feature_view_id": "55203e1d77a1632615883a1f52d64b4c",
        "feature_timestamp": event["timestamp"],
        "entity_keys": {"user_id": event["user_uuid"]},
        "feature_values": {"impression": "1"},
    }
    return KafkaSinkMessage(message.key, orjson.dumps(record))


flow = Dataflow("peer")
events = op.input("events", flow, KafkaSource(BROKERS, [os.environ["KAFKA_INPUT"]], tail=True, batch_size=1000))
op.output("records", op.map("transform", events, transform), KafkaSink(BROKERS, os.environ["KAFKA_OUTPUT"]))
