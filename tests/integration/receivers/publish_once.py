"""Publish one event by the variables of the environment; print what became of it as JSON.

In a process of its own, because kafka-python leaves sockets that failed to the garbage collector.
"""

import json
import logging
import sys
from typing import Any

from ingest.kafka_config import kafka_config
from ingest.publisher import Publisher
from ingest.transports import KafkaTransport

EVENT: dict[str, Any] = {
    "endpoint": "/hooks/stripe", "kind": "webhook", "sender": "acme", "verdict": "verified",
    "body_bytes": 512, "source_ip": "192.0.2.7", "source_ip_from": "socket",
}  # fmt: skip

if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)  # to standard error, kafka-python's own included
    transport = KafkaTransport(**kafka_config().keywords())
    publisher = Publisher(transport, receiver="shop/1@a")
    publisher.publish(EVENT)
    flushed = publisher.flush(float(sys.argv[1]))
    stats = publisher.stats()
    publisher.close(5)
    answer = {"flushed": flushed, "sent": stats.sent, "failed": stats.failures > 0}
    print(json.dumps(answer))  # noqa: T201 - the answer to the test
