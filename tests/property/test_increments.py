"""Snapshots and changes of the state, put together again, are the state, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.errors import StateError
from detectors.snapshot import pack, runs_of, unpack
from tests.property.hostile import Log, cuts, hostile, with_controls
from tests.property.test_parity import KEY, day_log, in_one_piece
from tests.states import merged, packed_again

SMALL = Config(control_key=KEY, stream=StreamSettings(max_senders=16, max_deliveries=32))
"""Tables in which rows go from one key to another all the time."""
FADING = Config(
    control_key=KEY,
    stream=StreamSettings(max_senders=16, max_deliveries=32, max_exact_deliveries=16),
)
"""Tables of deliveries from which rows go into a memory that is too small, too."""


def checkpoints(
    config: Config, log: Log, pieces: Sequence[tuple[int, int]], seed: int
) -> tuple[int, int]:
    """Feed a log; wherever a checkpoint falls, what a restore would find is the state itself.

    Return how many checkpoints there were, and how many bytes of them were no snapshots.
    """
    chance = random.Random(seed)
    core = Core(config)
    base, changes, count, size = b"", list[bytes](), 0, 0
    for start, end in pieces:
        core.feed_log(*log.part(start, end))
        if chance.random() < 0.4:
            continue
        whole = not base or chance.random() < 0.1
        copied = core.copied(whole=whole)
        written = b"".join(copied.pieces())
        base, changes = (written, []) if copied.whole else (base, [*changes, written])
        assert packed_again(base, changes) == core.snapshot()
        kept = core.incidents.texts()
        core.incidents._texts.clear()  # so that those that have not changed are written anew
        assert core.incidents.texts() == kept
        count += 1
        size += 0 if copied.whole else len(written)
        if chance.random() < 0.2:
            core = Core.restore(config, merged(base, changes))
            base = b""  # a new owner begins with a snapshot
    return count, size


@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), cutting=st.integers(0, 2**32 - 1))
def test_checkpoints_of_a_hostile_log_lose_nothing(seed: int, cutting: int) -> None:
    """Late, garbled and lying records, verdicts and plans: every checkpoint is the state."""
    plain = hostile(seed, 400)
    log = with_controls(plain, in_one_piece(plain)[0], seed, KEY)
    for config in (SMALL, FADING, Config(control_key=KEY)):
        assert checkpoints(config, log, cuts(cutting, len(log)), cutting)[0] > 1


def test_checkpoints_of_a_day_lose_nothing() -> None:
    """Timers wake rows that no event has touched: their changes are in the checkpoint, too."""
    log = day_log()
    step = len(log) // 60
    pieces = [(at, min(at + step, len(log))) for at in range(0, len(log), step)]
    count, _ = checkpoints(Config(), log, pieces, 5)
    assert count > 20


def test_changes_are_small() -> None:
    """An event changes the rows of its own keys: not the state's size but the events' count."""
    log = day_log()
    core = Core(Config())
    half = len(log) // 2
    core.feed_log(*log.part(0, half))
    whole = sum(map(len, core.copied(whole=True).pieces()))
    core.feed_log(*log.part(half, half + 1))
    arrays = core.copied(whole=False).arrays
    rows = {name: len(array) for name, array in arrays.items() if name.endswith("@")}
    assert max(rows.values()) <= 2
    assert sum(array.nbytes for array in arrays.values()) < whole / 50


def test_a_record_published_twice_is_counted_and_changes_no_row() -> None:
    """A producer that repeats itself brings no alert, no replay, and not a byte in any row."""
    log = day_log()
    half = log.part(0, len(log) // 2)
    plain, repeating = Core(Config()), Core(Config())
    expected = plain.feed_log(*half).alerts
    values, times = [], []
    for at, (value, time) in enumerate(zip(half[0], half[2], strict=True)):
        again = 2 if at % 7 == 0 else 1
        values += [value] * again
        times += [time] * again
    found = repeating.feed_log(values, range(len(values)), times).alerts
    assert [a.to_json() for a in found] == [a.to_json() for a in expected]
    more = len(values) - len(half[0])
    known = plain.counters.get("duplicates", 0)
    assert repeating.counters["duplicates"] == known + more > known
    (_, mine), (_, theirs) = unpack(plain.snapshot()), unpack(repeating.snapshot())
    for name, rows in mine.items():
        if name != "id/slots":  # how often each id was seen
            assert rows.tobytes() == theirs[name].tobytes(), name


def _changes(dtype: str, places: Sequence[int], length: int) -> bytes:
    at = np.array(places, np.int64)
    return pack({}, {"t/x@": np.ones(len(at), dtype), "t/@runs": runs_of(at, length)})


@pytest.mark.parametrize(
    "changes",
    [
        _changes("i4", [1], 3),
        _changes("i8", [5], 3),
        _changes("i8", [-1], 3),
        _changes("i8", [0], 1),
        pack({}, {"t/x@": np.ones(2, "i8"), "t/@runs": np.array([3, 1, 1])}),
        pack({}, {"t/y@": np.ones(1, "i8"), "t/@runs": np.array([3, 1, 1])}),
        pack({}, {"t/x@": np.ones(1, "i8")}),
        pack({}, {"t/x@": np.ones(1, "i8"), "t/@runs": np.array([], "i8")}),
    ],
)
def test_changes_of_something_else_are_refused(changes: bytes) -> None:
    """Other rows, other places, other names, or fewer of them: an error, never a wrong state."""
    base = pack({"a": 1}, {"t/x": np.zeros(3, "i8")})
    with pytest.raises(StateError, match="do not fit"):
        merged(base, [changes])


def test_changes_grow_what_they_change() -> None:
    """Rows that came later are there, what nobody touched is as it was, the header is the last."""
    base = pack({"a": 1}, {"t/x": np.arange(3), "u/y": np.arange(2)})
    first = pack({"a": 2}, {"t/x@": np.array([7, 8]), "t/@runs": runs_of(np.array([0, 3]), 4)})
    second = pack({"a": 3}, {"t/x@": np.array([9]), "t/@runs": runs_of(np.array([5]), 6)})
    header, arrays = merged(base, [first, second])
    assert header == {"a": 3}
    assert arrays["t/x"].tolist() == [7, 1, 2, 8, 0, 9]
    assert arrays["u/y"].tolist() == [0, 1]
