"""A receiver whose broker is not there, in a process of its own; prints what it saw as JSON.

kafka-python leaves the sockets of failed connections to the garbage collector, and that must not
disturb whichever test runs next.
"""

import json
import socket
import sys
import threading
from dataclasses import asdict
from typing import Any

from ingest.kafka_transport import KafkaTransport
from ingest.publisher import Publisher

EVENT = {
    "endpoint": "/hooks/stripe",
    "kind": "webhook",
    "sender": "acme-stripe",
    "verdict": "verified",
    "body_bytes": 512,
    "source_ip": "192.0.2.7",
    "source_ip_from": "socket",
}


def main(server: str) -> dict[str, Any]:
    """Publish to a closed port until the first failure, then close."""
    connecting: set[int] = set()
    connect_ex = socket.socket.connect_ex

    def counted(self: socket.socket, address: Any) -> int:
        connecting.add(threading.get_ident())
        return connect_ex(self, address)

    socket.socket.connect_ex = counted  # type: ignore[method-assign, assignment]
    transport = KafkaTransport(server, max_block_ms=50)
    publisher = Publisher(transport, receiver="shop/1.4.0@shop-1", max_events=50)
    outcomes = [publisher.publish(EVENT) for _ in range(60)]
    with publisher._courier.changed:
        failed = publisher._courier.changed.wait_for(lambda: publisher._courier.failures > 0, 20)
    waiting = publisher.stats()
    closed = publisher.close(0)
    return {
        "published": outcomes.count(True),
        "failed": failed,
        "tried": bool(connecting),
        "host_connected": threading.get_ident() in connecting,
        "waiting": asdict(waiting) | {"failures": 0},
        "closed": closed,
        "after": asdict(publisher.stats()) | {"failures": 0},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 - the answer to the test
