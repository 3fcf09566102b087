"""Reads all events of one key from a topic and prints them as JSON: broker, registry, topic, key."""

import json
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

broker, registry, topic, key = sys.argv[1:]


def murmur2(data: bytes) -> int:
    """Kafka's own hash, written from its definition: independent of any client library."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
consumer = Consumer(
    {
        "bootstrap.servers": broker,
        "group.id": "foreign-reader",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
)
partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
found, ended = [], set()
while len(ended) < len(partitions):
    message = consumer.poll(10)
    if message is None:
        raise SystemExit("no record and no end within 10 s")
    if message.error():
        if message.error().code() != KafkaError._PARTITION_EOF:
            raise SystemExit(str(message.error()))
        ended.add(message.partition())
    elif message.key() == key.encode():
        found.append(
            {
                "value": deserialize(message.value(), SerializationContext(topic, MessageField.VALUE)),
                "headers": {name: value.decode() for name, value in message.headers()},
                "partition": message.partition(),
                "murmur2_partition": (murmur2(message.key()) & 0x7FFFFFFF) % len(partitions),
            }
        )
consumer.close()
json.dump(found, sys.stdout, default=str)
