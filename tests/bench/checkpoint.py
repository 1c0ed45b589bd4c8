"""Checkpoints of 100,000 senders at 10,000 events a second, beside snapshots of everything."""

from __future__ import annotations

import json
import random
import uuid
from datetime import datetime
from time import perf_counter, process_time

from detectors.config import Config
from detectors.core import Core
from detectors.engines.state_topic import Draft, checkpoint_records
from detectors.snapshot import Copied, merge, read
from tests.bench.figures import Figure
from tests.bench.traffic import batches

SENDERS = 100_000
PER_SECOND = 10_000
EVERY = 5
"""Seconds between checkpoints, as workers have it by default."""
ROUNDS = 6
ATTACKED = 4_000
"""Senders, each of which accepts a call twice."""


def _written(copied: Copied) -> tuple[int, float]:
    """Pack a copy as for the topic; bytes of the records and CPU-seconds."""
    started = process_time()
    records = checkpoint_records(0, "f", 1, Draft(1, "c", 1, copied.pieces()))
    size = sum(len(record.key) + len(record.value or b"") for record in records)
    return size, process_time() - started


def _copied(core: Core, *, whole: bool) -> tuple[Copied, float]:
    started = perf_counter()
    copied = core.copied(whole=whole)
    return copied, perf_counter() - started


def figures() -> list[Figure]:
    """Measure snapshots and changes of one core in steady traffic, and a restore of them."""
    config = Config()
    core = Core(config)
    for batch in batches(config, SENDERS, 0):
        core.feed_sorted(batch)
    events = PER_SECOND * EVERY
    parts: dict[bool, list[tuple[float, int, float]]] = {True: [], False: []}
    base, changes = b"", list[bytes]()
    for number in range(2 * ROUNDS):
        whole = number < ROUNDS
        for batch in batches(config, SENDERS, events, first=SENDERS + number * events, seed=number):
            core.feed_sorted(batch)
        copied, stall = _copied(core, whole=whole)
        size, seconds = _written(copied)
        parts[whole].append((stall, size, seconds + stall))
        content = b"".join(copied.pieces())
        base, changes = (content, []) if whole else (base, [*changes, content])
    started = perf_counter()
    read_back = [read([one], len(one)) for one in (base, *changes)]
    again = Core.restore(config, merge(read_back[0], read_back[1:]))
    restored = perf_counter() - started
    if again.digest() != core.digest():
        msg = "what was restored is not what was saved"
        raise AssertionError(msg)
    opened, stall_open = _with_incidents()
    stall, size, cost = _summary(parts[False])
    whole_stall, whole_size, whole_cost = _summary(parts[True])
    name = "whole snapshot"
    return [
        Figure("checkpoint, walking stands still", 1e3 * stall, "ms", name, 1e3 * whole_stall),
        Figure(f"and with {opened:,} open incidents", 1e3 * stall_open, "ms"),
        Figure("checkpoint, bytes for the topic", size, "B", name, whole_size),
        Figure(
            "checkpoint, CPU of a core", 100 * cost / EVERY, "%", name, 100 * whole_cost / EVERY
        ),
        Figure(f"restore, snapshot and {ROUNDS} changes", restored, "s"),
    ]


def _with_incidents() -> tuple[int, float]:
    """How many an attack on as many senders opens, and how long a checkpoint stops walking then."""
    from tests.bench.engine import values

    core = Core(Config())
    twice = [
        json.loads(value) | {"duplicate": False, "sender": f"twice-{number:05}"}
        for number, (_, value) in enumerate(values(ATTACKED, ATTACKED, ATTACKED))
    ]
    rng = random.Random(2)
    twice += [
        event | {"id": str(uuid.UUID(int=rng.getrandbits(128), version=4))} for event in twice
    ]
    calls = [json.dumps(event, separators=(",", ":")).encode() for event in twice]
    now = datetime.fromisoformat(twice[-1]["received_at"]).timestamp() * 1e6
    stalls = []
    for number, part in enumerate([calls, *(calls[at : at + 1] for at in range(ROUNDS))]):
        offset = number * len(calls)
        core.feed_log(part, range(offset, offset + len(part)), [int(now)] * len(part))
        stalls.append(_copied(core, whole=number == 0)[1])
    return len(core.incidents.open), max(stalls[1:])


def _summary(parts: list[tuple[float, int, float]]) -> tuple[float, float, float]:
    """Return the longest stall, and the means of bytes and CPU-seconds."""
    stalls, sizes, seconds = zip(*parts, strict=True)
    return max(stalls), sum(sizes) / len(sizes), sum(seconds) / len(seconds)


if __name__ == "__main__":
    for figure in figures():
        print(figure.line())  # noqa: T201
