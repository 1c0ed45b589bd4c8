"""Checkpoints on the local disk: believed as far as the topic confirms them, and no further."""

import logging
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from detectors.engines import state_cache
from detectors.engines.assigned import Assigned
from detectors.engines.errors import EngineError
from detectors.engines.ports import TopicPartition
from detectors.engines.state_cache import CacheError, Kept, Part, StateCache
from detectors.engines.state_topic import StateRecord
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, one_fetch, run

WHERE = TopicPartition(TOPICS.events, 0)
STATE = (TOPICS.state, 0)
NAME = "core-0"
MANY = [random.Random(number).randbytes(8).hex() for number in range(100)]
"""So much that the checkpoints behind it are changes."""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[StateCache]:
    """A folder of one worker."""
    found = StateCache(tmp_path / "cache")
    yield found
    found.close()


def _part(epoch: int, base: int = 1, fence: str = "f", size: int = 100) -> Part:
    records = [StateRecord(b"k%d" % epoch, bytes([epoch]) * size), StateRecord(b"m", b"%d" % epoch)]
    return Part(fence, epoch, base, 10 * epoch, records, [b"o%d" % epoch])


async def _owner(kafka: FakeKafka, cores: FakeCores, cache: StateCache | None) -> Assigned:
    assigned = Assigned(WHERE, kafka.outside(cores, cache=cache))
    await assigned.restore()
    return assigned


async def _save(kafka: FakeKafka, assigned: Assigned) -> None:
    offset = await assigned.save()
    if offset is not None:
        await kafka.commit({WHERE: offset})
    if (keeping := assigned._state._keeping) is not None:
        await keeping


async def _three(kafka: FakeKafka, cache: StateCache | None) -> None:
    """An owner that writes a snapshot and changes, twice."""
    owner = await _owner(kafka, FakeCores(), cache)
    for values in (MANY, ["c"], ["!d"]):
        await owner.feed(one_fetch(kafka.events(0, *values)))
        await _save(kafka, owner)
    owner.close()


def test_a_chain_comes_back(cache: StateCache) -> None:
    """A snapshot and the changes behind it are read as they were kept."""
    file = cache.file("core", 0)
    assert file.read() is None
    for part in (_part(1), _part(2), _part(3)):
        file.keep(part)
    records = [record for n in (1, 2, 3) for record in _part(n).records]
    assert cache.file("core", 0).read() == Kept("f", 30, records, [b"o1", b"o2", b"o3"])
    file.keep(_part(4, base=4))
    assert cache.file("core", 0).read() == Kept("f", 40, list(_part(4).records), [b"o4"])


def test_changes_need_what_they_build_on(cache: StateCache, tmp_path: Path) -> None:
    """Where one was not kept, none of the later ones is; the next snapshot begins anew."""
    file = cache.file("core", 0)
    file.keep(_part(2))
    assert file.read() is None
    file.keep(_part(1))
    file.keep(_part(3))
    file.keep(_part(4))
    found = file.read()
    assert found is not None
    assert found.at == 10
    file.keep(_part(5, base=5))
    assert sorted(each.name for each in (tmp_path / "cache").iterdir()) == [NAME, "lock"]


def test_files_are_this_users_alone(cache: StateCache, tmp_path: Path) -> None:
    """Mode 600 in a folder of mode 700, whatever the umask is."""
    cache.file("core", 0).keep(_part(1))
    folder = tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """Others' folders, files and links in the folder's place end the start with one line."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "open")
    for name, why in (
        ("open", "must be this user's alone, mode 700 (got 755)"),
        ("file", "cannot be used"),
        ("link", "cannot be used"),
        ("file/below", "cannot be used"),
    ):
        with pytest.raises(EngineError, match="--cache-dir: ") as caught:
            StateCache(tmp_path / name)
        assert why in str(caught.value)


def test_a_folder_has_one_worker(cache: StateCache, tmp_path: Path) -> None:
    """A second worker in the same folder is refused; after the first, it may have it."""
    with pytest.raises(EngineError, match="is another worker's"):
        StateCache(tmp_path / "cache")
    cache.close()
    again = StateCache(tmp_path / "cache")
    again.close()
    cache._lock = os.open(tmp_path, os.O_RDONLY)  # for the fixture to close


def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    """Drafts go at the next start; what is not the cache's stays."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    for name in (f"{NAME}.0123456789abcdef.new", "notes.new", NAME):
        (folder / name).touch()
    StateCache(folder).close()
    assert sorted(each.name for each in folder.iterdir()) == [NAME, "lock", "notes.new"]


