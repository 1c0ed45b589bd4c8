"""One partition in the hands of one worker: exact, in order, and restored by the next."""

import asyncio
import json
import logging
from itertools import pairwise
from typing import Any

import pytest

from detectors import snapshot
from detectors.engines import assigned
from detectors.engines.assigned import Assigned
from detectors.engines.errors import EngineError, FencedError
from detectors.engines.log_reader import Damage, LogRecord
from detectors.engines.ports import TopicPartition
from detectors.engines.stretch import Stretch
from detectors.snapshot import merge
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, one_fetch, run

EVENTS = TopicPartition(TOPICS.events, 0)
BEFORE = "callwatch.events.before.2"


async def _owner(kafka: FakeKafka, cores: FakeCores) -> Assigned:
    assigned = Assigned(EVENTS, kafka.outside(cores))
    await assigned.restore()
    return assigned


async def _save(kafka: FakeKafka, assigned: Assigned) -> None:
    offset = await assigned.save()
    if offset is not None:
        await kafka.commit({EVENTS: offset})


async def _left_behind(kafka: FakeKafka, cores: FakeCores) -> None:
    """Two events, and the checkpoint of an owner that walked them."""
    first = await _owner(kafka, cores)
    await first.feed(one_fetch(kafka.events(0, "a", "b")))
    await _save(kafka, first)


def test_next_owner_continues_from_the_checkpoint() -> None:
    """The next owner has the same state, walks only what is new, and alerts as one owner would."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        await first.feed(one_fetch(kafka.events(0, "a", "!b", "c")))
        await _save(kafka, first)
        first.close()
        second = await _owner(kafka, cores)
        again = kafka.logs[TOPICS.events, 0][1:]  # Kafka hands some over again
        await second.feed(one_fetch([*again, *kafka.events(0, "d", "!e")]))
        assert cores.made[-1].fed == ["a", "!b", "c", "d", "!e"]
        assert kafka.alerts() == [("!b", 2), ("!e", 5)]

    run(work)


def test_crash_repeats_alerts_and_loses_none() -> None:
    """What was walked after the checkpoint is walked again: the same alerts, at least once."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        await first.feed(one_fetch(kafka.events(0, "a", "!b")))
        await _save(kafka, first)
        await first.feed(one_fetch(kafka.events(0, "!c")))  # and dies here
        second = await _owner(kafka, cores)
        await second.feed(one_fetch(kafka.logs[TOPICS.events, 0][2:]))
        assert kafka.alerts() == [("!b", 2), ("!c", 3), ("!c", 3)]

    run(work)


def test_checkpoint_waits_for_alerts_and_commit_for_the_checkpoint() -> None:
    """State waits for the alerts' acknowledgements, the offset for that of the manifest."""

    async def work() -> None:
        kafka = FakeKafka()
        assigned = await _owner(kafka, FakeCores())
        kafka.journal.clear()  # the claim
        kafka.held = []
        await assigned.feed(one_fetch(kafka.events(0, "!a", "?b")))
        saving = asyncio.ensure_future(assigned.save())
        for expected in (
            [TOPICS.alerts, TOPICS.rejected],
            [TOPICS.alerts, TOPICS.rejected, TOPICS.state],
            [TOPICS.alerts, TOPICS.rejected, TOPICS.state, TOPICS.state],
        ):
            while kafka.journal != expected:
                await asyncio.sleep(0)
            for _ in range(20):  # it would go on by now, if it did not wait
                await asyncio.sleep(0.001)
            assert (kafka.journal, saving.done()) == (expected, False)
            for each in kafka.held:
                each()
            kafka.held.clear()
        assert await saving == 2

    run(work)


@pytest.mark.parametrize("topic", [TOPICS.alerts, TOPICS.rejected, TOPICS.state])
def test_refused_record_is_never_committed_over(topic: str) -> None:
    """When the broker refuses an alert, a reject or a chunk, the checkpoint fails loudly."""

    async def work() -> None:
        kafka = FakeKafka()
        assigned = await _owner(kafka, FakeCores())
        kafka.broken = topic
        await assigned.feed(one_fetch(kafka.events(0, "!a", "?b")))
        with pytest.raises(EngineError, match=r"not taken by a broker: .*refuses"):
            await assigned.save()

    run(work)


def test_gap_in_the_stream_is_read_from_the_log() -> None:
    """Records that the stream leaps over are fetched from the log, in order, and alert."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        assigned = await _owner(kafka, cores)
        records = kafka.events(0, "a", "!b", "c", "!d", "e")
        await assigned.feed(one_fetch(records[:1]))
        await assigned.feed(one_fetch(records[4:]))
        assert cores.made[-1].fed == ["a", "!b", "c", "!d", "e"]
        assert kafka.alerts() == [("!b", 2), ("!d", 4)]

    run(work)


def test_offsets_without_records_are_no_fault() -> None:
    """What retention deleted or a transaction left empty is passed over."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        assigned = await _owner(kafka, cores)
        records = kafka.events(0, "a", "b", "c")
        kafka.begin[TOPICS.events, 0] = 2
        await assigned.feed(one_fetch(records[2:]))
        assert cores.made[-1].fed == ["c"]

    run(work)


