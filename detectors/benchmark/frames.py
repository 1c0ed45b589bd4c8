"""Events and alerts as pandas frames, the same columns whether simulated or read from files.

Frames of events have at least: `received_at` (UTC), `sender`, `provider`, `kind`, `endpoint`,
`event_type`, `verdict`, `reason`, `body_bytes`, `source_ip`, `user_agent`, `status`,
`signed_at`. Repeated words are categories, so that a fortnight of events fits in little memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as paj

from alerts.alert import Alert, Quantity
from alerts.explain import format_number
from detectors.benchmark.columns import Rows, Vocabulary
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.jsonl import hex_digits, uuids

WORDS: Final = ("who", "receiver", "origin", "client", "key", "event_type", "outcome")
NEEDED: Final = {
    "received_at", "sender", "provider", "kind", "endpoint", "event_type", "verdict", "reason",
    "body_bytes", "source_ip", "user_agent", "status", "signed_at",
}  # fmt: skip
_TIMES: Final = ("received_at", "signed_at", "event_created_at")


def simulated_events(rows: Rows, words: Vocabulary) -> pd.DataFrame:
    """Simulated deliveries as a frame, without a detour through JSON."""
    columns: dict[str, Any] = {
        "id": uuids(rows["id"]),
        "received_at": pd.to_datetime(rows["at"], unit="us", utc=True),
        "signed_at": _time_or_nothing(rows["signed_at"]),
    }
    fields = pd.DataFrame([words.fields(code) for code in range(len(words))])
    for name in WORDS:
        used, place = np.unique(rows[name], return_inverse=True)
        for field in fields.columns[fields.iloc[used].notna().any()]:
            categories = pd.Categorical(fields[field].iloc[used])
            columns[field] = categories.take(place)
    for name in ("delivery", "signature", "body"):
        columns[f"{name}_fp"] = hex_digits(rows[name])
    columns["body_bytes"] = rows["body_bytes"]
    columns["duration_ms"] = rows["duration_ms"]
    return _complete(pd.DataFrame(columns))


def _time_or_nothing(times: np.ndarray[Any, np.dtype[np.int64]]) -> pd.Series:
    return pd.Series(pd.to_datetime(times, unit="us", utc=True)).where(times > 0)


def read_events(paths: Sequence[Path]) -> pd.DataFrame:
    """Events of JSON-lines files (also gzip) as one frame, by time received.

    Meant for files that are known to be good; `callwatch detect` names what is wrong with others.
    """
    if not paths:
        msg = "events: no file given"
        raise BenchmarkError(msg)
    wanted = pa.schema([(name, pa.timestamp("us", tz="UTC")) for name in _TIMES])
    parts = []
    for path in paths:
        try:
            table = paj.read_json(path, parse_options=paj.ParseOptions(explicit_schema=wanted))
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"events: cannot read {path.name} ({type(error).__name__})"
            raise BenchmarkError(msg) from error
        parts.append(table)
    frame = pa.concat_tables(parts, promote_options="permissive").to_pandas()
    for name in frame.columns:
        if pd.api.types.is_string_dtype(frame[name]) and not name.endswith("_fp") and name != "id":
            frame[name] = frame[name].astype("category")
    return _complete(frame.sort_values("received_at", kind="stable", ignore_index=True))


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    for name in NEEDED - set(frame.columns):
        frame[name] = None
    return frame


def latest_states(states: Iterable[Alert]) -> list[Alert]:
    """One state for each alert, the last, in the order in which the alerts were opened."""
    return sorted({one.id: one for one in states}.values(), key=lambda one: (one.opened_at, one.id))


def read_alerts(path: Path) -> list[Alert]:
    """Every state in a file of alerts, one line per update."""
    return [Alert.from_json(line) for line in path.read_bytes().splitlines() if line.strip()]


def alerts_frame(states: Iterable[Alert]) -> pd.DataFrame:
    """The latest state of every alert as a row."""
    return pd.DataFrame(
        [
            {
                "opened_at": pd.Timestamp(one.opened_at, unit="us", tz="UTC"),
                "severity": str(one.severity),
                "detector": one.detector,
                "reason": one.reason,
                "sender": one.sender,
                "source": one.source,
                "count": one.count,
                "status": str(one.status),
                "summary": one.summary,
                "expected": numbers(one.expected),
                "observed": numbers(one.observed),
                "first_seen": pd.Timestamp(one.first_seen, unit="us", tz="UTC"),
                "last_seen": pd.Timestamp(one.last_seen, unit="us", tz="UTC"),
                "score": one.score,
                "events": list(one.events),
                "id": one.id,
            }
            for one in latest_states(states)
        ],
        columns=[
            "opened_at", "severity", "detector", "reason", "sender", "source", "count", "status",
            "summary", "expected", "observed", "first_seen", "last_seen", "score", "events", "id",
        ],
    )  # fmt: skip


def numbers(quantities: Mapping[str, Quantity]) -> str:
    """Named numbers of an alert in one line.

    >>> numbers({"rate": Quantity(value=2.5, unit="1/h")})
    'rate 2.5 1/h'
    """
    parts = []
    for name, one in quantities.items():
        words = name.replace("_", " ")
        unit = "" if words.endswith(one.unit) else f" {one.unit}"  # "known networks 4" says enough
        parts.append(f"{words} {format_number(one.value)}{unit}")
    return ", ".join(parts)


def hourly(events: pd.DataFrame) -> pd.DataFrame:
    """Per sender and hour: events, share refused, bytes; hours without events are missing."""
    hour = events["received_at"].dt.floor("h")
    grouped = events.assign(
        hour=hour,
        refused=events["verdict"].astype("object").eq("rejected"),
    ).groupby(["sender", "hour"], observed=True)
    return grouped.agg(
        events=("refused", "size"),
        refused=("refused", "mean"),
        bytes=("body_bytes", "sum"),
    ).reset_index()
