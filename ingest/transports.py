"""Where a publisher hands its records: Kafka, memory (for tests), a file of JSON lines.

A transport is used by one thread. It says of every record what became of it and leaves retries,
waiting and counting to the publisher.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .errors import TransportError
from .kafka_transport import KafkaTransport
from .partition import partition_for
from .records import CALLBACK_TYPE, REPORT_TYPE, Outcome, Record
from .schema import CallbackEvent, Report, parse_event, parse_report

__all__ = [
    "JsonLinesTransport",
    "KafkaTransport",
    "MemoryTransport",
    "Outcome",
    "Record",
    "Transport",
]


class Transport(Protocol):
    """What a publisher needs of a transport."""

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        """Hand over some records and say of each what became of it, in the same order.

        May block for as long as it needs. An exception means that none was taken.
        """

    def partitions(self) -> int | None:
        """How many partitions the topic has; None when that is not known."""

    def close(self, timeout: float) -> None:
        """Let go of connections and files, within about `timeout` seconds."""

    def after_fork(self) -> None:
        """Forget, in a forked child, everything that belongs to the parent."""


class MemoryTransport:
    """Keeps records in memory: for the tests of a receiver.

    `broken` = True makes every hand-over fail, as an unreachable broker does.
    """

    def __init__(self, partitions: int = 1) -> None:
        self._partitions = partitions
        self._lock = threading.Lock()
        self.records: list[Record] = []
        self.broken = False
        self.closed = False

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        """Keep the records, each with the partition that Kafka would choose."""
        if self.broken:
            msg = "memory: broken on purpose"
            raise TransportError(msg)
        with self._lock:
            self.records += [self._placed(record) for record in batch]
        return [Outcome.SENT] * len(batch)

    def events(self) -> list[CallbackEvent]:
        """The events that were sent, in order."""
        return [parse_event(record.value) for record in self._of_type(CALLBACK_TYPE)]

    def reports(self) -> list[Report]:
        """The reports that were sent, in order."""
        return [parse_report(record.value) for record in self._of_type(REPORT_TYPE)]

    def partitions(self) -> int | None:
        """As given."""
        return self._partitions

    def close(self, timeout: float) -> None:  # noqa: ARG002 - nothing takes time here
        """Mark it closed; the records stay readable."""
        self.closed = True

    def after_fork(self) -> None:
        """The records of the parent are not the child's."""
        self._lock = threading.Lock()
        self.records = []

    def _placed(self, record: Record) -> Record:
        if record.partition is not None or record.key is None:
            return record
        at = partition_for(record.key, self._partitions)
        return Record(record.key, record.value, record.headers, at)

    def _of_type(self, kind: str) -> list[Record]:
        with self._lock:
            return [r for r in self.records if ("ce_type", kind.encode()) in r.headers]


class JsonLinesTransport:
    """Appends every value as a line to a file, reports included.

    Several processes may share the file: a batch is one append.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: int | None = None
        self._is_cut = False  # the file ends in a part of a line

    def __repr__(self) -> str:
        return f"JsonLinesTransport({str(self._path)!r})"

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        """Append the records' values."""
        data = b"".join(record.value + b"\n" for record in batch)
        if self._is_cut and self._file is not None:
            self._is_cut = not self._end_line()
            if self._is_cut:
                return [Outcome.RETRY] * len(batch)
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._file = os.open(self._path, flags, 0o600)
            written = os.write(self._file, data)
        except OSError as error:
            msg = f"{self._path}: cannot be written: {(error.strerror or '').lower()}"
            raise TransportError(msg) from None
        if written == len(data):
            return [Outcome.SENT] * len(batch)
        return self._partly(batch, written)

    def partitions(self) -> int | None:
        """A file is one partition."""
        return 1

    def close(self, timeout: float) -> None:  # noqa: ARG002 - closing a file takes no time
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def after_fork(self) -> None:
        """Append mode makes the parent's file good for the child too."""

    def _partly(self, batch: Sequence[Record], written: int) -> list[Outcome]:
        """What a full disk took; the line that was cut is ended, so that it stands alone."""
        outcomes = []
        for record in batch:
            written -= len(record.value) + 1
            outcomes.append(Outcome.SENT if written >= 0 else Outcome.RETRY)
        if self._file is not None and not self._end_line():
            self._is_cut = True
        return outcomes

    def _end_line(self) -> bool:
        """Whether a line that was cut is ended; a disk that is full may refuse even that."""
        assert self._file is not None
        try:
            return os.write(self._file, b"\n") == 1
        except OSError:
            return False
