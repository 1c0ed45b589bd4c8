"""The publisher: it never hurts its host, and its account is exact."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest import publisher as module
from ingest.errors import TransportError
from ingest.outbox import Stats
from ingest.publisher import Publisher
from ingest.records import Outcome, Record
from ingest.schema import CallbackEvent, Kind, Report, parse_event
from ingest.transports import MemoryTransport
from ingest.version import __version__

Make = Callable[..., Publisher]
Wait = Callable[[Publisher, Callable[[], bool]], None]


class Held(MemoryTransport):
    """A transport whose thread stops inside `send` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        self.entered.set()
        assert self.go.wait(20)
        return super().send(batch)


class Answers(MemoryTransport):
    """A transport that answers as it was told, one list a call, and then takes everything."""

    def __init__(self, *answers: list[Outcome] | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.batches: list[list[str]] = []

    def send(self, batch: Sequence[Record]) -> list[Outcome]:
        self.batches.append([dict(record.headers)["ce_id"].decode()[-2:] for record in batch])
        answer = self.answers.pop(0) if self.answers else [Outcome.SENT] * len(batch)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _numbered(event: dict[str, Any], number: int) -> dict[str, Any]:
    return event | {"id": f"2748a95e-57c0-4be0-a297-2f8abe8d00{number:02}"}


def _has_failed(publisher: Publisher, times: int) -> bool:
    return publisher._courier.failures == times


def _balanced(stats: Stats) -> bool:
    return stats.offered == stats.sent + sum(stats.dropped.values()) + stats.waiting


def test_an_event_arrives_as_it_was_given(publish_with: Make, event: dict[str, Any]) -> None:
    """Dicts and events arrive in order, and the account says so."""
    memory = MemoryTransport()
    publisher = publish_with(memory)
    given = [parse_event(_json(_numbered(event, number))) for number in range(3)]
    assert publisher.publish(_numbered(event, 0))
    assert publisher.publish(given[1])
    assert publisher.publish(given[2])
    assert publisher.flush()
    assert memory.events() == given
    stats = publisher.stats()
    assert (stats.offered, stats.sent, stats.dropped, stats.waiting) == (3, 3, {}, 0)
    assert stats.waiting_bytes == 0


def test_a_dict_may_leave_the_obvious_out(publish_with: Make, event: dict[str, Any]) -> None:
    """Schema, id, time and receiver are filled in; Python's own types are understood."""
    memory = MemoryTransport()
    publisher = publish_with(memory)
    names = ("schema", "id", "received_at", "receiver")
    short = {name: value for name, value in event.items() if name not in names}
    short |= {"kind": Kind.WEBHOOK, "source_ip": ip_address("192.0.2.7")}
    signed_at = datetime(2026, 11, 20, 8, 29, tzinfo=UTC)
    assert publisher.publish(short | {"signed_at": signed_at})
    assert publisher.publish(short | {"id": UUID(event["id"])})
    assert publisher.flush()
    first, second = memory.events()
    assert second == parse_event(_json(event))
    assert first.model_dump(exclude={"id", "signed_at"}) == second.model_dump(
        exclude={"id", "signed_at"}
    )
    assert first.signed_at == signed_at


def test_a_dict_changed_afterwards_changes_nothing(
    publish_with: Make, event: dict[str, Any]
) -> None:
    """What is queued is a copy."""
    held = Held()
    publisher = publish_with(held)
    publisher.publish(event)
    event["sender"] = "another"
    held.go.set()
    publisher.flush()
    assert [found.sender for found in held.events()] == ["acme-stripe"]


def _unchecked() -> CallbackEvent:
    """An event that went around its checks."""
    fields: dict[str, Any] = {"sender": object()}
    return CallbackEvent.model_construct(**fields)


class _Hostile(dict[str, Any]):
    def keys(self) -> Any:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError


_deep: list[Any] = []
for _ in range(20_000):
    _deep = [_deep]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "invalid"),
        ("text", "invalid"),
        (b"bytes", "invalid"),
        (object(), "invalid"),
        ({}, "invalid"),
        ({1: 2}, "invalid"),
        ({"sender": float("nan")}, "invalid"),
        ({"sender": _deep}, "invalid"),
        ({"sender": object()}, "invalid"),
        ({"ext": {"a": "x" * 20_000}}, "too_large"),
        (_Hostile(a=1), "invalid"),
        (_unchecked(), "internal"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_passed_is_counted_and_never_raises(
    publish_with: Make, value: Any, reason: str
) -> None:
    """Nonsense is dropped with a reason, and the host does not notice."""
    publisher = publish_with(MemoryTransport())
    assert publisher.publish(value) is False
    assert publisher.stats().dropped == {reason: 1}
    assert _balanced(publisher.stats())


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_anything)
def test_random_values_never_raise(publish_with: Make, value: Any) -> None:
    """Random Python values are refused, and offered = sent + dropped + waiting."""
    publisher = publish_with(MemoryTransport(), report_every=None)
    assert publisher.publish(value) is False
    assert _balanced(publisher.stats())


