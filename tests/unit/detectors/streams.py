"""Short, readable streams of events for the tests of detection."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, count, repeat
from typing import Any

from alerts.alert import Alert, from_rfc3339, to_rfc3339
from alerts.pipeline import fold
from detectors.batch import Decoder
from detectors.config import Config
from detectors.core import Core
from detectors.event import DAY, HOUR, MINUTE, SECOND

Event = dict[str, Any]
MONDAY = 1_748_822_400_000_000
"""2025-06-02T00:00:00Z: where warm histories begin."""
TUESDAY = MONDAY + 15 * DAY + 10 * HOUR
"""Where warm histories end, by default: a working day at ten."""
HOME = ("192.0.2.10", "192.0.2.11", "198.51.100.7")
STRIPE = ("3.18.12.63", "3.130.192.231", "13.235.14.237")
GITHUB = ("140.82.112.5", "140.82.113.5")
ELSEWHERE = "203.0.113.9"

_numbers = count(1)


def fp(text: object) -> str:
    """Return a fingerprint of a text."""
    return hashlib.md5(str(text).encode(), usedforsecurity=False).hexdigest()


def event(t: int, sender: str = "acme", **fields: Any) -> Event:
    """Return a verified event with a signature and delivery of its own; None leaves a field out.

    ``ago`` is the age of the signed timestamp in seconds; ``rejected`` a reason.
    """
    n = next(_numbers)
    made: Event = {
        "schema": 1,
        "id": f"{fp(n)[:8]}-0000-4000-8000-{n:012x}",
        "received_at": to_rfc3339(t),
        "receiver": "hooks/1.4@a",
        "endpoint": "/hooks/acme",
        "kind": "webhook",
        "sender": sender,
        "verdict": "verified",
        "status": 200,
        "body_bytes": 2000,
        "event_type": "payment.done",
        "user_agent": "Acme-Hooks/1.0",
        "signature_fp": fp(f"signature {n}"),
        "delivery_fp": fp(f"delivery {n}"),
        "source_ip": "192.0.2.10",
        "source_ip_from": "socket",
    }
    if "rejected" in fields:
        made |= {"verdict": "rejected", "reason": fields.pop("rejected"), "status": 401}
        made["signature_ok"] = False if made["reason"] == "signature_invalid" else None
    if "ago" in fields:
        made["signed_at"] = to_rfc3339(t - int(fields.pop("ago") * SECOND))
    made |= fields
    return {name: value for name, value in made.items() if value is not None}


def at(made: Event) -> int:
    """Return when an event was received, microseconds."""
    return from_rfc3339(made["received_at"])


def traffic(
    start: int = MONDAY,
    *,
    days: float = 15,
    per_hour: float = 20,
    sender: str = "acme",
    ips: Sequence[str] = HOME,
    busy: Sequence[float] = (),
    seed: int = 1,
    **fields: Any,
) -> Iterator[Event]:
    """Yield a sender's usual calls: random gaps, log-normal sizes; ``busy`` weighs hours of day."""
    chance = random.Random(f"{seed} {sender}")
    end = start + int(days * DAY)
    peak = max(busy, default=1.0)
    t = start
    while True:
        t += int(chance.expovariate(per_hour * peak) * HOUR)
        if t >= end:
            return
        if busy and chance.random() > busy[t // HOUR % 24] / peak:
            continue
        own = {"body_bytes": int(chance.lognormvariate(7.6, 0.4)), "source_ip": chance.choice(ips)}
        yield event(t, sender, **(own | fields))


def encode(events: Iterable[Event]) -> list[bytes]:
    """Return events as JSON values."""
    return [json.dumps(made, separators=(",", ":")).encode() for made in events]


def sort(*streams: Iterable[Event]) -> list[Event]:
    """Return the events of all streams by time."""
    return sorted((made for stream in streams for made in stream), key=at)


class Run:
    """A core that is fed streams in order of time, and keeps what it found."""

    def __init__(self, *streams: Iterable[Event], config: Config | None = None) -> None:
        self.core = Core(config or Config())
        self.alerts: list[Alert] = []
        self.values: list[bytes] = []
        if streams:
            self.feed(*streams)
        self.alerts.clear()
        self.values.clear()

    def feed(self, *streams: Iterable[Event]) -> list[Alert]:
        """Feed the events of all streams by time; return the alerts that this brought."""
        values = encode(sort(*streams))
        decoded = Decoder(self.core.config).values(values)
        assert not decoded.rejected, decoded.rejected[0]
        found = self.core.feed_sorted(decoded.batch).alerts
        self.alerts += found
        self.values += values
        return found

    def until(self, t: int) -> list[Alert]:
        """Let time run on to t; return the alerts that this brought."""
        found = self.core.finish(t).alerts
        self.alerts += found
        return found

    @property
    def incidents(self) -> list[Alert]:
        """The latest state of each incident."""
        return list(fold(self.alerts).values())

    def of(self, detector: str) -> list[Alert]:
        """Return the latest states of one detector's incidents."""
        return [alert for alert in self.incidents if alert.detector == detector]

    def loud(self) -> list[str]:
        """Return what is low or graver, as short texts."""
        return [brief(alert) for alert in self.incidents if alert.severity >= "low"]

    def opened(self, detector: str, reason: str | None = None) -> int | None:
        """Return after how many of the fed events the detector first opened (this reason)."""
        for alert in self.alerts:
            if alert.detector == detector and reason in (None, alert.reason):
                times = [alert.opened_at if reason is None else alert.updated_at]
                return sum(json.loads(value)["received_at"] <= to_rfc3339(times[0])
                           for value in self.values)  # fmt: skip
        return None


def brief(alert: Alert) -> str:
    """Return an alert as ``detector reason severity``."""
    return f"{alert.detector} {alert.reason} {alert.severity}"


@cache
def _history(provider: str | None, ips: tuple[str, ...], per_hour: float, days: float) -> bytes:
    usual = traffic(days=days, per_hour=per_hour, ips=ips, **usual_of(provider))
    return Run(usual).core.snapshot()


def usual_of(provider: str | None) -> dict[str, Any]:
    """Return the fields that every call of a provider has."""
    signs_times = provider in ("stripe", "svix", "standard-webhooks")
    return {"provider": provider} | ({"ago": 2} if signs_times else {})


def warm(
    provider: str | None = None,
    ips: tuple[str, ...] = HOME,
    *,
    per_hour: float = 20,
    days: float = 15 + 10 / 24,
) -> Run:
    """Return a run that knows the usual traffic of ``acme`` up to TUESDAY."""
    run = Run()
    run.core = Core.restore(run.core.config, _history(provider, ips, per_hour, days))
    return run


def outage(
    provider: str,
    ips: Sequence[str],
    *,
    minutes: int,
    gaps: Sequence[float],
    same_signature: bool,
    per_hour: float = 60,
) -> list[Event]:
    """Return calls that get 503 for so long, each with its provider's retries until it gets 200."""
    end = TUESDAY + minutes * MINUTE
    calls = traffic(TUESDAY, days=minutes / 1440, per_hour=per_hour, ips=ips, seed=9)
    made = []
    for n, call in enumerate(calls):
        chance = random.Random(n)
        t = at(call)
        for attempt, gap in enumerate(chain([0.0], gaps, repeat(gaps[-1])), start=1):
            t += int(gap * SECOND * chance.uniform(0.9, 1.1))
            signature = fp(f"outage {n}" if same_signature else f"outage {n} {attempt}")
            made.append(
                event(
                    t, attempt=attempt, status=200 if t >= end else 503, signature_fp=signature,
                    delivery_fp=fp(f"delivery of outage {n}"), source_ip=call["source_ip"],
                    body_bytes=call["body_bytes"], **usual_of(provider),
                )
            )  # fmt: skip
            if t >= end:
                break
    return made


def calls(n: int, every: float, start: int = TUESDAY, **fields: Any) -> list[Event]:
    """Return n events, one every so many seconds."""
    return [event(start + int(i * every * SECOND), **fields) for i in range(n)]
