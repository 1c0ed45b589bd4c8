"""Control records of files: each is placed once, and obeyed between the events of its time."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from detectors.engines import local
from detectors.event import DAY, MINUTE
from ingest.control import Control, PlanControl
from ingest.partition import partition_for, record_key_of
from tests.unit.detectors.streams import MONDAY
from tests.unit.detectors.test_controls import common, time

PARTITIONS = 4


def _plan(n: int, at: int) -> PlanControl:
    who = common(n, at, MONDAY + 10 * DAY, f"s{n % 50}")
    return PlanControl(**who, plan="campaign", starts=time(MONDAY))


def _naive(said: list[Control], partition: int, times: list[int], obeyed: int) -> list[Any]:
    """Sort and split all that was said, for one piece of one partition that is not the last."""
    every = sorted(said, key=lambda control: control.at_us)
    mine = [c for c in every if partition_for(record_key_of(c.sender), PARTITIONS) == partition]
    places = [(sum(t <= c.at_us for t in times), c) for c in mine[obeyed:]]
    return [(place, c) for place, c in places if place < len(times)]


def test_records_are_placed_once_and_obeyed_as_if_sorted_again_for_each_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are read later come in at their time, and in their order where times are equal."""
    chance = random.Random(4)
    state: Any = SimpleNamespace(cores=[None] * PARTITIONS, config=SimpleNamespace(shared=()))
    said: list[Control] = [_plan(n, MONDAY + chance.randrange(40) * MINUTE) for n in range(300)]
    hashed: list[str] = []

    def key_of(sender: str) -> bytes:
        hashed.append(sender)
        return record_key_of(sender)

    monkeypatch.setattr(local, "record_key_of", key_of)
    walk = local._Walk(state, PARTITIONS, said, None)
    obeyed = [0] * PARTITIONS
    for piece in range(20):
        start = MONDAY + 2 * piece * MINUTE
        times = sorted(start + chance.randrange(2 * MINUTE) for _ in range(piece % 4))
        said += [_plan(1000 + 10 * piece + n, start + 2 * MINUTE) for n in range(3)]
        walk._place()
        for partition in range(PARTITIONS):
            wanted = _naive(said, partition, times, obeyed[partition])
            obeyed[partition] += len(wanted)
            assert walk._due(partition, np.array(times, np.int64), last=False) == wanted
    rest = [walk._due(p, np.array([], np.int64), last=True) for p in range(PARTITIONS)]
    assert sum(map(len, rest)) + sum(obeyed) == len(said) == len(hashed)