def test_lost_state_is_rebuilt_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Without a checkpoint what was committed is walked again, and its alerts are not repeated."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        await first.feed(one_fetch(kafka.events(0, "a", "!b", "?c")))
        await _save(kafka, first)
        kafka.logs[TOPICS.state, 0].clear()
        second = await _owner(kafka, cores)
        assert cores.made[-1].fed == ["a", "!b", "?c"]
        assert [core.told_of for core in cores.made] == [[], ["no_checkpoint"]]
        await second.feed(one_fetch(kafka.events(0, "!d")))
        assert kafka.alerts() == [("!b", 2), ("!d", 4)]
        assert len(kafka.logs[TOPICS.rejected, 0]) == 1
        assert await second.save() == 4

    run(work)
    assert (
        "state.rebuilt partition=callwatch.events/0 reason=no_checkpoint start=0 stop=3"
        in caplog.text
    )


def test_damaged_state_is_rebuilt(caplog: pytest.LogCaptureFixture) -> None:
    """A damaged checkpoint with nothing before it is named, and the rows are rebuilt."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _left_behind(kafka, cores)
        log = kafka.logs[TOPICS.state, 0]
        log[1] = log[1]._replace(value=b"nonsense")  # behind the claim
        await _owner(kafka, cores)
        assert cores.made[-1].fed == ["a", "b"]

    run(work)
    assert "state.damaged" in caplog.text
    assert "reason=damaged" in caplog.text


def test_state_of_another_configuration_is_rebuilt(caplog: pytest.LogCaptureFixture) -> None:
    """A checkpoint that does not fit the configuration is named, and the rows are rebuilt."""

    async def work() -> None:
        kafka = FakeKafka()
        await _left_behind(kafka, FakeCores())
        cores = FakeCores(config_hash="c2")
        await _owner(kafka, cores)
        assert cores.made[-1].fed == ["a", "b"]
        assert cores.made[-1].told_of == ["not_fitting"]

    run(work)
    assert [each.levelno for each in caplog.records if "state.unfit" in each.getMessage()] == [
        logging.WARNING
    ]
    assert "reason=not_fitting" in caplog.text


def test_what_was_before_a_repartitioning_is_walked_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In silence, at every rebuild, and not where a checkpoint holds it already."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        for value in (b"!a", b"b", b"?c"):
            kafka.append(BEFORE, 0, value)
        assigned = Assigned(EVENTS, kafka.outside(cores, before=BEFORE))
        await assigned.restore()
        assert (cores.made[-1].told_of, kafka.alerts()) == (["repartitioned"], [])
        await assigned.feed(one_fetch(kafka.events(0, "!d")))
        assert cores.made[-1].fed == ["!a", "b", "?c", "!d"]
        await _save(kafka, assigned)

        kafka.read.clear()
        await Assigned(EVENTS, kafka.outside(cores, before=BEFORE)).restore()
        assert [topic for topic, _ in kafka.read if topic == BEFORE] == []
        other = FakeCores(config_hash="c2")
        await Assigned(EVENTS, kafka.outside(other, before=BEFORE)).restore()
        assert other.made[-1].fed == ["!a", "b", "?c", "!d"]
        assert other.made[-1].told_of == ["not_fitting"]
        assert kafka.alerts() == [("!d", 4)]

    run(work)
    assert "reason=repartitioned start=0 stop=0 before=3" in caplog.text


def test_state_of_another_version_is_rebuilt(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole checkpoint of a version that writes states otherwise does not fit: no damage."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _left_behind(kafka, cores)
        monkeypatch.setattr(snapshot, "MAGIC", b"CALLWATCH-STATE-X\n")
        await _owner(kafka, cores)
        assert (cores.made[-1].fed, cores.made[-1].told_of) == (["a", "b"], ["not_fitting"])

    run(work)
    (unfit,) = [each for each in caplog.records if "state.unfit" in each.getMessage()]
    assert unfit.levelno == logging.WARNING  # somebody has changed it, and meant to
    assert "reason=not_fitting" in caplog.text


def test_a_partition_that_goes_while_it_is_restored_gets_no_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed while changes are applied, it makes no state of what was read, and walks nothing."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        await _left_behind(kafka, cores)
        late = Assigned(EVENTS, kafka.outside(cores))

        def closing(*parts: Any) -> Any:
            late.close()
            return merge(*parts)

        monkeypatch.setattr(assigned, "merge", closing)
        made = len(cores.made)
        await late.restore()
        assert len(cores.made) == made
        assert late.copy() is None

    run(work)


def test_a_cold_start_in_the_middle_of_a_log_is_told() -> None:
    """A group without a state says so where the log has lost its beginning; else it is just new."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        kafka.events(0, "a", "b", "c")
        await _owner(kafka, cores)
        kafka.begin[TOPICS.events, 0] = 2
        await _owner(kafka, cores)
        assert [core.told_of for core in cores.made] == [[], ["cold_start"]]

    run(work)


