"""The memory of keys keeps what it promises, whatever the order, the cuts and the keys."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detectors.memory import GENERATION, LEVEL, LOAD, WAYS, Memory, mark_of
from detectors.passing import NEW, REMEMBERED
from detectors.snapshot import pack
from detectors.tables import KeyedTable, TableSpec
from tests.states import packed_again, state_of

DAYS = 3 * 1440
LEAST, MOST = -(2**63), 2**63 - 1


def table_of(limit: int, remembered: int, ttl: int = DAYS) -> KeyedTable:
    """Return a table of deliveries."""
    spec = TableSpec(
        ("sender", "unit"), ttl=ttl, limit=limit, refresh=False, growth=2.0, remembered=remembered
    )
    return KeyedTable(spec)


def memory_of(table: KeyedTable) -> Memory:
    """Return the memory of a table that has one."""
    assert table.memory is not None
    return table.memory


def random_keys(seed: int, n: int) -> NDArray[np.int64]:
    """Return keys as mixed names give them."""
    return np.random.default_rng(seed).integers(LEAST, MOST, n, np.int64, endpoint=True)


def packed(table: KeyedTable, parts: dict[str, Any] | None = None) -> bytes:
    """Return a table, or what has changed in it, as the bytes of a checkpoint."""
    found = table.snapshot() if parts is None else parts
    return pack({}, {f"sender+unit/{name}": array for name, array in found.items()})


def restored(table: KeyedTable, data: bytes) -> KeyedTable:
    """Return the table that a snapshot gives."""
    again = KeyedTable(table.spec)
    _, arrays = state_of(data)
    again.restore({name.partition("/")[2]: array for name, array in arrays.items()})
    return again


@dataclass
class Plain:
    """A table that remembers every key for its time, in a dictionary."""

    limit: int
    ttl: int
    rows: dict[int, int] = field(default_factory=dict)
    gone: dict[int, int] = field(default_factory=dict)

    def find(self, key: int, now: int) -> int:
        """Return how the row starts; 0 = it is there."""
        seen = self.rows.get(key)
        if seen is not None and now - seen <= self.ttl:
            return 0
        known = now - self.gone.pop(key, -(10**9)) <= self.ttl
        if seen is None and len(self.rows) == self.limit:
            oldest = next(iter(self.rows))
            self.gone[oldest] = self.rows.pop(oldest)
        self.rows.pop(key, None)
        self.rows[key] = now
        return REMEMBERED if known else NEW


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), limit=st.sampled_from([16, 50, 300]))
def test_what_has_lost_its_row_is_remembered(seed: int, limit: int) -> None:
    """With room enough, a key is known as long as a dictionary knows it, or a little longer."""
    chance = random.Random(seed)
    table, plain = table_of(limit, 100_000, ttl=400), Plain(limit, 400)
    pool = random_keys(seed, 2000).tolist()
    now = 0
    for _ in range(2500):
        now += chance.random() < 0.3
        key = chance.choice(pool)
        at = table.locate(np.array([key]), np.array([now]))
        expected = plain.find(key, now)
        assert int(at.fresh[0]) == expected or (expected, int(at.fresh[0])) == (NEW, REMEMBERED)
        if expected == NEW and at.fresh[0] == REMEMBERED:  # within the generation of its end
            plain.gone.pop(key, None)
        assert int(at.before[0]) > 0 or expected == NEW
    assert table.evicted == 0


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    remembered=st.sampled_from([20, 200, 5000]),
    leap=st.sampled_from([1, 40, 900]),
)
def test_cuts_snapshots_and_changes_alter_nothing(seed: int, remembered: int, leap: int) -> None:
    """One at a time or all at once, restored or not: the same answers, the same bytes."""
    chance = random.Random(seed)
    table, whole = table_of(16, remembered, ttl=1000), table_of(16, remembered, ttl=1000)
    pool = random_keys(seed, 1500)
    keys = pool[np.array([chance.randrange(len(pool)) for _ in range(3000)])]
    nows = np.cumsum([chance.choice((0, 0, 0, 0, 1, leap)) for _ in keys])
    base, changes = packed(table), list[bytes]()
    found: list[int] = []
    start = 0
    while start < len(keys):
        end = min(len(keys), start + chance.choice((1, 7, 300)))
        found += table.locate(keys[start:end], nows[start:end]).fresh.tolist()
        start = end
        if chance.random() < 0.5:
            changes.append(packed(table, table.changes()))
            table.clean()
            assert packed_again(base, changes) == packed(table)
        if chance.random() < 0.1:
            base, changes = packed(table), []
            table = restored(table, base)
            table.clean()
    assert found == whole.locate(keys, nows).fresh.tolist()
    assert packed(table) == packed(whole)


def passed(limit: int, windows: float, seed: int = 1) -> tuple[Memory, NDArray[np.int64], Any]:
    """Return a memory after so many windows of keys at an even pace, the keys, their minutes."""
    exact = 64
    table = table_of(exact, limit)
    n = int(limit * windows)
    keys, minutes = random_keys(seed, n), np.arange(n) * DAYS // limit
    for start in range(0, n, 5000):
        table.locate(keys[start : start + 5000], minutes[start : start + 5000])
    return memory_of(table), keys[: n - exact], minutes[: n - exact]


def known(memory: Memory, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which keys a memory knows."""
    return np.array([memory.knows(key) for key in keys.tolist()])


