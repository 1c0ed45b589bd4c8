"""The stream, published at its pace from a thread."""

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final, Protocol, Self

from kafka import KafkaProducer

from tests.chaos.stream import Pace, Record
from tests.integration.pipeline import EVENTS, wait_until

TURN: Final = 0.02
PATIENCE: Final = 120.0
"""Longer than any broker is away here."""


class Publishable(Protocol):
    """Records in their order, and how many there are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Record]: ...


class Publishing(threading.Thread):
    """Publishes all of it; `done` says how far it is."""

    def __init__(self, servers: str, stream: Publishable, pace: Pace) -> None:
        super().__init__(name="chaos-publisher", daemon=True)
        self.done = 0
        self.error: BaseException | None = None
        self._servers, self._stream, self._pace = servers, stream, pace
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(PATIENCE)

    def run(self) -> None:
        """Publish; an error is kept for whoever waits."""
        try:
            self._publish()
        except BaseException as error:  # told by `reach`
            self.error = error

    def _publish(self) -> None:
        producer = KafkaProducer(
            bootstrap_servers=self._servers,
            linger_ms=10,
            compression_type="lz4",
            delivery_timeout_ms=int(PATIENCE * 1000),
            reconnect_backoff_max_ms=1000,  # it is the workers that are timed
        )
        failed: list[Any] = []
        begin = monotonic()
        due = 0
        for number, record in enumerate(self._stream):
            while number >= due:
                due = self._pace.due(monotonic() - begin)
                if number >= due and self._ended.wait(TURN):
                    producer.close(timeout=1)
                    return
            sent = producer.send(EVENTS, record.value, key=record.key)
            sent.add_errback(failed.append)
            self.done = number + 1
        producer.flush(PATIENCE)
        producer.close()
        if failed:
            msg = f"{len(failed)} events were not published: {failed[0]!r}"
            raise AssertionError(msg)
        self._ended.set()

    def reach(self, events: int, seconds: float) -> None:
        """Wait until so many are published."""

        def there() -> bool:
            if self.error is not None:
                raise self.error
            return self.done >= events

        wait_until(f"{events} events published", there, seconds)

    def finish(self, seconds: float) -> None:
        """Wait until all are published and acknowledged."""
        self.reach(len(self._stream), seconds)
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error
        assert self._ended.is_set(), "the last events were not acknowledged in time"
