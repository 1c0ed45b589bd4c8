"""A checkpoint is read back whole, or not at all."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from detectors.engines import state_topic
from detectors.engines.state_topic import (
    Checkpoint,
    Draft,
    Found,
    StateKey,
    StateRecord,
    checkpoint_records,
    claim_record,
    newest_checkpoint,
    tombstones,
)
from detectors.errors import OtherVersionError, StateError
from tests.states import joined


def newest(partition: int, records: Iterable[StateRecord], **options: Any) -> Found[bytes]:
    """The newest checkpoint, its contents as bytes."""
    return newest_checkpoint(partition, records, joined, **options)


FIRST = Checkpoint(100, "c1", b"first" * 1000)
SECOND = Checkpoint(200, "c1", b"second" * 1000)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_topic, "CHUNK_BYTES", 16)


def _written(fence: str, epoch: int, checkpoint: Checkpoint[bytes]) -> list[StateRecord]:
    """The records of a checkpoint, and before the first of an owner its claim."""
    claim = [claim_record(3, fence)] if epoch == 1 else []
    return claim + _records(fence, epoch, checkpoint)


def _records(
    fence: str, epoch: int, part: Checkpoint[bytes], base: int | None = None
) -> list[StateRecord]:
    pieces = [part.snapshot[:7], part.snapshot[7:]]
    draft = Draft(part.offset, part.config, epoch if base is None else base, pieces)
    return checkpoint_records(3, fence, epoch, draft)


def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096])
def test_checkpoint_comes_back(size: int) -> None:
    """Snapshots of any size come back byte for byte, with their offset and configuration."""
    written = Checkpoint(7, "abc", _noise(size))
    records = _written("f", 1, written)
    assert newest(3, records) == Found(written, tuple(r.key for r in records), (), "f")


def test_newest_whole_checkpoint_counts() -> None:
    """Of two whole checkpoints the one that stands later in the log is taken."""
    records = [*_written("f", 1, FIRST), *_written("f", 2, SECOND)]
    assert newest(3, records).checkpoint == SECOND


def test_half_written_checkpoint_does_not_hurt() -> None:
    """Wherever the writing of the second stopped, the first counts, and nothing is damaged."""
    second = _written("f", 2, SECOND)
    for written in range(len(second)):
        found = newest(3, [*_written("f", 1, FIRST), *second[:written]])
        assert (found.checkpoint, found.faults) == (FIRST, ())


def test_missing_chunk_is_named() -> None:
    """A checkpoint without one of its chunks is passed over for the one before, and named."""
    second = _written("f", 2, SECOND)
    found = newest(3, [*_written("f", 1, FIRST), *second[1:]])
    assert found.checkpoint == FIRST
    assert found.faults == (
        f"checkpoint f/2 of partition 3: chunk 0 of {len(second) - 1} is missing",
    )


@pytest.mark.parametrize("which", range(-1, 3))
def test_changed_byte_is_found(which: int) -> None:
    """One changed byte, in any chunk or in the manifest, makes the checkpoint damaged."""
    records = _written("f", 1, FIRST)
    which += which >= 0  # behind the claim
    key, value = records[which]
    assert value is not None
    for at in range(len(value)):
        broken = [*records]
        changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        broken[which] = StateRecord(key, changed)
        found = newest(3, broken)
        # A manifest with another offset or configuration is a different, but well-formed promise;
        # everything that the checksum covers must be found.
        if which == -1 and found.checkpoint is not None:
            assert found.checkpoint.snapshot == FIRST.snapshot
        else:
            assert (found.checkpoint, len(found.faults)) == (None, 1)


def test_fences_keep_workers_apart() -> None:
    """Chunks of a stalled worker, written in between, do not damage the new owner's checkpoint."""
    mine, stalled = _records("a", 1, FIRST), _records("b", 1, SECOND)
    mixed = [record for pair in zip(stalled, mine, strict=False) for record in pair]
    mixed += [*stalled[len(mine) :], *mine[len(stalled) :]]
    found = newest(3, [claim_record(3, "b"), claim_record(3, "a"), *mixed])
    assert (found.checkpoint, found.owner, found.faults) == (FIRST, "a", ())


def test_manifest_counts_under_its_own_claim_only() -> None:
    """What is written after another's claim never counts; what was before it counts for all."""
    late = _written("a", 2, SECOND)
    found = newest(3, [*_written("a", 1, FIRST), claim_record(3, "b"), *late])
    assert (found.checkpoint, found.owner, found.faults) == (FIRST, "b", ())
    assert newest(3, _records("a", 1, FIRST)).checkpoint is None


def _chain() -> list[list[StateRecord]]:
    """A snapshot and two checkpoints of what has changed since."""
    parts = [Checkpoint(offset, "c1", _noise(offset)) for offset in (100, 110, 120)]
    return [_written("f", epoch, part) if epoch == 1 else _records("f", epoch, part, base=1)
            for epoch, part in enumerate(parts, 1)]  # fmt: skip


def test_changes_come_back_in_their_order() -> None:
    """A checkpoint of changes is the snapshot on which it builds, and all changes since."""
    found = newest(3, [each for part in _chain() for each in part])
    assert found.checkpoint == Checkpoint(120, "c1", _noise(100), (_noise(110), _noise(120)))


