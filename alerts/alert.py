"""The alert: one incident, its evidence, and a stable id under which its updates travel."""

import ipaddress
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID, uuid5

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.dataclasses import dataclass as validated_dataclass

from alerts.errors import AlertError
from alerts.explain import safe
from alerts.jsonline import json_line

NAMESPACE = UUID("2748a95e-57c0-4be0-a297-2f8abe8d0123")
"""The UUID namespace of alert ids."""

MAX_ITEMS = 20
"""Lists of an alert name at most this many things; the counts beside them are exact."""

MAX_ALERT_BYTES = 256 * 1024
"""No alert that the model allows is longer as JSON; a longer record is not read at all."""

MAX_NOTES = 8
"""Notes of an alert; what people say is short of that."""

MAX_SUMMARY = 500
"""Characters of the summary sentence."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_US = -62_135_596_800_000_000  # the years 1 to 9999, all that RFC 3339 can write
_MAX_US = 253_402_300_799_999_999
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class _Ordered(StrEnum):
    """A name that compares by its place in the declaration, not by its letters."""

    @property
    def rank(self) -> int:
        """The place in the scale, from 0."""
        return type(self)._member_names_.index(self.name)

    def __lt__(self, other: str) -> bool:
        return self.rank < type(self)(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= type(self)(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > type(self)(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= type(self)(other).rank


class Severity(_Ordered):
    """How bad it is; `Severity.LOW < Severity.HIGH` holds.

    >>> max(Severity.LOW, Severity.CRITICAL, Severity.HIGH)
    <Severity.CRITICAL: 'critical'>
    """

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(_Ordered):
    """Where an incident is in its life, in that order."""

    OPEN = "open"
    UPDATED = "updated"
    CLOSED = "closed"


CloseReason = Literal["expired", "level_adopted", "chronic", "evicted", "contradicted", "verdict"]
"""Why an incident closed: no contributing events for `close_after`, the new level became the
baseline, it became the sender's noise, the incident table was full, the absence ended, or an
analyst found it benign."""


def to_rfc3339(us: int) -> str:
    """The UTC time of microseconds since 1970, with all six digits.

    >>> to_rfc3339(1_772_323_200_000_001)
    '2026-03-01T00:00:00.000001Z'
    """
    at = _EPOCH + timedelta(microseconds=us)
    return f"{at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def from_rfc3339(text: str) -> int:
    """Microseconds since 1970 of a time with an offset; raises ValueError.

    >>> from_rfc3339("2026-03-01T01:00:00+01:00")
    1772323200000000
    """
    if not _RFC3339.fullmatch(text):
        msg = "a time must be RFC 3339 with an offset and at most 6 decimals"
        raise ValueError(msg)
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def alert_id(detector: str, key: Sequence[str], opened_at_us: int, repeat: int = 0) -> str:
    """The UUIDv5 of compact JSON `[detector, [key columns], opened_at]` in UTF-8.

    The same incident gets the same id in every engine and every replay. `repeat` tells apart
    incidents that share all three; 0 is left out.

    >>> alert_id("replay-burst", ["acme-stripe"], 1_772_323_200_000_000)
    '8fb9d1ed-dd6f-5782-99d5-36501a0897e0'
    >>> alert_id("replay-burst", ["acme-stripe"], 1_772_323_200_000_000, repeat=1)
    'b6be9e7a-919c-5f3f-8685-5d4b0c939c3d'
    """
    if isinstance(key, str):
        msg = f"key must be a sequence of key columns (got the text {safe(key)!r})"
        raise TypeError(msg)
    parts: list[object] = [detector, list(key), opened_at_us]
    if repeat:
        parts.append(repeat)
    return str(uuid5(NAMESPACE, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))


def _read_time(value: object, info: ValidationInfo) -> object:
    """A time is text in JSON and whole microseconds in Python, never the other way round."""
    if info.mode != "json":
        return value
    if not isinstance(value, str):
        msg = "a time must be RFC 3339 text"
        raise ValueError(msg)  # noqa: TRY004  pydantic turns only ValueError into its own error
    return from_rfc3339(value)


def _read_source(value: str) -> str:
    if "%" in value:  # an interface of the receiver's own machine says nothing to anybody else
        msg = "a source must have no zone"
        raise ValueError(msg)
    ipaddress.ip_network(value)
    return value


def _read_summary(value: str) -> str:
    return safe(value, MAX_SUMMARY)


def _read_note(value: str) -> str:
    return safe(value, MAX_SUMMARY)


TimeUs = Annotated[
    int,
    BeforeValidator(_read_time),
    Field(ge=_MIN_US, le=_MAX_US),
    PlainSerializer(to_rfc3339, return_type=str, when_used="json"),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Summary = Annotated[str, AfterValidator(_read_summary)]
Note = Annotated[str, AfterValidator(_read_note)]
Label = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
EventId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Source = Annotated[str, StringConstraints(max_length=64), AfterValidator(_read_source)]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]
_UP_TO_8 = Field(max_length=MAX_NOTES, strict=False)
_UP_TO_20 = Field(max_length=MAX_ITEMS, strict=False)  # not strict: lists are taken as tuples


@validated_dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class Quantity:
    """A finite number with its unit: `events`, `bytes`, `s`, `share` (0 to 1), `1/h`, or none."""

    value: Number
    unit: Annotated[str, StringConstraints(max_length=32)] = ""


Numbers = Annotated[dict[Label, Quantity], Field(max_length=MAX_ITEMS)]


class Alert(BaseModel):
    """One state of one incident: what was expected, what was seen, since when, which events.

    Times are int microseconds since 1970 in Python and RFC 3339 in UTC in JSON; they are event
    times. The fields stand in the order in which JSON has them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: EventId = Field(description="of the incident: UUIDv5, the same in every update")
    detector: Label = Field(description="id of the detector that found it")
    reason: Label = Field(
        description="reason code of the detector; its runbook has a heading for it"
    )
    severity: Severity = Field(description="how bad it is; may rise in an update")
    score: Annotated[Number, Field(ge=0, le=100)] = Field(description="how unusual it is")
    confidence: Annotated[Number, Field(ge=0, le=1)] = Field(
        description="how sure the detector is: amount of evidence and warmth of the baseline"
    )
    status: Status = Field(description="`open` once, then `updated`, at the end `closed`")
    close_reason: CloseReason | None = Field(
        default=None, description="why it was closed; present exactly when it was"
    )
    sender: Text | None = Field(default=None, description="the claimed sender it is about")
    senders: Annotated[tuple[Text, ...], _UP_TO_20] = Field(
        default=(), description="the first senders involved"
    )
    sender_count: Count = Field(default=0, description="all senders involved")
    provider: Text | None = Field(default=None, description="name of the provider profile")
    endpoint: Text | None = Field(default=None, description="the registered endpoint it is about")
    source: Source | None = Field(
        default=None, description="the source it is about: a prefix in CIDR form or an address"
    )
    sources: Annotated[tuple[Source, ...], _UP_TO_20] = Field(
        default=(), description="the first sources involved"
    )
    source_count: Count = Field(default=0, description="all sources involved")
    first_seen: TimeUs = Field(
        description="time of the earliest contributing event; of some reasons to the second"
    )
    last_seen: TimeUs = Field(description="time of the latest contributing event")
    opened_at: TimeUs = Field(
        description="when the evidence sufficed: that event's or timer's time"
    )
    updated_at: TimeUs = Field(description="event time of this state")
    count: Count = Field(description="contributing events so far")
    suppressed: Count = Field(
        default=0, description="states held back so far by allowlists and verdicts"
    )
    shadow: bool = Field(
        default=False, description="found in shadow mode: counted, delivered only where asked for"
    )
    verdict: Literal["benign", "attack"] | None = Field(
        default=None, description="what an analyst said of it; `attack` keeps it open"
    )
    notes: Annotated[tuple[Note, ...], _UP_TO_8] = Field(
        default=(),
        description="what people said that changed it: plan, allowlist, shadow mode, verdict, each "
        "with its reason and end",
    )
    summary: Summary = Field(
        description="one sentence for a person; unprintable characters escaped"
    )
    expected: Numbers = Field(default_factory=dict, description="named numbers of the baseline")
    observed: Numbers = Field(default_factory=dict, description="the same, as seen")
    events: Annotated[tuple[EventId, ...], _UP_TO_20] = Field(
        default=(), description="ids of contributing events, from the one on that raised it"
    )
    threat: Annotated[tuple[Text, ...], _UP_TO_20] = Field(
        default=(), description="ids of mapped techniques, such as `attack:T1190`"
    )
    runbook: Text = Field(description="path of the runbook and its heading")
    config: Text = Field(description="hash of the parameters in force")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, listed, counted in (
            ("senders", len(self.senders), self.sender_count),
            ("sources", len(self.sources), self.source_count),
        ):
            if listed > counted:
                msg = f"{name} must not list more than are counted (got {listed} of {counted})"
                raise ValueError(msg)
        if self.first_seen > self.last_seen:
            msg = "first_seen must not be later than last_seen"
            raise ValueError(msg)
        if (self.status is Status.CLOSED) != (self.close_reason is not None):
            msg = "close_reason must be given exactly when status is closed"
            raise ValueError(msg)
        return self

    def to_json(self) -> bytes:
        """One compact line of JSON without a line end; every unprintable character is escaped."""
        return json_line(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """The alert in one JSON value; raises `AlertError` with one line that names the faults.

        Fields that this version does not know are ignored, so that workers may be upgraded first.
        """
        if len(value) > MAX_ALERT_BYTES:
            msg = f"alert: at most {MAX_ALERT_BYTES} bytes (got {len(value)})"
            raise AlertError(msg)
        try:
            return cls.model_validate_json(value, extra="ignore")
        except ValidationError as error:
            raise AlertError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False)
    named = []
    for fault in faults[:3]:
        place = safe(".".join(str(part) for part in fault["loc"]), 64)
        said = safe(fault["msg"].removeprefix("Value error, "), 120)
        given = (
            "" if isinstance(fault["input"], dict) else f" (got {safe(repr(fault['input']), 40)})"
        )
        named.append(f"{place}: {said}{given}" if place else said)
    rest = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"alert: {'; '.join(named)}{rest}"
