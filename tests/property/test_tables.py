"""A keyed table does what a dictionary would, in bounded memory and for every cut."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from detectors import buckets, tables
from detectors.buckets import ALL_HERE, WIDTH, empty_index
from detectors.event import EVENT
from detectors.keys import KeyColumns, combine, hex_key, name_key, place_of
from detectors.snapshot import pack
from detectors.tables import (
    ESTABLISHED_BONUS,
    ESTABLISHED_HITS,
    SAMPLE,
    KeyedTable,
    TableSpec,
)
from tests.states import packed_again


@dataclass
class Plain:
    """A table whose rows are renewed by use, with a dictionary and lists, one look-up at a time."""

    spec: TableSpec
    of: dict[int, int] = field(default_factory=dict)
    keys: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    hits: list[int] = field(default_factory=list)
    hand: int = 0
    evicted: int = 0
    took_live: bool = False

    def find(self, key: int, now: int) -> tuple[int, int, int]:
        """Return position, fresh (2 where a live row had to go) and uses before."""
        if key == 0:
            return -1, 0, 0
        p = self.of.get(key, -1)
        fresh, self.took_live = p < 0, False
        if fresh:
            p = self.place(now)
            if p < len(self.keys):
                del self.of[self.keys[p]]
                self.keys[p] = key
            else:
                self.keys.append(key)
                self.seen.append(0)
                self.hits.append(0)
            self.of[key] = p
        elif now - self.seen[p] > self.spec.ttl:
            fresh = True
        if fresh:
            self.hits[p] = 0
            self.seen[p] = now
        else:
            self.seen[p] = max(self.seen[p], now)
        before = self.hits[p]
        self.hits[p] = before + 1 if self.spec.counted else min(before + 1, 127)
        return p, int(fresh) + self.took_live, before

    def place(self, now: int) -> int:
        """Return where a new key goes."""
        used = len(self.keys)
        if used:
            hand = self.hand % used
            if now - self.seen[hand] > self.spec.ttl:
                self.hand = hand + 1
                return hand
            self.hand = hand + 1
        if used < self.spec.limit:
            return used
        start = self.hand % used
        stride = max(used // SAMPLE, 1)
        ring = [(start + i * stride) % used for i in range(min(SAMPLE, used))]
        bonus = [ESTABLISHED_BONUS * (self.hits[p] >= ESTABLISHED_HITS) for p in ring]
        best = min(range(len(ring)), key=lambda i: (self.seen[ring[i]] + bonus[i], i))
        self.evicted += 1
        self.took_live = now - self.seen[ring[best]] <= self.spec.ttl
        return ring[best]


@dataclass
class Row:
    """A row of a queue."""

    key: int
    seen: int
    hits: int = 0


@dataclass
class Queue:
    """A table whose rows pass, with a dictionary and a queue."""

    spec: TableSpec
    of: dict[int, Row] = field(default_factory=dict)
    rows: deque[Row] = field(default_factory=deque)
    size: int = 0
    evicted: int = 0

    def find(self, key: int, now: int) -> tuple[int, int]:
        """Return fresh (2 where a live row had to go) and uses before."""
        if key == 0:
            return 0, 0
        row = self.of.get(key)
        fresh = 0
        if row is None or now - row.seen > self.spec.ttl:
            fresh = 1 + self.leave(now)
            self.of[key] = row = Row(key, now)
            self.rows.append(row)
        before = row.hits
        row.hits = before + 1 if self.spec.counted else min(before + 1, 127)
        return fresh, before

    def leave(self, now: int) -> bool:
        """Make room for a new row; tell whether a live one had to go."""
        for _ in range(2):
            if self.rows and now - self.rows[0].seen > self.spec.ttl:
                self.drop()
        if len(self.rows) == self.size < self.spec.limit:
            self.size = min(max(int(self.size * self.spec.growth), 64), self.spec.limit)
        if len(self.rows) < self.size:
            return False
        self.drop()
        self.evicted += 1
        return True

    def drop(self) -> None:
        """Let the oldest row go; its key may have a newer one."""
        row = self.rows.popleft()
        if self.of[row.key] is row:
            del self.of[row.key]


ROW = np.dtype([("mark", "i8"), ("pair", "i4", 2)])


def table_of(spec: TableSpec) -> KeyedTable:
    """Return a table whose rows belong to one user."""
    table = KeyedTable(spec)
    table.add_rows("user", ROW)
    return table


def reopened(table: KeyedTable) -> KeyedTable:
    """Return the table that a snapshot of this one gives."""
    parts = {name: np.frombuffer(a.tobytes(), a.dtype) for name, a in table.snapshot().items()}
    again = table_of(table.spec)
    again.restore(parts)
    return again


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([1, 2, 5, 16, 17, 70, 1000]),
    ttl=st.sampled_from([0, 3, 50, 10_000]),
    counted=st.booleans(),
    names=st.sampled_from([2, 10, 40, 400]),
)
def test_a_table_does_what_a_dictionary_would(
    seed: int, limit: int, ttl: int, counted: bool, names: int
) -> None:
    """Positions, fresh starts, uses and evictions agree; cuts and snapshots change nothing."""
    chance = random.Random(seed)
    spec = TableSpec(("sender",), ttl=ttl, limit=limit, counted=counted)
    plain, table = Plain(spec), table_of(spec)
    whole = table_of(spec)
    keys, nows = drawn(chance, names)
    expected = [plain.find(key, t) for key, t in zip(keys, nows, strict=True)]
    found: list[tuple[int, int, int]] = []
    start = 0
    while start < len(keys):
        end = min(len(keys), start + chance.choice((1, 3, 50)))
        at = table.locate(np.array(keys[start:end]), np.array(nows[start:end]))
        found += zip(at.position.tolist(), at.fresh.tolist(), at.before.tolist(), strict=True)
        start = end
        if chance.random() < 0.1:
            table = reopened(table)
    at = whole.locate(np.array(keys), np.array(nows))
    assert found == expected
    assert found == list(
        zip(at.position.tolist(), at.fresh.tolist(), at.before.tolist(), strict=True)
    )
    assert (table.used, table.evicted) == (len(plain.keys), plain.evicted)
    assert table.used <= limit
    parts, others = table.snapshot(), whole.snapshot()
    assert {n: a.tobytes() for n, a in parts.items()} == {n: a.tobytes() for n, a in others.items()}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    limit=st.sampled_from([1, 2, 5, 16, 70, 300, 1000]),
    ttl=st.sampled_from([0, 3, 50, 10_000]),
    growth=st.sampled_from([1.125, 2.0]),
    counted=st.booleans(),
    names=st.sampled_from([2, 10, 40, 400, 10_000]),
)
def test_rows_that_pass_do_what_a_queue_would(
    seed: int, limit: int, ttl: int, growth: float, counted: bool, names: int
) -> None:
    """Fresh starts, uses and evictions agree, rows stay with their keys, for every cut."""
    chance = random.Random(seed)
    spec = TableSpec(("id",), ttl, limit, refresh=False, counted=counted, growth=growth)
    queue, table, whole = Queue(spec), table_of(spec), table_of(spec)
    keys, nows = drawn(chance, names)
    expected = [queue.find(key, t) for key, t in zip(keys, nows, strict=True)]
    found: list[tuple[int, int]] = []
    start = 0
    while start < len(keys):
        end = min(len(keys), start + chance.choice((1, 3, 50)))
        found += marked(table, keys[start:end], nows[start:end])
        start = end
        if chance.random() < 0.1:
            table = reopened(table)
    assert found == expected
    assert marked(whole, keys, nows) == expected
    assert (table.used, table.evicted) == (queue.size, queue.evicted)
    parts, others = table.snapshot(), whole.snapshot()
    assert {n: a.tobytes() for n, a in parts.items()} == {n: a.tobytes() for n, a in others.items()}


def marked(table: KeyedTable, keys: list[int], nows: list[int]) -> list[tuple[int, int]]:
    """Locate keys, as a walk does: a fresh row is marked, and any other bears its key's mark."""
    at = table.locate(np.array(keys), np.array(nows))
    rows = table.rows["user"]
    for key, p, fresh in zip(keys, at.position.tolist(), at.fresh.tolist(), strict=True):
        if fresh:
            rows[p] = (key, (0, 0))
        assert p < 0 or rows[p]["mark"] == key
    return list(zip(at.fresh.tolist(), at.before.tolist(), strict=True))