def test_changes_without_one_between_do_not_count() -> None:
    """Where a part of the chain is lost, what stands before it counts, and the loss is named."""
    first, second, third = _chain()
    for lost in range(len(second)):
        broken = [*first, *second[:lost], *second[lost + 1 :], *third]
        found = newest(3, broken)
        assert found.checkpoint == Checkpoint(100, "c1", _noise(100))
        assert len(found.faults) == 1
    found = newest(3, [*first[:1], *first[2:], *second, *third])
    assert (found.checkpoint, len(found.faults)) == (None, 1)


def test_changes_build_on_their_own_base() -> None:
    """Changes of another base among them are a fault, not a mixture."""
    first, _, third = _chain()
    foreign = _records("f", 2, SECOND)
    found = newest(3, [*first, *foreign, *third])
    assert (found.checkpoint, len(found.faults)) == (SECOND, 1)
    upside_down = _records("f", 2, SECOND, base=3)
    assert newest(3, [*first, *upside_down]).checkpoint == Checkpoint(100, "c1", _noise(100))


@pytest.mark.parametrize("stored", [True, False])
def test_damage_early_in_a_chain_costs_no_part_a_second_look(*, stored: bool) -> None:
    """However many checkpoints share a damaged part, the parts before it are read at most twice.

    It is damaged where it is stored, or what it holds cannot be read.
    """
    size, bad = 12, 5
    first = _written("f", 1, Checkpoint(1, "c", _noise(1)))
    parts = [_records("f", n, Checkpoint(n, "c", _noise(n)), base=1) for n in range(2, size + 1)]
    if stored:
        key, value = parts[bad - 2][0]
        parts[bad - 2][0] = StateRecord(key, (value or b"") + b"x")
    looked: list[bytes] = []

    def reads(blocks: Iterable[memoryview], length: int) -> bytes:
        looked.append(content := joined(blocks, length))
        if content == _noise(bad) and not stored:
            msg = "no snapshot"
            raise StateError(msg)
        return content

    found = newest_checkpoint(3, [*first, *(one for part in parts for one in part)], reads)
    kept = [_noise(n) for n in range(1, bad)]
    assert found.checkpoint == Checkpoint(bad - 1, "c", kept[0], tuple(kept[1:]))
    assert len(found.faults) == 1
    assert looked == (kept if stored else [*kept, _noise(bad), *kept])


def test_tombstones_delete() -> None:
    """A deleted checkpoint is gone, and its keys are not listed for deletion again."""
    records = _written("f", 1, FIRST)
    deleted = [*records, *tombstones(r.key for r in records)]
    assert newest(3, deleted) == Found(None, (), ())


def test_foreign_records_are_left_alone() -> None:
    """Garbage, other partitions and tables of later versions are neither read nor deleted."""
    foreign = [
        (None, b"x"),
        (b"\xff\xfe", b"x"),
        (b"[3,", b"x"),
        (b'{"partition":3}', b"x"),
        (b'[3,"f",1]', b"x"),
        (StateKey(4, "f", 9, "manifest", 0).encode(), b"{}"),
        (StateKey(3, "f", 9, "later", 0).encode(), b"{}"),
    ]
    records = _written("f", 1, FIRST)
    found = newest(3, [*foreign, *records, *foreign])
    assert found == Found(FIRST, tuple(r.key for r in records), (), "f")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"null", b"[]", b"\xff", b'{"format":1}', b'{"format":4,"offset":1}', b'{"offset":-1}'],
)
def test_unreadable_manifest_is_damage(manifest: bytes) -> None:
    """A manifest that cannot be read is named in one line, and the checkpoint before it counts."""
    key = StateKey(3, "f", 2, "manifest", 0).encode()
    found = newest(3, [*_written("f", 1, FIRST), (key, manifest)])
    assert (found.checkpoint, len(found.faults)) == (FIRST, 1)
    assert "\n" not in found.faults[0]


def test_later_format_is_not_misread() -> None:
    """A manifest of another format is passed over, even when all else fits."""
    *chunks, (key, value) = _written("f", 1, FIRST)
    assert value is not None
    later = value.replace(b'"format":4', b'"format":5')
    found = newest(3, [*chunks, (key, later)])
    assert found.faults == ("checkpoint f/1 of partition 3: format must be 4 (got 5)",)
    assert found.other_version


def test_state_of_another_version_is_told_from_damage() -> None:
    """What is whole and was written otherwise is no damage; what came before it still counts."""

    def reads(blocks: Iterable[memoryview], length: int) -> bytes:
        if (content := joined(blocks, length)) == SECOND.snapshot:
            msg = "snapshot: these bytes are no snapshot of this version"
            raise OtherVersionError(msg)
        return content

    records = [*_written("f", 1, FIRST), *_written("f", 2, SECOND)]
    found = newest_checkpoint(3, records, reads)
    assert (found.checkpoint, found.other_version) == (FIRST, True)
    assert found.faults[0].startswith("checkpoint f/2 of partition 3: snapshot: these bytes")
    assert not newest(3, [*_written("f", 1, FIRST), *_written("f", 2, SECOND)[1:]]).other_version


def test_chunks_stay_below_the_topic_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real chunk size, no record of an incompressible state reaches half a megabyte."""
    monkeypatch.undo()
    records = _records("f", 1, Checkpoint(1, "c", _noise(3_000_000)))
    assert len(records) == 7
    assert max(len(r.key) + len(r.value or b"") for r in records) < 600_000
