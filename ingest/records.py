"""Events and reports as records: CloudEvents 1.0 in binary mode, the value is the JSON itself."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from .partition import record_key
from .rfc3339 import format_time
from .schema import CallbackEvent, Report, dump_event, dump_report

CALLBACK_TYPE: Final = "callwatch.callback.v1"
REPORT_TYPE: Final = "callwatch.report.v1"
CONTROL_TYPE: Final = "callwatch.control.v1"

_FIXED_COST: Final = 600  # bytes of headers and Python objects that a waiting record holds


class Outcome(StrEnum):
    """What a transport says of one record."""

    SENT = "sent"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Record:
    """One record for a topic; `partition` None leaves the choice to the key."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    partition: int | None = None

    @property
    def cost(self) -> int:
        """About the bytes of memory that the record holds while it waits."""
        return len(self.value) + len(self.key or b"") + _FIXED_COST


def event_record(event: CallbackEvent) -> Record:
    """An event under its sender's key, so that a sender's events stay in order."""
    headers = record_headers(CALLBACK_TYPE, event.id, event.receiver, event.received_at)
    return Record(record_key(event), dump_event(event), headers)


def report_records(report: Report, partitions: int | None) -> list[Record]:
    """A report once for every partition; a single one where their number is unknown."""
    value = dump_report(report)
    return [
        Record(None, value, record_headers(REPORT_TYPE, _unique(), report.receiver, report.at), at)
        for at in (range(partitions) if partitions else (None,))
    ]


def _unique() -> str:
    return str(uuid4())


def record_headers(
    kind: str, unique: str, receiver: str, time: datetime
) -> list[tuple[str, bytes]]:
    """The CloudEvents headers of a record."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", unique.encode()),
        ("ce_source", _source(receiver)),
        ("ce_type", kind.encode()),
        ("ce_time", format_time(time).encode()),
        ("content-type", b"application/json"),
    ]


@lru_cache(maxsize=64)
def _source(receiver: str) -> bytes:
    return quote(receiver, safe="/@~").encode()  # ce_source is a URI reference
