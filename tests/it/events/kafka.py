"""librdkafka's mock cluster as a process: says where its brokers are, then answers commands, one a line.

`topic NAME`: makes a topic by asking for it. `consume NAME N`: N records of a topic, as JSON. `refused`: how many logins were refused.

Arguments: how many brokers; for one broker perhaps a front: a mechanism of SASL or NONE, a user, a password, and perhaps a certificate and its key.
"""
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

# The producer owns the cluster; what it would connect to is not asked.
cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": int(sys.argv[1])})
brokers = [f"{broker.host}:{broker.port}" for broker in cluster.list_topics(timeout=30).brokers.values()]

front = None
if len(sys.argv) > 2:
    from kafka_front import Front

    front = Front(brokers[0], *sys.argv[2:])


def consume(topic, count):
    consumer = Consumer({"bootstrap.servers": ",".join(brokers), "group.id": "tests", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    records = []
    while len(records) < count:
        message = consumer.poll(30)
        if message is None or message.error():
            raise SystemExit(f"no record: {message and message.error()}; so far {records}")
        records.append({
            "partition": message.partition(),
            "key": message.key().decode(),
            "value": json.loads(message.value()),
            "headers": {name: value.decode() for name, value in message.headers() or []},
        })
    consumer.close()
    return records


def answer(what):
    print(json.dumps(what), flush=True)


answer([f"127.0.0.1:{front.port}"] if front else brokers)
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "topic":
        found = cluster.list_topics(arguments[0], timeout=30).topics[arguments[0]]
        answer(len(found.partitions))
    elif command == "consume":
        answer(consume(arguments[0], int(arguments[1])))
    elif command == "refused":
        answer(front.refused)