def drawn(chance: random.Random, names: int) -> tuple[list[int], list[int]]:
    """Return keys of so many names, and times that rise by fits and starts."""
    pool = [0, *(chance.getrandbits(63) - 2**62 or 1 for _ in range(names))]
    now, keys, nows = 0, [], []
    for _ in range(900):
        now += chance.choice((0, 0, 0, 1, 2, 60))
        keys.append(chance.choice(pool))
        nows.append(now)
    return keys, nows


@pytest.mark.parametrize("remembered", [0, 4000])
def test_changes_of_a_ring_that_is_widened_make_its_snapshot(remembered: int) -> None:
    """Where rows have moved, and where a memory begins, changes make the same bytes."""
    spec = TableSpec(("unit",), 90, 700, refresh=False, growth=2.0, remembered=remembered)
    table, chance = table_of(spec), np.random.default_rng(7)
    base, changes, widened = packed(table.snapshot()), [], set()
    table.clean()
    for minute in range(60):
        keys = chance.integers(-(2**63), 2**63 - 1, 5 * minute)
        marked(table, keys.tolist(), [minute] * len(keys))
        changes.append(packed(table.changes()))
        table.clean()
        widened.add(table.used)
        assert packed_again(base, changes) == packed(table.snapshot())
    assert widened == {0, 64, 128, 256, 512, 700}


