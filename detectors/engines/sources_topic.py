"""What partitions of the events tell the shared cores, as records of `callwatch.sources`.

Three headers, decimal numbers: `partition` of the events, `place`, and `now`, its stream time in
microseconds. With a value, the event's JSON, the record is an observation: the event at the offset
`place`, and the key is the network of its source. Without a value it is a mark, with the key
`mark`: the partition has come to `now`, and what it told of offsets before `place` is settled.
"""

import re
from typing import Final, NamedTuple

from detectors.engines.errors import SourceRecordError
from detectors.engines.log_reader import LogRecord
from detectors.observer import Observation

_NUMBER: Final = re.compile(rb"0|-?[1-9][0-9]{0,17}", re.ASCII)  # what 64 bits hold, and not more


class Mark(NamedTuple):
    """How far a partition of the events has come."""

    partition: int
    settled: int
    """Observations of offsets before this one are acknowledged, and not told any more."""
    now: int
    """Stream time, microseconds: nothing earlier will be told."""


class SourceRecord(NamedTuple):
    """A record for the topic."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def observation_record(one: Observation) -> SourceRecord:
    """The record of an observation."""
    return SourceRecord(one.key.encode(), one.value, _headers(one.partition, one.place, one.now))


def mark_record(mark: Mark) -> SourceRecord:
    """The record of a mark.

    >>> mark_record(Mark(3, 70, 1_750_204_800_000_000)).headers
    [('partition', b'3'), ('place', b'70'), ('now', b'1750204800000000')]
    """
    return SourceRecord(b"mark", None, _headers(*mark))  # a producer insists on one of both


def read_record(record: LogRecord, partitions: int) -> Observation | Mark:
    """What a record says of so many partitions; `SourceRecordError` where it says nothing."""
    given = dict(record.headers)
    partition, place, now = (_number(name, given.get(name)) for name in _NAMES)
    if not 0 <= partition < partitions:
        msg = f"header partition: allowed are 0 to {partitions - 1}; given {partition}"
        raise SourceRecordError(msg)
    if place < 0:
        msg = f"header place: allowed are 0 and more; given {place}"
        raise SourceRecordError(msg)
    if record.value is None:
        return Mark(partition, place, now)
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError:
        msg = "key: allowed is UTF-8"
        raise SourceRecordError(msg) from None
    return Observation(now, partition, place, key, record.value)


_NAMES: Final = ("partition", "place", "now")


def _headers(*numbers: int) -> list[tuple[str, bytes]]:
    return [(name, str(each).encode()) for name, each in zip(_NAMES, numbers, strict=True)]


def _number(name: str, value: bytes | None) -> int:
    if value is None or not _NUMBER.fullmatch(value):
        msg = f"header {name}: allowed is a decimal number; given {(value or b'nothing')[:40]!r}"
        raise SourceRecordError(msg)
    return int(value)