def test_links_and_pipes_are_not_followed(cache: StateCache, tmp_path: Path) -> None:
    """A link, a pipe, a folder or a file that others may read is no cache, and nothing hangs."""
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    path = tmp_path / "cache" / NAME
    file = cache.file("core", 0)
    path.symlink_to(other)
    with pytest.raises(CacheError, match="cannot be opened"):
        file.read()
    file.keep(_part(1))
    assert (other.read_bytes(), path.is_symlink()) == (b"precious", False)
    path.chmod(0o640)
    with pytest.raises(CacheError, match="must be this user's alone"):
        file.read()
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(CacheError, match="it is no file"):
        file.read()
    path.unlink()
    path.mkdir()
    with pytest.raises(CacheError, match="it is no file"):
        file.read()
    file.forget()


def test_a_stalled_writer_spoils_no_file(cache: StateCache) -> None:
    """Changes go into the file that this owner made, and into no other of the same name."""
    old, new = cache.file("core", 0), cache.file("core", 0)
    old.keep(_part(1, fence="old"))
    new.keep(_part(1, fence="new"))
    with pytest.raises(OSError, match="has been replaced"):
        old.keep(_part(2, fence="old"))
    new.keep(_part(2, fence="new"))
    found = new.read()
    assert found is not None
    assert (found.fence, found.at) == ("new", 20)


def test_a_restart_reads_the_end_of_the_topic_alone(cache: StateCache) -> None:
    """With the cache only the newest manifest and what is behind it is read; the state is same."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _three(kafka, cache)
        held = len(kafka.logs[STATE])
        kafka.read.clear()
        await _owner(kafka, cores, cache)
        assert [at for topic, at in kafka.read if topic == TOPICS.state] == [held - 1, held]
        assert cores.made[-1].fed == [*MANY, "c", "!d"]
        assert cores.made[-1].told_of == []

    run(work)


def test_what_others_wrote_since_is_read(cache: StateCache) -> None:
    """Another owner without the cache went on: its checkpoints count, whether they build or not."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _three(kafka, cache)
        other = await _owner(kafka, FakeCores(), None)
        await other.feed(one_fetch(kafka.events(0, "e")))
        await other.save()
        other.close()
        await _owner(kafka, cores, cache)
        assert cores.made[-1].fed == [*MANY, "c", "!d", "e"]

    run(work)


def test_an_older_file_is_a_start(cache: StateCache, tmp_path: Path) -> None:
    """A file from before the last changes (a backup, a torn end) is confirmed and completed."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        owner = await _owner(kafka, FakeCores(), cache)
        path = tmp_path / "cache" / NAME
        for number, values in enumerate((MANY, ["!b"], ["c"])):
            await owner.feed(one_fetch(kafka.events(0, *values)))
            await _save(kafka, owner)
            if number == 1:
                older = path.read_bytes()
        path.write_bytes(older)
        await _owner(kafka, cores, cache)
        assert cores.made[-1].fed == [*MANY, "!b", "c"]

    run(work)


def test_a_file_that_the_topic_does_not_confirm_is_passed_over(
    cache: StateCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another cluster, of a topic made anew, or replaced: one line, and the topic is read."""
    caplog.set_level(logging.INFO)

    async def work() -> None:
        kafka, other = FakeKafka(), FakeKafka()
        await _three(other, cache)
        foreign = (tmp_path / "cache" / NAME).read_bytes()
        await _three(kafka, None)
        for log in (kafka, FakeKafka()):  # longer than it, and shorter
            (tmp_path / "cache" / NAME).write_bytes(foreign)
            (tmp_path / "cache" / NAME).chmod(0o600)
            caplog.clear()
            cores = FakeCores()
            await _owner(log, cores, cache)
            lines = [text for text in caplog.messages if text.startswith("cache.")]
            assert len(lines) == 1
            assert "cache.passed_over partition=callwatch.state/0 table=core why=" in lines[0]
            assert "does not stand in the topic" in lines[0]
            wanted = [*MANY, "c", "!d"] if log is kafka else []
            assert cores.made[-1].fed == wanted
            assert not (tmp_path / "cache" / NAME).exists()

    run(work)