def packed(parts: dict[str, NDArray[Any]]) -> bytes:
    """Return a table's arrays as a snapshot has them."""
    return pack({}, {f"unit/{name}": array for name, array in parts.items()})


@pytest.mark.parametrize("growth", [1.125, 2.0])
def test_a_ring_is_as_long_as_what_comes_within_its_time(growth: float) -> None:
    """Over 400 times the time of a row no more than one widening is held beyond the busiest."""
    spec = TableSpec(("id",), ttl=60, limit=1 << 20, refresh=False, growth=growth)
    table, chance, recent, most = table_of(spec), np.random.default_rng(5), [0] * 61, 0
    for minute in range(400 * 60):
        count = int(chance.poisson(5))
        recent = [*recent[1:], count]
        most = max(most, sum(recent))
        table.locate(chance.integers(1, 2**62, count), np.full(count, minute))
    assert table.used <= growth * most
    assert table.evicted == 0


def test_rows_stay_with_their_keys_through_growth_and_restarts() -> None:
    """What was written for a key is found under it after 5,000 more keys and a snapshot."""
    table = table_of(TableSpec(("sender",), ttl=1000, limit=10_000))
    keys = np.arange(1, 5001)
    for start in range(0, 5000, 617):
        part = keys[start : start + 617]
        at = table.locate(part, np.zeros(len(part), np.int64))
        table.rows["user"]["mark"][at.position] = part * 7
    table = reopened(table)
    order = np.random.default_rng(1).permutation(keys)
    at = table.locate(order, np.zeros(5000, np.int64))
    assert not at.fresh.any()
    assert (table.rows["user"]["mark"][at.position] == order * 7).all()


def test_a_flood_of_random_names_leaves_established_senders_alone() -> None:
    """100,000 names seen once pass through a table of 1,000 without taking one of 200 senders."""
    table = table_of(TableSpec(("sender",), ttl=45 * 1440, limit=1000))
    mine = np.arange(1, 201)
    for minute in range(40):
        table.locate(mine, np.full(200, minute))
    chance = np.random.default_rng(3)
    for minute in range(40, 140):
        flood = chance.integers(10**6, 2**62, 1000)
        table.locate(flood, np.full(1000, minute))
        if minute % 20 == 0:
            table.locate(mine, np.full(200, minute))
    assert not table.locate(mine, np.full(200, 140)).fresh.any()
    assert table.used == 1000
    assert table.allocated < 1000 * (ROW.itemsize + 64) + 64 * 1024
    assert table.evicted > 90_000


def test_a_flood_through_a_table_without_room_is_quick() -> None:
    """A full table does not search: its memory stays as it is, and its index has room."""
    table = table_of(TableSpec(("sender",), ttl=10**6, limit=64))
    before = None
    for n in range(50):
        table.locate(np.arange(n * 1000 + 1, n * 1000 + 1001), np.full(1000, n))
        before = before or table.allocated
        assert table.allocated == before
        assert int(np.count_nonzero(table.index >= 0)) <= len(table.index) * 7 // 8


def test_keys_of_names_are_the_same_everywhere() -> None:
    """A name's key is fixed for ever; it is part of every stored state."""
    assert name_key("acme-stripe") == name_key("acme-stripe") != name_key("acme-stripf")
    assert hex_key("0" * 32) == 1
    assert -(2**63) <= name_key("é") < 2**63


def test_combinations_depend_on_order_and_are_null_with_any_part() -> None:
    """(a, b) is not (b, a); a null part makes a null key."""
    a, b = np.array([5, 5, 0, 7]), np.array([9, 0, 9, 7])
    ab, ba = combine([a, b]), combine([b, a])
    assert (ab == 0).tolist() == [False, True, True, False]
    assert ab[0] != ba[0]
    assert len({*combine([np.arange(1, 10_001), np.arange(2, 10_002)]).tolist()}) == 10_000


def test_keys_of_pairs_are_the_same_compiled_and_plain() -> None:
    """What is gathered in one pass is what whole columns give, nulls and short ones included."""
    chance = np.random.default_rng(7)
    for null in (0.0, 0.3):
        a, b = (
            chance.integers(-(2**63), 2**63 - 1, 5000) * (chance.random(5000) >= null)
            for _ in range(2)
        )
        events = np.zeros(5000, EVENT)
        events["sender"], events["source"] = a, b
        events["kind"], events["who"] = chance.integers(0, 2, 5000), chance.integers(-9, 9, 5000)
        keys = [("sender", "source"), ("sender",), ("sender", "kind", "source")]
        found = KeyColumns(keys, ["who", "t"]).of(events)
        for key in keys:
            whole = combine([events[name] for name in key])
            assert found.keys[key] is not None, key
            assert (found.keys[key] == whole).all(), key
        assert (found.columns["who"] == events["who"]).all()
        assert KeyColumns(keys).of(np.zeros(3, EVENT)).keys == dict.fromkeys(keys)