def test_a_full_queue_drops_the_newest_by_count(publish_with: Make, event: dict[str, Any]) -> None:
    """What waits is bounded in events; the oldest are kept, and the rest is counted."""
    held = Held()
    publisher = publish_with(held, max_events=3)
    outcomes = [publisher.publish(_numbered(event, number)) for number in range(5)]
    assert outcomes == [True, True, True, False, False]
    assert publisher.stats().dropped == {"queue_full": 2}
    assert publisher.stats().waiting == 3
    held.go.set()
    assert publisher.flush()
    assert [found.id[-2:] for found in held.events()] == ["00", "01", "02"]
    assert publisher.publish(event)


def test_a_full_queue_drops_the_newest_by_bytes(publish_with: Make, event: dict[str, Any]) -> None:
    """What waits is bounded in bytes too, the batch in flight included."""
    held = Held()
    publisher = publish_with(held, max_bytes=20_000)
    big = event | {"ext": {"a": "x" * 8_000}}
    assert [publisher.publish(big) for _ in range(3)] == [True, True, False]
    assert held.entered.wait(20)
    assert publisher.publish(big) is False
    assert publisher.stats().waiting_bytes <= 20_000


def test_nothing_starts_before_the_first_event(publish_with: Make, event: dict[str, Any]) -> None:
    """The thread is lazy, a daemon, and there is one of it."""
    publisher = publish_with(MemoryTransport())
    assert publisher._courier.thread is None
    publisher.publish(event)
    thread = publisher._courier.thread
    assert thread is not None
    assert thread.daemon
    publisher.publish(event)
    assert publisher._courier.thread is thread


def test_a_hook_sees_changes_and_withholds_events(
    publish_with: Make, event: dict[str, Any]
) -> None:
    """before_emit may change an event or keep it back; a failing hook or result is counted."""
    memory = MemoryTransport()

    def hook(given: CallbackEvent) -> CallbackEvent | None:
        match given.sender:
            case "secret":
                return None
            case "broken":
                raise KeyError
            case "invalid":
                return given.model_copy(update={"status": 7})
        return given.model_copy(update={"user_agent": None})

    publisher = publish_with(memory, before_emit=hook)
    agent = event | {"user_agent": "curl"}
    results = [publisher.publish(agent | {"sender": name}) for name in ("secret", "broken", "a")]
    assert [*results, publisher.publish(agent | {"sender": "invalid"})] == [
        False,
        False,
        True,
        False,
    ]
    publisher.flush()
    assert [(found.sender, found.user_agent) for found in memory.events()] == [("a", None)]
    assert publisher.stats().dropped == {"hook_refused": 1, "hook_failed": 2}


def test_a_broken_transport_backs_off_and_recovers(
    publish_with: Make, event: dict[str, Any], clock: Any, wait_until: Wait
) -> None:
    """While a transport is broken events wait, attempts get rarer, and nothing is lost after."""
    memory = MemoryTransport()
    memory.broken = True
    publisher = publish_with(memory, report_every=None)
    waits = []
    assert publisher.publish(event)
    for failures in range(1, 10):
        wait_until(publisher, partial(_has_failed, publisher, failures))
        waits.append(publisher._courier._retry_at - clock.monotonic())
        assert publisher.publish(event)  # at once, whatever the transport does
        clock.advance(waits[-1])
    wait_until(publisher, lambda: publisher._courier.failures == 10)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert publisher.stats().waiting == 10
    memory.broken = False
    clock.advance(30)
    wait_until(publisher, lambda: publisher._outbox.sent == 10)
    assert publisher._courier._backoff == 0
    assert _balanced(publisher.stats())


