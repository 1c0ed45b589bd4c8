"""Millions of random sender names in one run: `python -m tests.bench.cardinality [names]`.

Somebody calls under a new name each time, from a few networks, while fifty real senders go on and
one of them is attacked. Told are the bytes of state, the evictions, the alerts, and whether the
real senders' alerts are those of a run without the flood. The result is kept in
docs/cardinality.json, from which docs/scale.md tells it; ten million take two CPU-minutes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Alert
from detectors.batch import EventBatch
from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.event import EVENT, MINUTE, REASONS, REJECTED, SECOND, VERIFIED
from detectors.keys import name_key
from ingest.schema import CallbackEvent, Reason, parse_event
from tests.docs.kept import keep
from tests.unit.detectors.streams import DAY, MONDAY, encode, event

KEPT = Path("docs/cardinality.json")
LIMIT = 50_000
"""Senders that the configuration keeps."""
CHUNK = 50_000
REAL = 50
BEGIN = MONDAY + 5 * DAY
LASTS = 100 * MINUTE
ATTACK = BEGIN + 60 * MINUTE
NETWORKS = 200


@dataclass(frozen=True)
class Named(EventBatch):
    """A batch of arrays; words are made when they are asked for."""

    def sender(self, i: int) -> str:
        """Return the sender's name: a real one, or one that its key makes."""
        key = int(self.columns["sender"][i])
        return NAMES.get(key, f"name-{key & 0xFFFFFFFFFFFF:x}")

    def event(self, i: int) -> CallbackEvent:
        """Return the event with all its words."""
        return parse_event(self.value(i))

    def value(self, i: int) -> bytes:
        """Return the event as JSON."""
        e = self.columns[i]
        ip = f"198.18.{int(e['source']) >> 33 & 255}.7"
        failed = {"rejected": "signature_invalid", "source_ip": ip}
        more: dict[str, Any] = failed if int(e["verdict"]) == REJECTED else {}
        return encode([event(int(e["t"]), self.sender(i), **more)])[0]

    def take(self, order: NDArray[Any] | slice) -> Named:
        """Return the events at these places."""
        return Named(
            self.columns[order], self.ids[order], self.index[order], b"", self.spans[order]
        )


NAMES = {name_key(f"real-{n}"): f"real-{n}" for n in range(REAL)}
KEYS = np.array(list(NAMES), np.int64)


def calls(rng: np.random.Generator, t: NDArray[np.int64], senders: NDArray[np.int64]) -> Any:
    """Return verified calls of senders, each from its own network."""
    made = np.zeros(len(t), EVENT)
    made["t"], made["sender"] = t, senders
    made["source"] = made["address"] = senders >> 7 | 1
    for name in ("event_type", "endpoint", "path", "receiver", "service", "client", "key_id"):
        made[name] = name_key(name)
    made["unit"] = made["delivery"] = made["claimed"] = rng.integers(1, 1 << 62, len(t))
    made["signed"], made["signature_ok"], made["status"] = 1, 1, 200
    made["body_bytes"] = 2000 * np.exp(0.4 * rng.normal(size=len(t)))
    made["weight"], made["in_range"], made["duplicate"] = 1.0, -1, -1
    made["verdict"] = VERIFIED
    return made


def forged(rng: np.random.Generator, t: NDArray[np.int64], senders: NDArray[np.int64]) -> Any:
    """Return calls under these names with a wrong signature, from a few networks."""
    made = calls(rng, t, senders)
    made["source"] = made["address"] = rng.integers(1, NETWORKS + 1, len(t)) << 33
    made["unit"] = made["delivery"] = 0
    made["signature_ok"], made["status"], made["verdict"] = 0, 401, REJECTED
    made["reason"] = REASONS[Reason.SIGNATURE_INVALID]
    return made


def batch_of(rng: np.random.Generator, events: Any) -> Named:
    """Return events as a batch, by time."""
    events = events[np.argsort(events["t"], kind="stable")]
    n = len(events)
    ids = rng.integers(1, 1 << 62, n)
    return Named(events, ids, np.arange(n), b"", np.zeros((n, 2), np.int64))


def evenly(start: int, end: int, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return times and senders of the real senders' calls."""
    t = np.arange(start, end, every // REAL, dtype=np.int64)
    return t, KEYS[(t - MONDAY) // (every // REAL) % REAL]


def run(names: int) -> dict[str, Any]:
    """Feed five quiet days, then so many names within a hundred minutes, or none."""
    rng, noise = (np.random.Generator(np.random.PCG64(seed)) for seed in (1, 2))
    core = Core(Config(stream=StreamSettings(max_senders=LIMIT)))
    alerts: list[Alert] = []
    for day in range(5):
        t, senders = evenly(MONDAY + day * DAY, MONDAY + (day + 1) * DAY, 2 * MINUTE)
        alerts += core.feed_sorted(batch_of(rng, calls(rng, t, senders))).alerts
    started, full, steps = process_time(), 0, max(names // CHUNK, 100)
    for n in range(steps):
        start, end = BEGIN + n * LASTS // steps, BEGIN + (n + 1) * LASTS // steps
        parts = [calls(rng, *evenly(start - -start % (2 * MINUTE // REAL), end, 2 * MINUTE))]
        attack = np.arange(ATTACK, ATTACK + 200 * SECOND, SECOND, dtype=np.int64)
        attack = attack[(attack >= start) & (attack < end)]
        parts.append(forged(rng, attack, np.full(len(attack), KEYS[7])))
        count = names // steps
        t = noise.integers(start, end, count)
        parts.append(forged(noise, t, noise.integers(-(1 << 63), 1 << 63, count)))
        alerts += core.feed_sorted(batch_of(rng, np.concatenate(parts))).alerts
        full = max(full, sum(core.nbytes.values()))
    alerts += core.finish().alerts
    return {
        "names": names,
        "seconds": process_time() - started,
        "bytes": full,
        "evicted": core.evicted,
        "events_of_a_real_sender": next(
            one.events for one in core.baselines() if one.sender == "real-3"
        ),
        "about_real": sorted({(a.detector, a.reason, a.opened_at) for a in alerts
                              if a.sender in NAMES.values()}),
        "others": sorted({(a.detector, a.reason, a.severity.value, a.id) for a in alerts
                          if a.sender not in NAMES.values()}),
    }  # fmt: skip


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    keep(KEPT, [run(0), run(asked)])
