"""Benign traffic as decoded batches, everything seeded.

Senders call once a minute on average, and are Zipf-distributed: most calls come from few of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from detectors.batch import EventBatch
from detectors.config import Config
from detectors.event import EVENT, MINUTE, SECOND, VERIFIED

START = 1_772_323_200 * SECOND
VALUE = json.dumps(
    {
        "schema": 1, "id": "00000000-0000-4000-8000-000000000001",
        "received_at": "2026-03-01T00:00:00Z", "receiver": "api/1.0@a", "endpoint": "/hook",
        "kind": "webhook", "sender": "sender-000000", "verdict": "verified", "body_bytes": 900,
        "source_ip": "192.0.2.1", "source_ip_from": "socket",
    }
).encode()  # fmt: skip


def batches(
    config: Config,
    senders: int,
    events: int,
    *,
    size: int = 20_000,
    first: int = 0,
    seed: int = 1,
    variant: int = 0,
) -> Iterator[EventBatch]:
    """Yield batches; with ``events`` = 0 each sender once, so that all of them are resident.

    ``variant`` changes event type, key and network: passes with 0 to 4 leave every sender with
    three types, two keys and five networks.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    total = events or senders
    who = config.who("sender-000000", "stripe", START)
    for start in range(0, total, size):
        n = min(size, total - start)
        columns = np.zeros(n, EVENT)
        if events:
            number = np.minimum(rng.zipf(1.1, n) - 1, 2**40) % senders
        else:
            number = np.arange(start, start + n)
        place = np.arange(first + start, first + start + n, dtype=np.int64)
        columns["t"] = START + place * MINUTE // senders
        columns["sender"] = (number + 1) * 7_919_000_003
        columns["event_type"] = 5 + variant % 3
        columns["key_id"] = 11 + variant % 2
        columns["endpoint"] = 6
        columns["source"] = (number + 1) * 104_729_000_003 + variant
        columns["address"] = columns["source"]
        columns["receiver"] = columns["service"] = 8
        columns["client"] = 9
        columns["unit"] = columns["delivery"] = rng.integers(1, 2**62, n)
        columns["body_bytes"] = np.exp(rng.normal(7.0, 0.3, n))
        columns["duration_ms"] = 5.0
        columns["weight"] = 1.0
        columns["status"] = 200
        columns["who"] = who
        columns["verdict"] = VERIFIED
        columns["signature_ok"] = 1
        columns["duplicate"] = columns["in_range"] = -1
        spans = np.tile(np.array([[0, len(VALUE)]], np.int64), (n, 1))
        yield EventBatch(columns, rng.integers(1, 2**62, n), place, VALUE, spans)