def test_each_record_gets_its_own_outcome(
    publish_with: Make, event: dict[str, Any], clock: Any, wait_until: Wait
) -> None:
    """Sent ones are counted, refused ones dropped, and the others tried again in order."""
    mixed = [Outcome.SENT, Outcome.RETRY, Outcome.REFUSED, Outcome.RETRY]
    answers = Answers(TransportError("not yet"), mixed, [Outcome.RETRY, Outcome.SENT])
    publisher = publish_with(answers, report_every=None)
    with publisher._courier.changed:  # the thread cannot take a batch before all four are queued
        for number in range(4):
            publisher.publish(_numbered(event, number))
    for failures in (1, 2, 3):
        wait_until(publisher, partial(_has_failed, publisher, failures))
        clock.advance(30)
    assert publisher.flush()
    assert answers.batches == [
        ["00", "01", "02", "03"],
        ["00", "01", "02", "03"],
        ["01", "03"],
        ["01"],
    ]
    stats = publisher.stats()
    assert (stats.sent, stats.dropped) == (3, {"refused_by_broker": 1})


@pytest.mark.parametrize("error", [RuntimeError("secret"), TransportError("no broker"), []])
def test_a_faulty_transport_never_ends_the_thread(
    publish_with: Make, event: dict[str, Any], error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Any exception and a wrong number of answers are failures; unknown texts are not logged."""
    answers = Answers(error)
    publisher = publish_with(answers, report_every=None)
    with caplog.at_level(logging.WARNING, "callwatch.publisher"):
        publisher.publish(event)
        with publisher._courier.changed:
            assert publisher._courier.changed.wait_for(lambda: publisher._courier.failures == 1, 20)
        assert publisher.flush()
    assert publisher.stats().sent == 1
    assert "secret" not in caplog.text


def test_a_report_goes_to_every_partition_each_minute(
    publish_with: Make, event: dict[str, Any], clock: Any, wait_until: Wait
) -> None:
    """Totals since the start, at once and then every 60 s, one record for each partition."""
    memory = MemoryTransport(partitions=3)
    publisher = publish_with(memory)
    publisher.start()
    wait_until(publisher, lambda: publisher._courier.reports_sent == 3)
    publisher.publish(event | {"sample_rate": 0.5})
    publisher.publish({})
    assert publisher.flush()
    clock.advance(59.9)
    assert len(memory.reports()) == 3
    clock.advance(0.1)
    wait_until(publisher, lambda: publisher._courier.reports_sent == 6)
    first, later = memory.reports()[0], memory.reports()[-1]
    assert first == Report(
        receiver="shop/1.4.0@shop-1",
        process=publisher._process,
        started_at=clock.now().replace(hour=8, minute=30, second=0),
        at=clock.now().replace(hour=8, minute=30, second=0),
        offered=0,
        sent=0,
        dropped={},
        version=__version__,
        sampling=1.0,
    )
    assert later == first.model_copy(
        update={
            "at": clock.now(),
            "offered": 2,
            "sent": 1,
            "dropped": {"invalid": 1},
            "sampling": 0.5,
        }
    )
    placed = [
        r.partition for r in memory.records if ("ce_type", b"callwatch.report.v1") in r.headers
    ]
    assert placed == [0, 1, 2, 0, 1, 2]


def test_a_report_that_failed_is_made_anew(
    publish_with: Make, clock: Any, wait_until: Wait
) -> None:
    """After a failure the next report has the numbers and time of its own moment."""
    memory = MemoryTransport()
    memory.broken = True
    publisher = publish_with(memory)
    publisher.start()
    wait_until(publisher, lambda: publisher._courier.failures == 1)
    memory.broken = False
    clock.advance(0.5)
    wait_until(publisher, lambda: publisher._courier.reports_sent == 1)
    assert [report.at for report in memory.reports()] == [clock.now()]


def test_closing_sends_what_waits_and_a_last_report(
    publish_with: Make, event: dict[str, Any]
) -> None:
    """After close the account is settled: offered = sent + dropped, and the report says so."""
    memory = MemoryTransport()
    publisher = publish_with(memory)
    for number in range(20):
        publisher.publish(_numbered(event, number))
    assert publisher.close(30)
    assert len(memory.events()) == 20
    last = memory.reports()[-1]
    assert (last.offered, last.sent) == (20, 20)
    assert publisher.publish(event) is False
    assert publisher.stats().dropped == {"closed": 1}
    assert publisher.close()
    assert publisher._courier.thread is not None
    publisher._courier.thread.join(20)
    assert memory.closed


def test_closing_during_a_report_still_sends_what_waits(
    publish_with: Make, event: dict[str, Any]
) -> None:
    """A report that was on its way when the publisher closed is not taken for the last one."""
    results: list[bool] = []

    class Interrupted(MemoryTransport):
        def send(self, batch: Sequence[Record]) -> list[Outcome]:
            if not results:  # the report of the start
                publisher.publish(_numbered(event, 1))
                results.append(publisher.publish(_numbered(event, 2)))
                closer.start()
                with publisher._courier.changed:
                    assert publisher._courier.changed.wait_for(lambda: publisher._courier.closing)
            return super().send(batch)

    def close() -> None:
        results.append(publisher.close(30))

    closer = threading.Thread(target=close)
    memory = Interrupted()
    publisher = publish_with(memory)
    publisher.start()
    assert publisher._courier.thread is not None
    publisher._courier.thread.join(20)
    closer.join(20)
    assert results == [True, True]
    assert len(memory.events()) == 2


def test_closing_gives_up_after_its_timeout(publish_with: Make, event: dict[str, Any]) -> None:
    """What a broken transport does not take by the timeout is dropped and counted."""
    memory = MemoryTransport()
    memory.broken = True
    publisher = publish_with(memory)
    for _ in range(3):
        publisher.publish(event)
    assert publisher.close(timeout=0) is False
    stats = publisher.stats()
    assert (stats.waiting, stats.dropped) == (0, {"not_sent_at_close": 3})
    assert _balanced(stats)


def test_closing_an_unused_publisher_closes_its_transport(publish_with: Make) -> None:
    """Without an event there is nothing to send, not even a report."""
    memory = MemoryTransport()
    assert publish_with(memory).close()
    assert memory.closed
    assert memory.records == []


def test_flush_gives_up_after_its_timeout(publish_with: Make, event: dict[str, Any]) -> None:
    """Flushing tells whether everything that waited is through."""
    held = Held()
    publisher = publish_with(held)
    publisher.publish(event)
    assert publisher.flush(timeout=0) is False
    held.go.set()
    assert publisher.flush()


def test_all_publishers_are_closed_at_exit(
    publish_with: Make, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit handler closes every publisher, within two seconds together."""
    publishers = [publish_with(MemoryTransport()) for _ in range(2)]
    monkeypatch.setattr(module, "_publishers", publishers)
    for publisher in publishers:
        publisher.publish(event)
    module._close_all()
    assert [publisher.stats().sent for publisher in publishers] == [1, 1]
    assert all(publisher._courier.finished for publisher in publishers)


def test_the_kill_switch_turns_it_off(
    publish_with: Make, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CALLWATCH_DISABLED=1 keeps everything off the stream; events are counted as such."""
    monkeypatch.setenv("CALLWATCH_DISABLED", "1")
    publisher = publish_with(MemoryTransport())
    publisher.start()
    assert publisher.publish(event) is False
    assert publisher._courier.thread is None
    assert publisher.stats().dropped == {"disabled": 1}


def test_a_receiver_that_cannot_be_reported_is_refused_at_start(publish_with: Make) -> None:
    """A wrong name is an error where the program starts, not silence later."""
    with pytest.raises(ValueError, match="receiver"):
        publish_with(MemoryTransport(), receiver="")


def test_many_threads_keep_the_account_exact(publish_with: Make, event: dict[str, Any]) -> None:
    """Eight threads offer good and bad events; nothing is lost or counted twice."""
    memory = MemoryTransport()
    publisher = publish_with(memory, max_events=100)

    def work() -> None:
        for number in range(200):
            publisher.publish(event if number % 4 else {})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.flush()
    stats = publisher.stats()
    assert (stats.offered, stats.waiting, stats.dropped["invalid"]) == (1_600, 0, 400)
    assert stats.sent == len(memory.events()) == 1_200 - stats.dropped.get("queue_full", 0)


def test_a_failing_log_handler_hurts_nobody(publish_with: Make) -> None:
    """Not even a logging handler that raises reaches the host."""

    class Angry(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError

    logger, handler = logging.getLogger("callwatch.publisher"), Angry()
    logger.addHandler(handler)
    try:
        assert publish_with(MemoryTransport()).publish({}) is False
    finally:
        logger.removeHandler(handler)


def test_warnings_are_rare(
    publish_with: Make, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of bad events writes one line a minute."""
    publisher = publish_with(MemoryTransport())
    for _ in range(50):
        publisher.publish({})
    clock.advance(61)
    publisher.publish({})
    assert len(caplog.records) == 2
    assert "endpoint: is missing" in caplog.text


def test_stats_are_a_snapshot(publish_with: Make) -> None:
    """Changing what stats() gave changes nothing."""
    publisher = publish_with(MemoryTransport())
    stats = publisher.stats()
    stats.dropped["x"] = 1
    assert publisher.stats() == replace(stats, dropped={})


def _json(fields: dict[str, Any]) -> str:
    import json

    return json.dumps(fields)


def test_offered_events_are_checked_by_the_thread(
    publish_with: Make, event: dict[str, Any]
) -> None:
    """Good ones are sent in order with published ones, bad ones counted by reason."""
    memory = MemoryTransport()
    publisher = publish_with(memory, before_emit=lambda e: None if e.sender == "no" else e)
    results = [
        publisher.offer(event | {"sender": "1"}),
        publisher.publish(event | {"sender": "2"}),
        publisher.offer(parse_event(_json(event | {"sender": "3"}))),
        publisher.offer(event | {"sender": "no"}),
        publisher.offer({"sender": "x"}),
        publisher.offer(event | {"ext": {"a": "x" * 20_000}}),
    ]
    assert all(results)
    assert publisher.flush()
    assert [found.sender for found in memory.events()] == ["1", "2", "3"]
    stats = publisher.stats()
    assert stats.dropped == {"hook_refused": 1, "invalid": 1, "too_large": 1}
    assert (stats.offered, stats.sent, stats.waiting_bytes) == (6, 3, 0)
    assert publisher.close(30)
    assert publisher.offer(event) is False
    assert publisher.stats().dropped["closed"] == 1


@pytest.mark.parametrize("by_bytes", [False, True])
def test_the_oldest_may_be_dropped_instead(
    publish_with: Make, event: dict[str, Any], by_bytes: bool
) -> None:
    """With drop="oldest" a full queue keeps the newest; the batch in flight is not touched."""
    held = Held()
    limits = {"max_bytes": 12_500} if by_bytes else {"max_events": 5}
    publisher = publish_with(held, drop="oldest", report_every=None, **limits)
    publisher.publish(_numbered(event, 0))
    assert held.entered.wait(20)
    for number in range(1, 21):
        assert publisher.offer(_numbered(event, number))
    stats = publisher.stats()
    assert stats.dropped == {"queue_full": 21 - stats.waiting}
    assert stats.waiting_bytes <= 12_500
    assert publisher.offer(event | {"endpoint": "x" * 20_000}) is (not by_bytes)
    held.go.set()
    assert publisher.flush()
    sent = [found.id[-2:] for found in held.events()]
    kept = sent[1:]
    assert sent[0] == "00"
    assert kept == [f"{number:02}" for number in range(21 - len(kept), 21)]
    assert _balanced(publisher.stats())


def test_an_open_circuit_tries_one_record_at_a_time(
    publish_with: Make, event: dict[str, Any], clock: Any, wait_until: Wait
) -> None:
    """After five failures in a row a hand-over is small, until one gets through."""
    answers = Answers(*[TransportError("away")] * 6)
    publisher = publish_with(answers, report_every=None)
    with publisher._courier.changed:
        for number in range(4):
            publisher.publish(_numbered(event, number))
    for failures in range(1, 7):
        wait_until(publisher, partial(_has_failed, publisher, failures))
        assert publisher.stats().circuit == ("open" if failures >= 5 else "closed")
        clock.advance(30)
    assert publisher.flush()
    assert [len(batch) for batch in answers.batches] == [4, 4, 4, 4, 4, 1, 1, 3]
    assert publisher.stats().circuit == "closed"


def test_bodies_are_let_go_while_a_broker_is_away(
    publish_with: Make, event: dict[str, Any], wait_until: Wait
) -> None:
    """While nothing can be sent, drafts still become records, and what they held is freed."""

    class Large:
        def fields(self) -> dict[str, Any]:
            return parse_event(_json(event)).model_dump(by_alias=True)

    memory = MemoryTransport()
    memory.broken = True
    publisher = publish_with(memory, report_every=None)
    publisher.publish(event)
    wait_until(publisher, partial(_has_failed, publisher, 1))
    for _ in range(3):
        assert publisher.offer_draft(Large(), 100_000)
    wait_until(publisher, lambda: publisher._outbox.bytes < 10_000)
    assert publisher.stats().waiting == 4


def test_events_gather_before_the_thread_works(
    publish_with: Make, event: dict[str, Any], clock: Any, wait_until: Wait
) -> None:
    """Within `linger` many events become one batch; a flush does not wait for it."""
    answers = Answers()
    publisher = publish_with(answers, report_every=None, linger=0.05)
    for number in range(9):
        publisher.offer(_numbered(event, number))
    assert publisher.flush()
    assert [len(batch) for batch in answers.batches] == [9]
