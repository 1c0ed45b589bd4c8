"""What the event's model says of single fields, asked one by one: texts, ranges, the verdict."""

from __future__ import annotations

import sys
from functools import cache
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Gt, Le
from pydantic import TypeAdapter, ValidationError

from detectors.event import REASONS, VERDICTS
from ingest.errors import EventError
from ingest.schema import FIELDS, SCHEMA_VERSION, Kind, SourceIpFrom, check_event

_WORDS = {"kind", "verdict", "reason", "source_ip_from"}
_NO_ID = "00000000-0000-0000-0000-000000000000"


class Bounds(NamedTuple):
    """Between which numbers a field may be."""

    low: float
    high: float
    above: float | None
    """What it must be more than."""


@cache
def _asked(name: str) -> TypeAdapter[Any]:
    field = FIELDS[name]
    asked: Any = Annotated[(field.annotation, *field.metadata, name)]  # known only here
    return TypeAdapter(asked)


def is_plain(name: str, text: str) -> bool:
    """Tell whether the model takes this text for a field, and as it is.

    >>> is_plain("country", "DE"), is_plain("country", "de"), is_plain("source_ip", "::FFFF")
    (True, False, False)
    """
    if name in _WORDS:
        return True  # who looks them up knows them all
    try:
        return bool(_asked(name).validate_python(text, strict=True) == text)
    except ValidationError:
        return False


@cache
def bounds(name: str) -> Bounds:
    """Return the range of a number.

    >>> bounds("status")
    Bounds(low=100, high=599, above=None)
    """
    if name == "schema":
        return Bounds(SCHEMA_VERSION, SCHEMA_VERSION, None)
    low: Any = -sys.float_info.max
    high: Any = sys.float_info.max
    above: Any = None
    for rule in FIELDS[name].metadata:
        match rule:
            case Ge(ge):
                low = ge
            case Le(le):
                high = le
            case Gt(gt):
                above = gt
            case _:
                msg = f"{name}: a rule that columns do not know: {rule!r}"
                raise AssertionError(msg)
    return Bounds(low, high, above)


def agree(verdict: int, reason: int, signature_ok: int) -> bool:
    """Tell whether the model takes these codes together."""
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "id": _NO_ID,
        "received_at": "2000-01-01T00:00:00Z", "receiver": "-", "endpoint": "-",
        "kind": Kind.WEBHOOK, "sender": "-", "body_bytes": 0, "source_ip": "::",
        "source_ip_from": SourceIpFrom.SOCKET, "verdict": list(VERDICTS)[verdict],
        "reason": (None, *REASONS)[reason], "signature_ok": (None, False, True)[signature_ok + 1],
    }  # fmt: skip
    try:
        check_event(fields)
    except EventError:
        return False
    return True