def test_new_group_starts_at_the_beginning(caplog: pytest.LogCaptureFixture) -> None:
    """A group that never committed walks all retained events, and alerts; nothing was lost."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        records = kafka.events(0, "!a")
        assigned = await _owner(kafka, cores)
        await assigned.feed(one_fetch(records))
        assert kafka.alerts() == [("!a", 1)]

    caplog.set_level(logging.WARNING)
    run(work)
    assert caplog.text == ""


def test_stalled_owner_hurts_nobody() -> None:
    """What a stalled owner writes after the next one's claim counts for nobody, and it is told."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        stalled = await _owner(kafka, cores)
        await stalled.feed(one_fetch(kafka.events(0, "a")))
        owner = await _owner(kafka, cores)
        await owner.feed(one_fetch([*kafka.logs[TOPICS.events, 0], *kafka.events(0, "b", "!c")]))
        await _save(kafka, owner)
        with pytest.raises(FencedError, match="claimed by another worker"):
            await stalled.save()
        await owner.feed(one_fetch(kafka.events(0, "d")))
        await _save(kafka, owner)
        third = await _owner(kafka, cores)
        assert cores.made[-1].fed == ["a", "b", "!c", "d"]
        await third.feed(one_fetch(kafka.events(0, "!e")))
        assert kafka.alerts() == [("!c", 3), ("!e", 5)]

    run(work)


def test_checkpoint_behind_the_committed_offset_is_caught_up() -> None:
    """What lies between a checkpoint and the committed offset is walked again, with its alerts."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        await first.feed(one_fetch(kafka.events(0, "a")))
        await _save(kafka, first)
        kafka.events(0, "!b")
        await kafka.commit({EVENTS: 2})
        await _owner(kafka, cores)
        assert (cores.made[-1].fed, kafka.alerts()) == (["a", "!b"], [("!b", 2)])

    run(work)


def test_superseded_restore_ends_in_silence() -> None:
    """Who was closed while it took over gives way to a later claim; who was not says so."""

    async def work() -> None:
        kafka = FakeKafka()
        for closed in (True, False):
            late = Assigned(EVENTS, kafka.outside(FakeCores()))
            kafka.held = []
            restoring = asyncio.ensure_future(late.restore())
            while not kafka.held:
                await asyncio.sleep(0)
            [go_on], kafka.held = kafka.held, None
            await _owner(kafka, FakeCores())
            if closed:
                late.close()
            go_on()
            if closed:
                await restoring
            else:
                with pytest.raises(FencedError):
                    await restoring

    run(work)


def test_topic_made_anew_is_walked_from_its_beginning() -> None:
    """State and offsets of a topic that was deleted in between do not hide its new events."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        await first.feed(one_fetch(kafka.events(0, "a", "b", "c")))
        await _save(kafka, first)
        kafka.logs[TOPICS.events, 0].clear()
        records = kafka.events(0, "!new")
        second = await _owner(kafka, cores)
        await second.feed(one_fetch(records))
        assert cores.made[-1].fed == ["!new"]
        assert kafka.alerts() == [("!new", 1)]

    run(work)


def _standing(kafka: FakeKafka) -> list[str]:
    """What stands in the log of states: the tables of the keys, in order."""
    last = {record.key: record for record in kafka.logs[TOPICS.state, 0]}
    kept = sorted((r.offset, r.key) for r in last.values() if r.value is not None)
    return [json.loads(key or b"")[3] for _, key in kept]


def test_changes_follow_a_snapshot() -> None:
    """A checkpoint holds what has changed, until the changes are as long as their snapshot."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        first = await _owner(kafka, cores)
        sizes = []
        for number in range(12):
            await first.feed(one_fetch(kafka.events(0, f"{number}" * 100 if number == 0 else "x")))
            await _save(kafka, first)
            sizes.append(len(_standing(kafka)))
        grown = [after > before for before, after in pairwise(sizes)]
        assert grown[0]
        assert not all(grown)
        await _owner(kafka, cores)
        assert cores.made[-1].fed == cores.made[0].fed

    run(work)


def test_only_what_is_needed_stays() -> None:
    """A snapshot that counts deletes all before it, that of former owners too."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        for _ in range(3):
            owner = await _owner(kafka, cores)
            for value in ("a" * 100, "b"):
                await owner.feed(one_fetch(kafka.events(0, value)))
                await _save(kafka, owner)
            assert _standing(kafka) == ["claim", "core", "manifest", "core", "manifest"]

    run(work)


