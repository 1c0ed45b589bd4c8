"""What a partition tells the world: alerts, bad records, and what concerns other senders too."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from alerts.alert import Alert
from detectors.batch import Rejected
from detectors.engines.log_reader import LogRecord
from detectors.engines.ports import Outside, TopicPartition
from detectors.engines.sources_topic import Mark, SourceRecord, mark_record, observation_record
from detectors.event import MINUTE
from detectors.observer import Observation
from ingest.partition import partition_for

MAX_REJECTED_BYTES: Final = 16 * 1024
"""Of a rejected record's value so much is kept."""


class Outbox:
    """Hands records to the producer, and keeps what a checkpoint has to wait for."""

    def __init__(self, where: TopicPartition, outside: Outside) -> None:
        self._where = where
        self._outside = outside
        self._waiting: list[Awaitable[object]] = []
        self._marked: int | None = None  # the minute of stream time that was told last

    def taken(self) -> list[Awaitable[object]]:
        """What is done when the broker has all that was handed over since the last call."""
        taken, self._waiting = self._waiting, []
        return taken

    async def alert(self, alert: Alert) -> None:
        """Tell a state of an alert."""
        topic = self._outside.topics.alerts
        with self._outside.tally.alert(alert.detector, str(alert.severity)) as landed:
            sent = await self._outside.send(topic, alert.id.encode(), alert.to_json(), None, [])
            asyncio.ensure_future(sent).add_done_callback(landed)
        self._waiting.append(sent)

    async def rejected(
        self, rejected: Rejected, record: LogRecord, more: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """Set a record aside, with where it stood and why."""
        headers = [
            ("topic", self._where.topic.encode()),
            ("partition", str(self._where.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("reason", rejected.code.encode()),
            ("message", rejected.message.encode()),
            *more,
        ]
        kept = (record.value or b"")[:MAX_REJECTED_BYTES]
        topic = self._outside.topics.rejected
        self._waiting.append(await self._outside.send(topic, None, kept, None, headers))

    async def observation(self, observation: Observation) -> None:
        """Tell the shared core of its network what concerns other senders too."""
        told = observation_record(observation)
        await self._tell(told, partition_for(told.key, self._outside.sources))

    async def mark(self, saved: int, now: int | None) -> None:
        """Tell every shared core, once a minute of stream time, how far this partition is."""
        if now is None or now // MINUTE == self._marked:
            return
        self._marked = now // MINUTE
        # Behind all observations that are earlier, since the producer keeps a partition's order.
        mark = mark_record(Mark(self._where.partition, saved, now))
        for partition in range(self._outside.sources):
            await self._tell(mark, partition)

    async def _tell(self, record: SourceRecord, partition: int) -> None:
        topic = self._outside.topics.sources
        sent = await self._outside.send(topic, record.key, record.value, partition, record.headers)
        self._waiting.append(sent)