def test_places_fit_their_field() -> None:
    """Places are non-negative and have 31 bits at most; compiled and plain they are the same."""
    compiled = njit(place_of)
    for secret in (1, -1, 2**63 - 1, 1 - 2**63, 0x1234567 * 2**32 + 1):
        for key in (1, -1, 2**63 - 1, -(2**63), 77 * 2**40 - 3):
            assert 0 <= place_of(key, secret) < 2**31
            assert place_of(key, secret) == compiled(key, secret)


def test_rows_of_another_layout_are_refused() -> None:
    """A snapshot whose rows are made otherwise does not fit, though its fields are as many."""
    table = table_of(TableSpec(("sender",), ttl=10, limit=10))
    table.locate(np.array([5]), np.array([0]))
    parts: dict[str, Any] = table.snapshot()
    other = KeyedTable(table.spec)
    other.add_rows("user", np.dtype([("mark", "f4"), ("pair", "i2", 2)]))
    with pytest.raises(ValueError, match="layout"):
        other.restore(parts)


@pytest.mark.parametrize("words", [128, 1024])
def test_full_buckets_let_look_ups_go_on(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are found in an index with hardly more room than rows, and so are those that follow."""
    monkeypatch.setattr(tables, "SECRET", 2**62 + 12345)
    spec = TableSpec(("id",), 10**6, limit=110, refresh=False)
    table, usual = table_of(spec), table_of(spec)
    keys = np.random.default_rng(5).integers(1, 2**62, 2_000)
    for start in range(0, len(keys), 50):
        table.index = empty_index(words)
        table.reindex()
        part = np.concatenate([keys[max(start - 60, 0) : start], keys[start : start + 50]])
        found, expected = (one.locate(part, np.full(len(part), start)) for one in (table, usual))
        assert found.fresh.tolist() == expected.fresh.tolist()
        assert found.position.tolist() == expected.position.tolist()
        assert not found.fresh[:-50].any()
        assert found.fresh[-50:].all()
    assert (table.index[::WIDTH] != ALL_HERE).any() == (words == 128)


@pytest.mark.parametrize(
    "keys",
    [np.arange(1, 12_001), 7 + (np.arange(12_000) << 47), np.arange(1, 12_001) << 20],
    ids=["in a row", "equal in their lower bits", "in steps"],
)
def test_no_keys_let_the_index_be_built_again_and_again(
    keys: NDArray[np.int64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen keys are spread as others are, whatever the secret: no look-up takes longer."""
    chance = random.Random(2)
    for _ in range(20):
        monkeypatch.setattr(tables, "SECRET", 2 * chance.getrandbits(62) + 1)
        table = table_of(TableSpec(("id",), 60, limit=4096, refresh=False, growth=2.0))
        built = 0

        def reindex(of: KeyedTable = table) -> None:
            nonlocal built
            built += 1
            KeyedTable.reindex(of)

        monkeypatch.setattr(table, "reindex", reindex)
        assert table.locate(keys, np.zeros(len(keys), np.int64)).fresh.all()
        assert built <= 7  # as often as the ring was made longer
        full = np.count_nonzero(table.index[::WIDTH] != ALL_HERE)
        assert full * 50 < len(table.index) // WIDTH


def test_a_ring_that_numbers_cannot_tell_apart_is_refused() -> None:
    """No row of it would ever seem to have left."""
    KeyedTable(TableSpec(("id",), 60, limit=1 << 24, refresh=False))
    with pytest.raises(ValueError, match="at most 16,777,216 rows"):
        KeyedTable(TableSpec(("id",), 60, limit=(1 << 24) + 1, refresh=False))


def test_a_bucket_says_the_same_compiled_and_plainly() -> None:
    """Any words in it, any number of rows, numbers that have come round."""
    chance = np.random.default_rng(4)
    compiled = njit(buckets.look_in)
    for bits in (2, 5, 17, 26):
        index = empty_index(64)
        for _ in range(300):
            index[16:32] = chance.integers(-2, 1 << 31, 16)
            place = int(index[20]) if chance.random() < 0.5 else int(chance.integers(0, 1 << 31))
            count = int(chance.integers(0, (1 << bits) // 4 + 1))
            asked = (index, 16, max(place, 0), bits, count, count + int(chance.integers(0, 2**40)))
            assert compiled(*asked) == buckets._look_in_plainly(*asked)
