"""Clients that cannot be made leave nothing behind."""

import gc
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import KafkaError

from ingest.kafka_client import opened


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("kind", [KafkaAdminClient, KafkaConsumer])
def test_a_broker_that_says_nothing_costs_no_thread_and_no_socket(kind: type[Any]) -> None:
    """However often it is tried: a process that waits for a broker must not run out of either."""
    with socket.create_server(("127.0.0.1", 0), backlog=20) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(2):  # what the first use keeps is not counted
            gc.collect()
            before = threading.active_count(), _descriptors()
            with pytest.raises(KafkaError):
                opened(kind, bootstrap_servers=server, bootstrap_timeout_ms=200)
        gc.collect()
        assert (threading.active_count(), _descriptors()) == before
