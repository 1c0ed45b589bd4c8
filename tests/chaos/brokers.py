"""The broker of a run: one that can be restarted where Java is at hand, else what tests get."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.cases import Restartable
from tests.kafka.broker import GIVEN, BrokerUnavailableError, running_broker
from tests.kafka.java import Kafka

# A broker that comes back would otherwise wait for its group's members before it moves anything.
SETTINGS = "log.cleaner.backoff.ms=1000\n"
"""Compaction runs often, so that restores read what it leaves."""


@contextmanager
def chaos_broker(data: Path) -> Iterator[tuple[str, Restartable | None]]:
    """Where it answers, and how it is restarted: None where that cannot be done here."""
    if not os.environ.get(GIVEN):
        try:
            kafka = Kafka(data, SETTINGS)
        except BrokerUnavailableError:
            pass
        else:
            try:
                kafka.start()
                yield kafka.servers, kafka
            finally:
                kafka.stop()
            return
    with running_broker(data) as broker:
        yield broker.servers, None