def test_recall_holds_at_every_age() -> None:
    """At its full size, 99 % of every twentieth of the window are known, and nothing older."""
    limit = 60_000
    memory, keys, minutes = passed(limit, 2.5)
    assert memory.slots.nbytes + memory.dirty.nbytes < 7.1 * limit
    age = int(minutes[-1]) - minutes
    for twentieth in range(20):
        of = (age >= DAYS * twentieth // 20) & (age < DAYS * (twentieth + 1) // 20)
        mine = keys[of][:1500]
        assert known(memory, mine).mean() >= 0.99, twentieth
    assert not known(memory, keys[age > DAYS * 1.05][-1500:]).any()


def test_strangers_are_not_known() -> None:
    """Of 300,000 keys that never came, none or one is taken for one that did (6e-7 each)."""
    memory, _, _ = passed(20_000, 1.5)
    assert known(memory, random_keys(2, 300_000)).sum() <= 1


def test_chosen_keys_fill_one_bucket_only() -> None:
    """Who could choose keys would push out those of one bucket: 32 keys, each counted."""
    table = table_of(16, 6000)
    mine = random_keys(1, 5000)
    table.locate(mine, np.zeros(len(mine), np.int64))
    memory = memory_of(table)
    before, size = known(memory, mine).sum(), memory.nbytes
    flood = (7 << 33) + np.arange(3000)
    table.locate(flood, np.zeros(len(flood), np.int64))
    assert before - known(memory, mine).sum() <= WAYS
    assert memory.nbytes <= 4 * size
    assert memory.forgotten > 2800


def test_nothing_is_allocated_before_a_row_has_to_go() -> None:
    """A small stream pays nothing; a larger one a quarter of the size, then twice as much."""
    table = table_of(100, 100_000)
    memory = memory_of(table)
    table.locate(random_keys(1, 100), np.zeros(100, np.int64))
    assert memory.nbytes == 0
    sizes = set()
    for n in range(60):
        table.locate(random_keys(n + 2, 2000), np.zeros(2000, np.int64))
        sizes.add(memory.nbytes)
        assert memory.live <= LOAD * memory.slots.size + 1 or int(memory.state[LEVEL]) == 2
    whole = max(sizes)
    assert sorted(sizes) == [pytest.approx(whole / 4), pytest.approx(whole / 2), whole]


def test_a_leap_of_time_empties_it() -> None:
    """A pause that is longer than the window leaves nothing, wherever the generations stand."""
    for leap in (DAYS + 300, 40 * DAYS, 41 * DAYS + 777):
        table = table_of(16, 4000)
        mine = random_keys(1, 1000)
        table.locate(mine, np.full(len(mine), 5))
        table.locate(random_keys(2, 200), np.full(200, leap))
        memory = memory_of(table)
        assert not known(memory, mine).any()
        assert memory.live <= 200
        assert int(memory.state[GENERATION]) > 0


def test_marks_fit_their_place() -> None:
    """Whatever the key, its mark has 27 bits with its sign, and is not that of a free place."""
    memory = Memory(DAYS, 10**6)
    for key in (0, 1, -1, LEAST, MOST, *random_keys(1, 2000).tolist()):
        mark = mark_of(memory.state, key)
        assert -(2**26) <= mark < 2**26
        assert mark != 0


def test_a_memory_of_another_size_is_refused() -> None:
    """A state with another limit has other places for the same keys."""
    small, large = Memory(DAYS, 1000), Memory(DAYS, 100_000)
    small.make_room()
    with pytest.raises(ValueError, match="places at level"):
        large.restore(small.snapshot())