def test_after_a_failed_checkpoint_comes_a_snapshot() -> None:
    """Changes that were lost on the way are no gap: the next checkpoint is whole."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        owner = await _owner(kafka, cores)
        for value in ("a", "b", "c"):
            await owner.feed(one_fetch(kafka.events(0, value)))
            kafka.broken = TOPICS.state if value == "b" else None
            if value == "b":
                with pytest.raises(EngineError, match=r"not taken by a broker: .*refuses"):
                    await owner.save()
            else:
                await owner.save()
        await _owner(kafka, cores)
        assert cores.made[-1].fed == ["a", "b", "c"]

    run(work)


def test_nothing_new_writes_no_checkpoint() -> None:
    """An idle partition costs nothing."""

    async def work() -> None:
        kafka = FakeKafka()
        assigned = await _owner(kafka, FakeCores())
        assert await assigned.save() is None
        await assigned.feed(one_fetch(kafka.events(0, "a")))
        assert await assigned.save() == 1
        assert await assigned.save() is None

    run(work)


def test_rejected_record_is_kept_with_its_place() -> None:
    """A rejected value arrives bounded, with offset, partition, reason and message."""

    async def work() -> None:
        kafka = FakeKafka()
        assigned = await _owner(kafka, FakeCores())
        await assigned.feed(one_fetch(kafka.events(0, "a", "?" + "x" * 100_000)))
        [record] = kafka.logs[TOPICS.rejected, 0]
        assert (record.key, len(record.value or b"")) == (None, 16 * 1024)
        assert kafka.headers[1:] == [
            [
                ("topic", b"callwatch.events"),
                ("partition", b"0"),
                ("offset", b"1"),
                ("reason", b"not_json"),
                ("message", b"no"),
            ]
        ]

    run(work)


def test_closed_partition_does_nothing() -> None:
    """After it is given away, a core neither walks, alerts nor saves."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        assigned = await _owner(kafka, cores)
        assigned.close()
        await assigned.feed(one_fetch(kafka.events(0, "!a")))
        assert (await assigned.save(), kafka.journal, cores.made[-1].fed) == (
            None,
            [TOPICS.state],
            [],
        )  # the claim

    run(work)


def test_readers_are_used_again() -> None:
    """One connection serves a restore and a gap, and at the end it is closed."""

    async def work() -> None:
        kafka = FakeKafka()
        assigned = await _owner(kafka, FakeCores())
        await assigned.feed(one_fetch([kafka.events(0, "a", "b")[1]]))
        assert kafka.open_readers == 1
        kafka.readers.close()
        assert kafka.open_readers == 0

    run(work)


def test_damaged_batch_is_set_aside_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is one rejected record with its offsets, and the core counts it at its place."""

    async def work() -> None:
        kafka, cores = FakeKafka(), FakeCores()
        assigned = await _owner(kafka, cores)
        kafka.events(0, "a", "?", "?", "?", "!b")
        log = kafka.logs[TOPICS.events, 0]
        broken = LogRecord(1, 0, None, None, (), Damage(4, "its checksum is wrong"))
        await assigned.feed(Stretch(0, 5, [log[0], broken, log[4]]))
        await assigned.feed(Stretch(0, 5, [log[0], broken, log[4]]))  # nothing happens twice
        assert cores.made[-1].fed == ["a", "lost 3 up to 4", "!b"]
        (told,) = kafka.logs[TOPICS.rejected, 0]
        assert dict(told.headers) == {
            "topic": b"callwatch.events",
            "partition": b"0",
            "offset": b"1",
            "reason": b"batch_damaged",
            "message": b"its checksum is wrong",
            "last": b"3",
        }
        assert told.value == b""
        assert assigned.place.walked == 5

    run(work)
    assert "batch.damaged partition=callwatch.events/0 start=1 stop=4" in caplog.text


def test_rest_of_a_damaged_batch_counts_from_where_it_is_wanted() -> None:
    """Who begins in the middle of one counts the offsets from there on, and no other."""
    broken = LogRecord(1, 0, None, None, (), Damage(9, "no"))
    after = LogRecord(9, 0, None, b"a")
    stretch = Stretch(0, 10, [LogRecord(0, 0, None, b"b"), broken, after])
    assert stretch.since(4) == [broken._replace(offset=4), after]
    assert stretch.since(9) == [after]
