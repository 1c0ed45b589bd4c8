"""Receivers' reports in their usual form are read without the model, which all others go to.

Every receiver reports once a minute to every partition, so a fleet's reports are read as often as
it has partitions. The usual form is ASCII text without control characters, and times in UTC with
at most six decimals. The model alone decides what is valid, as about events (``detectors.batch``):
what is read here is a report that it would accept, and the same one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from ingest.schema import MAX_EVENT_BYTES, Report, parse_report

_MOST: Final = 2**63 - 1
_MOST_REASONS: Final = 32
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|\+00:00)"
)
_Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A report as it stands in JSON."""

    receiver: str
    process: str
    started_at: str
    at: str
    offered: _Count
    sent: _Count
    dropped: dict[str, _Count]
    version: str
    sampling: float


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    schema: Literal[1]
    report: _Wire


_decode = msgspec.json.Decoder(_Envelope).decode


def usual_report(value: bytes) -> Report | None:
    """Return the report in a value; None where it is none in the usual form."""
    if len(value) > MAX_EVENT_BYTES:
        return None
    try:
        w = _decode(value).report
        started_at, at = _time(w.started_at), _time(w.at)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    if started_at is None or at is None or not _is_usual(w):
        return None
    return Report.model_construct(
        receiver=w.receiver,
        process=w.process,
        started_at=started_at,
        at=at,
        offered=w.offered,
        sent=w.sent,
        dropped=w.dropped,
        version=w.version,
        sampling=w.sampling,
    )


def read_report(value: bytes) -> Report:
    """Return the report in a value; EventError where the model finds none."""
    return usual_report(value) or parse_report(value)


def _is_usual(w: _Wire) -> bool:
    return (
        _is_plain(w.receiver, 128)
        and _is_plain(w.process, 64)
        and _is_plain(w.version, 64)
        and 0 < w.sampling <= 1
        and len(w.dropped) <= _MOST_REASONS
        and all(_is_plain(why, 32) for why in w.dropped)
    )


def _is_plain(text: str, limit: int) -> bool:
    return 0 < len(text) <= limit and text.isascii() and text.isprintable()


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