def test_damage_in_the_topic_behind_the_file_is_not_hidden(
    cache: StateCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Where what is read behind the cache is damaged, all of the topic decides, as without it."""
    caplog.set_level(logging.INFO)

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _three(kafka, cache)
        at = next(record for record in kafka.logs[STATE] if b'"core"' in (record.key or b""))
        kafka.append(*STATE, b"spoiled", at.key)
        await _owner(kafka, cores, cache)
        assert cores.made[-1].told_of == ["damaged"]

    run(work)
    assert "cache.passed_over" in caplog.text
    assert "state.damaged" in caplog.text


def test_what_was_to_be_deleted_is_deleted_by_the_next(cache: StateCache) -> None:
    """An owner dies before its deletions: whoever goes on from its file makes them again."""

    async def work() -> None:
        kafka = FakeKafka()
        await _three(kafka, None)
        before = {record.key for record in kafka.logs[STATE]}
        owner = await _owner(kafka, FakeCores(), cache)
        await owner.feed(one_fetch(kafka.events(0, "x")))
        await _save(kafka, owner)
        deleted = [record for record in kafka.logs[STATE] if record.value is None]
        assert deleted
        kafka.logs[STATE] = kafka.logs[STATE][: deleted[0].offset]  # none of them arrived
        again = await _owner(kafka, FakeCores(), cache)
        await again.feed(one_fetch(kafka.events(0, "y")))
        await _save(kafka, again)
        gone = {record.key for record in kafka.logs[STATE] if record.value is None}
        assert before <= gone

    run(work)


def test_a_full_disk_stops_nothing(
    cache: StateCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What cannot be kept is told in one line; checkpoints go on, and so does the cache later."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async def work() -> None:
        kafka = FakeKafka()
        with monkeypatch.context() as patched:
            patched.setattr(state_cache.os, "fsync", full)
            await _three(kafka, cache)
        assert [each.name for each in (tmp_path / "cache").iterdir()] == ["lock"]
        cores = FakeCores()
        owner = await _owner(kafka, cores, cache)
        assert cores.made[-1].fed == [*MANY, "c", "!d"]
        await owner.feed(one_fetch(kafka.events(0, "e")))
        await _save(kafka, owner)

    run(work)
    assert caplog.text.count("cache.failed") == 1
    assert "No space left on device" in caplog.text
    assert (tmp_path / "cache" / NAME).exists()


def test_a_file_holds_two_snapshots_at_most(cache: StateCache, tmp_path: Path) -> None:
    """However long an owner works, the file is as long as a snapshot and its changes may be."""

    async def work() -> None:
        kafka = FakeKafka()
        owner = await _owner(kafka, FakeCores(), cache)
        path, most, snapshots = tmp_path / "cache" / NAME, 0.0, 0
        for number in range(120):
            await owner.feed(one_fetch(kafka.events(0, f"{number:050}")))
            snapshots += owner._state.wants_whole
            await _save(kafka, owner)
            state = owner._state
            largest = state._snapshot_bytes + state._changes_bytes
            most = max(most, path.stat().st_size / (largest + 600 * (1 + state._epoch)))
        assert snapshots > 2
        assert most < 1

    run(work)


def test_waiting_for_the_disk_is_in_turn(cache: StateCache) -> None:
    """A checkpoint waits until the one before is kept: the file never misses one between."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        owner = await _owner(kafka, FakeCores(), cache)
        for value in "abcdef":
            await owner.feed(one_fetch(kafka.events(0, value)))
            await owner.save()
        assert owner._state._keeping is not None
        await owner._state._keeping
        kafka.read.clear()
        await _owner(kafka, cores, cache)
        assert len([1 for topic, _ in kafka.read if topic == TOPICS.state]) < 6
        assert cores.made[-1].fed == list("abcdef")

    run(work)
