"""What a labelled day promises: which alerts must come, by when, and what must stay quiet."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.jsonl import rfc3339

SEVERITIES: Final = ("info", "low", "medium", "high", "critical")
SECOND: Final = 1_000_000


class Kind(StrEnum):
    """Attacks must be called by their name; traps look like attacks and must stay quiet."""

    ATTACK = "attack"
    TRAP = "trap"


@dataclass(frozen=True)
class Allowed:
    """Alerts that may come along without being held against anyone.

    Attributes:
        detector: whose alerts.
        worst: the highest severity that is still all right.
        at_most: how many alerts; None = any number.
        reasons: the reasons that are meant; empty = any.
    """

    detector: str
    worst: str = "critical"
    at_most: int | None = 1
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """One attack or trap of a labelled day.

    Attributes:
        id: short name, unique in the day.
        what: one sentence for a reader.
        kind: attack or trap.
        sender: whose name is on the calls.
        start: first microsecond of the window.
        end: last microsecond of the window.
        detector: which detector must see an attack; None for traps.
        reasons: what it may call it.
        deadline_events: by which of the attack's events it must be seen; None = no such limit.
        deadline_s: by how many seconds after its first event; None = no such limit.
        severity: the least severity that counts as seen.
        at_most: how many alerts of the detector it may take; None = any number.
        allowed: further alerts on that sender that are no surprise.
        never: detectors that a trap is about: even an info of theirs disturbs it, unless allowed.
        at: when the attack's events came, microseconds, ascending.
    """

    id: str
    what: str
    kind: Kind
    sender: str
    start: int
    end: int
    detector: str | None = None
    reasons: tuple[str, ...] = ()
    deadline_events: int | None = None
    deadline_s: float | None = None
    severity: str = "info"
    at_most: int | None = 2
    allowed: tuple[Allowed, ...] = ()
    never: tuple[str, ...] = ()
    at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.end < self.start:
            msg = f"label {self.id}: the window must not end before it starts"
            raise BenchmarkError(msg)
        if (self.kind is Kind.ATTACK) != (self.detector is not None):
            msg = f"label {self.id}: attacks name a detector and traps do not"
            raise BenchmarkError(msg)
        for severity in (self.severity, *(one.worst for one in self.allowed)):
            if severity not in SEVERITIES:
                msg = f"label {self.id}: severity must be one of {SEVERITIES}, given {severity!r}"
                raise BenchmarkError(msg)


def labels_json(labels: Iterable[Label], *, seed: int) -> bytes:
    """The labels as one JSON object, times in RFC 3339; `at` keeps microseconds since 1970."""
    return json.dumps(
        {"seed": seed, "labels": [_record(label) for label in labels]}, indent=1
    ).encode()


def read_labels(data: bytes) -> tuple[Label, ...]:
    """The labels of a file that `labels_json` made."""
    try:
        return tuple(_label(record) for record in json.loads(data)["labels"])
    except (KeyError, TypeError, ValueError) as error:
        msg = f"labels: not a file of labels ({type(error).__name__}: {error})"
        raise BenchmarkError(msg) from error


def _record(label: Label) -> dict[str, Any]:
    record = asdict(label)
    record["start"], record["end"] = rfc3339(np.array([label.start, label.end]), "us")
    return record


def _label(record: dict[str, Any]) -> Label:
    start, end = (
        int(np.datetime64(record[name].removesuffix("Z"), "us").astype(np.int64))
        for name in ("start", "end")
    )
    allowed = tuple(
        Allowed(**{**one, "reasons": tuple(one["reasons"])}) for one in record["allowed"]
    )
    return Label(
        **{
            **record,
            "kind": Kind(record["kind"]),
            "start": start,
            "end": end,
            "reasons": tuple(record["reasons"]),
            "allowed": allowed,
            "never": tuple(record["never"]),
            "at": tuple(record["at"]),
        }
    )
