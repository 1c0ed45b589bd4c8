"""How many partitions, workers and bytes a stream needs, from measured speeds and the rows' sizes.

A worker walks all of its partitions on one core, and must catch up after a pause: while it is away
the stream goes on, so at a load of ``u`` it needs ``u / (1 - u)`` times the pause to be level
again. A sender's events are all in one partition, so the busiest sender must fit one worker.

>>> plan = sized(Stream(events_per_second=20_000, senders=50_000), SPEEDS)
>>> plan.workers >= 1, plan.partitions % plan.workers, plan.partitions >= 4 * plan.workers
(True, 0, True)
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from detectors.config import Config
from detectors.core import Core
from detectors.event import DAY, SECOND

DAY_S: Final = DAY // SECOND
PER_WORKER: Final = 4
"""Partitions for each worker: so many times as many workers may be added later."""
UNEVEN: Final = 1.3
"""Senders of the fullest partition against the mean, and their index that doubles."""
BASE_BYTES: Final = 400 << 20
"""Of a worker's process: Python, its packages, compiled code, and while it catches up some answers
of up to 16 MiB with what is unpacked of them (``make bench`` shows the most that it had)."""
COMPILING_BYTES: Final = 900 << 20
"""Of a worker's first start, which compiles in four processes at most, before it has any state."""
CORE_BYTES: Final = 16 << 20
"""Of each partition beside its rows: the decoder's memory of texts, and buffers."""
MEASURED: Final = Path(__file__).with_name("speeds.json")


@dataclass(frozen=True)
class Speeds:
    """What was measured, by ``make bench``."""

    worker: float
    """Events per CPU-second of a worker on Kafka, from the broker to its alerts."""
    event_bytes: float
    """An event as JSON."""
    packed_share: float
    """A checkpoint's bytes against those of the rows in it."""


@dataclass(frozen=True)
class Stream:
    """What is to be watched."""

    events_per_second: float
    senders: int
    types: float = 3.0
    """Event types of a sender."""
    networks: float = 5.0
    """Networks of a sender."""
    busiest_share: float = 0.2
    """Of all events, those of the busiest sender."""
    load: float = 0.5
    """Of a worker's core that the stream may use."""
    retention_days: float = 7.0
    replication: int = 3


@dataclass(frozen=True)
class Sized:
    """What a stream needs; bytes, and events per second."""

    workers: int
    partitions: int
    worker_bytes: int
    """Memory of one worker, all partitions full, or of its first start."""
    rows_bytes: int
    """Of that, the rows of all of its partitions."""
    events_topic_bytes: int
    """On all brokers together, uncompressed."""
    state_topic_bytes: int
    catch_up_s: float
    """After an hour in which no worker ran."""
    busiest_fits: bool
    """Whether one worker is fast enough for the busiest sender."""
    busiest_limit: float


SPEEDS: Final = Speeds(**json.loads(MEASURED.read_text("utf-8")))


def sized(stream: Stream, speeds: Speeds, config: Config | None = None) -> Sized:
    """Work out what a stream needs."""
    config = config or Config()
    capacity = speeds.worker * stream.load
    workers = max(math.ceil(stream.events_per_second / capacity), 1)
    partitions = workers * PER_WORKER
    tables = Core(config).events_tables
    per_sender = {
        ("sender",): 1.0,
        ("sender", "source"): stream.networks,
        ("sender", "event_type"): stream.types,
    }
    senders = min(stream.senders / partitions * UNEVEN, config.stream.max_senders)
    mine = senders * sum(of * tables[key].key_bytes for key, of in per_sender.items())
    passing = 0.0  # rows of deliveries and ids, which come and go
    for key in (("sender", "unit"), ("sender", "delivery"), ("id",)):
        spec = tables[key].spec
        rate = stream.events_per_second / partitions
        kept = min(rate * 60 * spec.ttl, spec.limit + spec.remembered)
        passing += tables[key].bytes_of(kept)
    rows = int(PER_WORKER * (mine + passing))
    days = stream.events_per_second * DAY_S * stream.retention_days
    busiest = stream.events_per_second * stream.busiest_share
    return Sized(
        workers=workers,
        partitions=partitions,
        worker_bytes=max(BASE_BYTES + PER_WORKER * CORE_BYTES + rows, COMPILING_BYTES),
        rows_bytes=rows,
        events_topic_bytes=int(days * speeds.event_bytes * stream.replication),
        state_topic_bytes=int(
            2 * partitions * (mine + passing) * speeds.packed_share * stream.replication
        ),
        catch_up_s=3600.0 * stream.load / (1.0 - stream.load),
        busiest_fits=busiest <= capacity,
        busiest_limit=capacity,
    )
