"""Logs that try to break detection: bursts, jumps, late and repeated records, reports, garbage."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from alerts.alert import Alert, to_rfc3339
from detectors.event import DAY, HOUR, MINUTE, SECOND
from ingest.control import Control, OverrideControl, PlanControl, VerdictControl, dump_control

START = 1_748_822_400_000_000
SENDERS = ("acme", "beta", "a-sender-whose-name-is-longer-than-24-bytes", "söder", "(unknown)")
PROVIDERS = ("stripe", "github", "sendgrid", None, "no-such-provider")
REASONS = ("signature_invalid", "signature_missing", "timestamp_stale", "key_unknown", "other",
           "duplicate_delivery", "ip_denied")  # fmt: skip
GARBAGE = (b"", b"null", b"{", b"\xff\xfe", b'{"schema":1}', b"[" * 4000,
           b'{"schema":1,"report":{}}', b'{"schema":1,"control":{"x":1}}', b"NaN")  # fmt: skip


@dataclass
class Log:
    """Records as a partition has them: values, offsets with gaps, broker's times."""

    values: list[bytes]
    offsets: list[int]
    times: list[int]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, end: int) -> tuple[list[bytes], list[int], list[int]]:
        """Return a piece, as ``feed_log`` takes it."""
        return self.values[start:end], self.offsets[start:end], self.times[start:end]


def _hex(chance: random.Random) -> str:
    return f"{chance.getrandbits(128):032x}"


def _event(chance: random.Random, t: int, **fields: Any) -> dict[str, Any]:
    n = chance.getrandbits(122)
    made: dict[str, Any] = {
        "schema": 1,
        "id": f"{n >> 96:08x}-{n >> 80 & 0xFFFF:04x}-4000-8000-{n & 0xFFFFFFFFFFFF:012x}",
        "received_at": to_rfc3339(t),
        "receiver": chance.choice(("hooks/1@a", "hooks/1@b", "other/2@a")),
        "endpoint": chance.choice(("/h", "/g")),
        "kind": chance.choice(("webhook",) * 9 + ("redirect",)),
        "sender": chance.choice(SENDERS),
        "verdict": "verified",
        "status": chance.choice((200, 200, 200, 500, 503, 409)),
        "body_bytes": chance.choice((0, 900, 1000, 1100)),
        "event_type": chance.choice(("a", "b", None)),
        "user_agent": chance.choice(("x/1", "y/2", None)),
        "signature_fp": _hex(chance),
        "delivery_fp": _hex(chance),
        "source_ip": f"192.0.{chance.randrange(3)}.{chance.randrange(1, 250)}",
        "source_ip_from": chance.choice(("socket", "trusted_proxy", "untrusted_header")),
        "provider": chance.choice(PROVIDERS),
        "sample_rate": chance.choice((1.0,) * 8 + (0.01, 1e-300)),
    }
    made |= fields
    return {name: value for name, value in made.items() if value is not None}


