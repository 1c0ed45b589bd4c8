"""Who was not heard, and until when: found by halves, as if every pause were looked at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.clock import PAUSE, PartitionClock
from detectors.event import MINUTE
from detectors.health import STILL
from detectors.walk import FORGOTTEN, heard_since

NO_BROKER = np.zeros(0, np.int64)
SHIFTS = st.one_of(st.integers(-2, 400), st.just(FORGOTTEN // MINUTE))


def naive(pauses: NDArray[np.int64], tick: int, service: int) -> int:
    """The end of the last pause before the tick, by looking at every one."""
    found = 0
    for begin, end, of in pauses.tolist():
        if begin >= tick or of not in (0, service):
            continue
        if of == 0:
            found = max(found, end)
        elif tick - end <= FORGOTTEN:
            found = max(found, min(end, tick))
    return found


@st.composite
def pauses_of(draw: st.DrawFn, service: int) -> list[list[int]]:
    """Pauses of a service, one after the other; the last may go on."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 200)), max_size=8))
    at, found = draw(st.integers(-300, 300)) * MINUTE, []
    for apart, length in lengths:
        begin = at + apart * MINUTE
        at = begin + length * MINUTE
        found.append([begin, at, service])
    if found and service and draw(st.booleans()):
        found[-1][1] = STILL
    return found


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), st.lists(st.integers(1, 5), unique=True, max_size=4), st.integers(0, 6), SHIFTS)
def test_the_last_pause_is_that_of_all_pauses(
    data: st.DataObject, services: list[int], service: int, shift: int
) -> None:
    """At the edges of each pause, and long after it, no other answer than that of a full look."""
    given_ = [one for of in [0, *sorted(services)] for one in data.draw(pauses_of(of))]
    pauses = np.array(given_, np.int64).reshape(-1, 3)
    edges = {t for begin, end, _ in given_ for t in (begin, end) if t != STILL} | {0}
    for edge in edges:
        for tick in (edge - 1, edge, edge + 1, edge + shift * MINUTE, edge + shift * MINUTE + 1):
            assert heard_since(pauses, tick, service) == naive(pauses, tick, service)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(-PAUSE, 3 * PAUSE), min_size=1, max_size=8), max_size=6))
def test_pauses_of_the_stream_are_in_order_and_do_not_overlap(batches: list[list[int]]) -> None:
    """However times come, and in however many batches, no pause begins before another's end."""
    clock, now = PartitionClock(late=2**60, ahead=0), 10**15
    for steps in batches:
        times = now + np.cumsum(steps)
        passed = clock.admit(times, np.arange(len(times)), NO_BROKER, NO_BROKER, None)
        now = int(times.max())
        assert all(a[0] < a[1] <= b[0] < b[1] for a, b in pairwise(passed.pauses.tolist()))
        assert set(passed.pauses[:, 2].tolist()) <= {0}


class CountedPauses:
    """Pauses that count how often one of their numbers is read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.reads = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: tuple[int, int]) -> int:
        self.reads += 1
        row, column = place
        return (20 * row * MINUTE, (20 * row + 10) * MINUTE, 0)[column]


def test_a_timer_does_not_look_at_every_pause() -> None:
    """Of a hundred thousand pauses less than a hundred numbers are read, and the end is right."""
    pauses = CountedPauses(100_000)
    assert heard_since(pauses, 20 * 70_000 * MINUTE + 1, 3) == (20 * 70_000 + 10) * MINUTE
    assert pauses.reads < 100
