"""What a configuration would have said of archived events, and what another says differently.

    alerts = run(frame, load_config(Path("strict.toml")))
    diff(alerts, run(frame, load_config(None)))

The same core as everywhere walks the events: what is found here is what a worker would have found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from alerts.alert import Alert
from alerts.pipeline import fold
from detectors.benchmark.frames import alerts_frame
from detectors.config import Config
from detectors.engines.local import LocalResult, frame_result

if TYPE_CHECKING:
    import pandas as pd

ENTITY: Final = ("detector", "sender", "source")
"""What an incident is about, beside when."""
COMPARED: Final = ("severity", "reason", "opened_at")
"""What may differ between two configurations' views of one incident."""
_SHOWN: Final = ("severity", "detector", "reason", "sender", "source", "opened_at", "count")


def run(frame: pd.DataFrame, config: Config | None = None, **options: Any) -> pd.DataFrame:
    """Return the alerts of a frame of events, one row for each in its latest state.

    Findings in shadow mode are left out. ``options`` are those of ``run_local``.
    """
    return told(frame_result(frame, config, options, callers=2).alerts)


def diff(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return what two configurations say differently: a row for each incident that is not the same.

    ``only`` is *a*, *b* or *both*; of *both* the columns that end in ``_b`` say what b has.
    An incident is the same where the id is, or else where detector, sender and source are and the
    times overlap: another threshold opens it at another event.
    """
    import pandas as pd

    rows = []
    for mine, other in _pairs(a.to_dict("records"), b.to_dict("records")):
        known = mine or other
        if known is None or (mine and other and not _changed(mine, other)):
            continue
        only = "both" if mine and other else "a" if mine else "b"
        row = {"only": only, **{name: known[name] for name in _SHOWN}}
        row |= {f"{name}_b": other[name] if mine and other else None for name in COMPARED}
        rows.append({**row, "summary": known["summary"], "id": known["id"]})
    names = ["only", *_SHOWN, *(f"{name}_b" for name in COMPARED), "summary", "id"]
    return pd.DataFrame(rows, columns=names)


Row = Mapping[str, Any]
Pair = tuple[Row | None, Row | None]


def _pairs(a: list[Any], b: list[Any]) -> list[Pair]:
    """Return which incidents are one, in the order in which they were opened."""
    left = {row["id"]: row for row in b}
    pairs: list[Pair] = []
    alone = []
    for row in a:
        if row["id"] in left:
            pairs.append((row, left.pop(row["id"])))
        else:
            alone.append(row)
    about: dict[tuple[Any, ...], list[Row]] = {}
    for row in left.values():
        about.setdefault(_entity(row), []).append(row)
    for row in alone:
        others = about.get(_entity(row), [])
        met = next((n for n, other in enumerate(others) if _overlap(row, other)), None)
        pairs.append((row, None if met is None else others.pop(met)))
    pairs += [(None, row) for others in about.values() for row in others]
    return sorted(pairs, key=lambda pair: _opened(pair[0] or pair[1] or {}))


def _entity(row: Row) -> tuple[Any, ...]:
    return tuple(None if row[name] != row[name] else row[name] for name in ENTITY)  # NaN is None


def _overlap(one: Row, other: Row) -> bool:
    """Tell whether there was a time at which both had begun and neither had seen its last event."""
    return bool(one["first_seen"] <= other["last_seen"] and other["first_seen"] <= one["last_seen"])


def _opened(row: Row) -> tuple[Any, ...]:
    return row["opened_at"], row["id"]


def _changed(one: Row, other: Row) -> bool:
    return any(one[name] != other[name] for name in COMPARED)


@dataclass(frozen=True)
class Summary:
    """What one configuration made of the events."""

    config: str
    """Hash of its parameters."""
    read: int
    scored: int
    rejected: int
    duplicates: int
    """Published twice: the same id."""
    reports: int
    """Of receivers, about themselves."""
    newer_schema: int
    """Of a later version of the event, whose unknown fields were ignored."""
    senders: int
    sender_days: float
    alerts: Mapping[tuple[str, str], int]
    """Incidents by detector and severity."""
    shadow: int

    @property
    def per_sender_day(self) -> float:
        """Incidents of all detectors on one sender and day."""
        return sum(self.alerts.values()) / self.sender_days if self.sender_days else 0.0

    def record(self) -> dict[str, Any]:
        """Return it as a JSON-able value."""
        by: dict[str, dict[str, int]] = {}
        for (detector, severity), n in sorted(self.alerts.items()):
            by.setdefault(detector, {})[severity] = n
        return {
            "config": self.config,
            "read": self.read,
            "accepted": self.scored,  # as ``detect --json`` names it
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "reports": self.reports,
            "newer_schema": self.newer_schema,
            "senders": self.senders,
            "sender_days": round(self.sender_days, 2),
            "alerts": by,
            "shadow": self.shadow,
            "per_sender_day": float(f"{self.per_sender_day:.4g}"),
        }


def summary(result: LocalResult, config: Config) -> Summary:
    """Count what a run brought to light; a sender's days begin with its first event."""
    latest = list(fold(result.alerts).values())
    cores = result.state.cores if result.state else ()
    days = [max(days, 1.0) for core in cores for days in core.sender_days().tolist()]
    return Summary(
        config.hash,
        result.read,
        result.accepted,
        result.refused,
        result.counts.get("duplicates", 0),
        result.counts.get("reports", 0),
        result.counts.get("newer_schema", 0),
        len(days),
        sum(days),
        Counter((one.detector, one.severity.value) for one in latest if not one.shadow),
        sum(one.shadow for one in latest),
    )


def told(alerts: Iterable[Alert]) -> pd.DataFrame:
    """Return alerts that are not in shadow mode as a frame, one row for each."""
    return alerts_frame(alert for alert in alerts if not alert.shadow)