def _burst(chance: random.Random, t: int) -> list[dict[str, Any]]:
    """Return events that some detector should find."""
    kind = chance.randrange(6)
    sender = chance.choice(SENDERS[:4])
    same = {"sender": sender, "provider": "stripe", "kind": "webhook"}
    step = chance.choice((SECOND // 10, SECOND, 7 * SECOND, MINUTE))
    n = chance.randrange(10, 50)
    if kind == 0:
        same |= {"signature_fp": _hex(chance), "delivery_fp": _hex(chance)}
    elif kind == 1:
        same |= {"verdict": "rejected", "reason": "signature_invalid", "signature_ok": False,
                 "source_ip": f"203.0.113.{chance.randrange(1, 250)}"}  # fmt: skip
    elif kind == 2:
        same |= {"event_type": "a", "body_bytes": 10_000_000}
    elif kind == 3:
        same |= {"verdict": "rejected", "reason": "timestamp_stale", "signature_ok": True}
    elif kind == 4:
        return [
            _event(chance, t + i * step, sender=sender, verdict="rejected",
                   reason=chance.choice(REASONS), source_ip=f"198.51.{i}.9")
            for i in range(n)
        ]  # fmt: skip
    events = [_event(chance, t + i * step, **same) for i in range(n)]
    if kind == 3:
        for i, made in enumerate(events):
            made["signed_at"] = to_rfc3339(t - (1000 + 400 * i) * SECOND)
    return events


def hostile(seed: int, size: int = 600, *, late: bool = True) -> Log:
    """Return a log of at least ``size`` records; equal seeds give equal logs."""
    chance = random.Random(seed)
    t, values, times = START, [], []

    def add(value: bytes) -> None:
        values.append(value)
        times.append(t + chance.randrange(0, 2 * SECOND))

    while len(values) < size:
        t += chance.choice((0, SECOND, 20 * SECOND, MINUTE, 9 * MINUTE, HOUR + MINUTE, 7 * HOUR))
        if chance.random() < 0.02:
            t += chance.choice((2 * DAY, 8 * DAY, 50 * DAY))
        what = chance.random()
        if what < 0.12:
            for made in _burst(chance, t):
                t = max(t, _us(made))
                add(json.dumps(made).encode())
        elif what < 0.17 and values:
            add(chance.choice(values[-50:]))  # published twice
        elif what < 0.22:
            add(chance.choice(GARBAGE))
        elif what < 0.27:
            add(_report(t + chance.choice((0, 0, 2 * DAY, -2 * DAY, -HOUR))))
        elif what < 0.33 and late:
            back = chance.choice((MINUTE, HOUR, 5 * HOUR, 23 * HOUR, 25 * HOUR, -10 * MINUTE))
            add(json.dumps(_event(chance, t - back)).encode())
        else:
            add(json.dumps(_event(chance, t)).encode())
    offsets, offset = [], 0
    for _ in values:
        offset += chance.choice((1, 1, 1, 3))
        offsets.append(offset)
    return Log(values, offsets, times)


def _us(made: dict[str, Any]) -> int:
    from alerts.alert import from_rfc3339

    return from_rfc3339(made["received_at"])


def _report(t: int) -> bytes:
    at = to_rfc3339(t)
    body = {"receiver": "hooks/1@a", "process": "p", "started_at": at, "at": at, "offered": 1,
            "sent": 1, "dropped": {}, "version": "1", "sampling": 1.0}  # fmt: skip
    return json.dumps({"schema": 1, "report": body}).encode()


def with_controls(log: Log, alerts: list[Alert], seed: int, key: bytes) -> Log:
    """Return the log with verdicts on its alerts, plans, trials, copies and forgeries in it."""
    chance = random.Random(seed)
    places: list[tuple[int, int, bytes]] = []
    opened = [alert for alert in alerts if alert.status == "open" and alert.sender in SENDERS[:4]]
    for n, alert in enumerate(opened):
        first = bisect_left(log.times, alert.opened_at)
        place = min(max(0, first + chance.choice((-30, 0, 1, 5, 40))), len(log))
        now = log.times[min(place, len(log) - 1)]
        value = dump_control(said_of(chance, alert, now), chance.choice((key,) * 4 + (b"x" * 16,)))
        places.append((place, n, value))
        if chance.random() < 0.3:  # somebody copies it to a later place
            places.append((min(place + chance.randrange(60), len(log)), n, value))
    assert places
    values, times = [], []
    for n in range(len(log) + 1):
        for _, _, value in sorted(one for one in places if one[0] == n):
            values.append(value)
            times.append(log.times[min(n, len(log) - 1)])
        if n < len(log):
            values.append(log.values[n])
            times.append(log.times[n])
    return Log(values, list(range(len(values))), times)


def said_of(chance: random.Random, alert: Alert, now: int) -> Control:
    """Return what somebody says of an alert at a time."""

    def time(us: int) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)

    common: dict[str, Any] = {
        "id": str(UUID(int=chance.getrandbits(128))),
        "at": time(now),
        "by": "an analyst",
        "sender": alert.sender,
        "reason": "for a test",
        "expires": time(now + chance.choice((MINUTE, 90 * MINUTE, DAY, 20 * DAY))),
    }
    if chance.random() < 0.35:
        starts = time(now - chance.choice((0, HOUR, DAY)))
        fitting = {"spoofed-source": "migration", "payload-volume": "campaign"}
        plan: Any = fitting.get(alert.detector, "rotation")
        return PlanControl(**common, plan=plan, starts=starts)
    if chance.random() < 0.15:
        return OverrideControl(**common, detector=alert.detector)
    return VerdictControl(
        **common,
        alert=alert.id,
        verdict=chance.choice(("benign", "attack")),
        detector=alert.detector,
        finding=alert.reason,
        severity=alert.severity.value,
        source=chance.choice((None, None, "203.0.113.0/24")),
    )


def cuts(seed: int, length: int) -> list[tuple[int, int]]:
    """Return random pieces that cover 0..length."""
    chance = random.Random(seed)
    pieces, start = [], 0
    while start < length:
        end = min(length, start + chance.choice((1, 1, 2, 5, 30, 200)))
        pieces.append((start, end))
        start = end
    return pieces
