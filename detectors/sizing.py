"""How many partitions, workers and bytes a stream needs, from measured speeds and the rows' sizes.

A worker walks all of its partitions on one core, and must catch up after a pause: while it is away
the stream goes on, so where events take a share ``u`` of its core it needs ``u / (1 - u)`` times
the pause to be level again. A sender's events are all in one partition, so the busiest sender must
fit one worker.

What a worker needs at the stream's usual rate is more than that share: each answer of a broker
costs a partition about a millisecond, however few events are in it, and while events come there is
one every 15 ms. That part gives way where there is more to do: events wait a moment longer, and
answers hold more of them. So workers are reckoned by the events, and the core by both.

>>> plan = sized(Stream(events_per_second=20_000, senders=50_000), SPEEDS)
>>> plan.workers >= 1, plan.partitions % plan.workers, plan.partitions >= 4 * plan.workers
(True, 0, True)
>>> quiet = sized(Stream(events_per_second=2_000, senders=50_000), SPEEDS)
>>> quiet.events_share < 0.01, quiet.answers_share > 20 * quiet.events_share
(True, True)
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
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
TWICE: Final = 2
"""A snapshot, and changes that become as long as it."""
GATHER_S: Final = 0.015
GATHER_BYTES: Final = 256 << 10
"""While events come, brokers answer after so long or with so much, whichever is first: as
``detectors.engines.faust_transport.Fetching`` asks them to."""
MEASURED: Final = Path(__file__).with_name("speeds.json")


@dataclass(frozen=True)
class Speeds:
    """What was measured, by ``make bench``; seconds are of CPU."""

    worker: float
    """Events per second of a worker on Kafka, from the broker to its alerts."""
    rebuild: float
    """The same where a state is made anew: the log is read beside the group, by a second client."""
    answer_s: float
    """An answer of a broker, for each partition in it."""
    restored_bytes: float
    """Bytes of a checkpoint that are restored in a second."""
    event_bytes: float
    """An event as JSON."""
    packed_share: float
    """A checkpoint's bytes against those of the rows in it."""

    def of(self, worker: float) -> Speeds:
        """Return those of a machine on which a worker has this speed.

        >>> SPEEDS.of(2 * SPEEDS.worker).rebuild == 2 * SPEEDS.rebuild
        True
        """
        times = worker / self.worker
        return replace(
            self,
            worker=worker,
            rebuild=self.rebuild * times,
            answer_s=self.answer_s / times,
            restored_bytes=self.restored_bytes * times,
        )


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
    """Of a worker's core that the events may take."""
    retention_days: float = 7.0
    replication: int = 3


@dataclass(frozen=True)
class Sized:
    """What a stream needs; bytes, and events per second."""

    workers: int
    partitions: int
    events_share: float
    """Of a worker's core, at the usual rate: the events themselves."""
    answers_share: float
    """And what brokers' answers cost beside them, at most the rest of it."""
    worker_bytes: int
    """Memory of one worker, all partitions full, or of its first start."""
    rows_bytes: int
    """Of that, the rows of all of its partitions."""
    events_topic_bytes: int
    """On all brokers together, uncompressed."""
    state_topic_bytes: int
    catch_up_s: float
    """After an hour in which no worker ran."""
    restore_s: float
    """To read the checkpoints of a worker's partitions, at most."""
    rebuild_s: float
    """Until all events that are kept are walked again, and the stream is caught up with."""
    senders: int
    """Of the fullest partition, whether it keeps so many or not."""
    senders_kept: int
    """By one partition, at most: `stream.max_senders`."""
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
    senders = math.ceil(stream.senders / partitions * UNEVEN)
    kept_senders = min(senders, config.stream.max_senders)
    mine = kept_senders * sum(of * tables[key].key_bytes for key, of in per_sender.items())
    passing = 0.0  # rows of deliveries and ids, which come and go
    for key in (("sender", "unit"), ("sender", "delivery"), ("id",)):
        spec = tables[key].spec
        rate = stream.events_per_second / partitions
        kept = min(rate * 60 * spec.ttl, spec.limit + spec.remembered)
        passing += tables[key].bytes_of(kept)
    rows = int(PER_WORKER * (mine + passing))
    days = stream.events_per_second * DAY_S * stream.retention_days
    rate = stream.events_per_second / workers
    events_share = rate / speeds.worker
    walked_again_s = rate * DAY_S * stream.retention_days / speeds.rebuild
    checkpoint = (mine + passing) * speeds.packed_share
    busiest = stream.events_per_second * stream.busiest_share
    return Sized(
        workers=workers,
        partitions=partitions,
        events_share=events_share,
        answers_share=min(_answers(rate, speeds), 1.0 - events_share),
        worker_bytes=max(BASE_BYTES + PER_WORKER * CORE_BYTES + rows, COMPILING_BYTES),
        rows_bytes=rows,
        events_topic_bytes=int(days * speeds.event_bytes * stream.replication),
        state_topic_bytes=int(TWICE * partitions * checkpoint * stream.replication),
        catch_up_s=3600.0 * events_share / (1.0 - events_share),
        restore_s=TWICE * PER_WORKER * checkpoint / speeds.restored_bytes,
        rebuild_s=walked_again_s / (1.0 - events_share),
        senders=senders,
        senders_kept=config.stream.max_senders,
        busiest_fits=busiest <= capacity,
        busiest_limit=capacity,
    )


def _answers(rate: float, speeds: Speeds) -> float:
    """Return the CPU-seconds a second that answers take of a worker with so many events a second.

    Events come at random, so an answer holds some of a partition with ``1 - exp(-mean)``.
    """
    turn = min(GATHER_S, GATHER_BYTES / (rate * speeds.event_bytes))
    holding = PER_WORKER * -math.expm1(-rate * turn / PER_WORKER)
    return holding * speeds.answer_s / turn
