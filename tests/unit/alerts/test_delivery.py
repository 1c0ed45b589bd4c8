import doctest
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alerts.delivery
from alerts.alert import Alert, Severity, Status, alert_id
from alerts.delivery import Backoff, Deliverer
from alerts.errors import DeliveryError
from alerts.pipeline import at_least, fold
from alerts.sinks import Delivery, Outcome
from tests.unit.alerts.samples import OPENED, closed, make_alert, seeded

OK = Delivery(Outcome.DELIVERED)
AGAIN = Delivery(Outcome.RETRY, "busy")
NEVER = Delivery(Outcome.REJECTED, "too old")


class ScriptedSink:
    """A sink that answers as it is told, and then takes everything."""

    name = "scripted"

    def __init__(self, *answers: list[Delivery]) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []
        self.taken: list[str] = []

    def send(self, batch: Sequence[Alert]) -> list[Delivery]:
        """The next answer of the script."""
        answer = self.answers.pop(0) if self.answers else [OK] * len(batch)
        self.calls.append([alert.id for alert in batch])
        self.taken += [one.id for one, said in zip(batch, answer, strict=True) if said is OK]
        return answer

    def close(self) -> None:
        """Nothing."""


class Waits:
    """Records waits instead of waiting; asks to stop at the given one."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.seconds: list[float] = []
        self.stop_at = stop_at

    def __call__(self, seconds: float) -> bool:
        """Takes no time."""
        self.seconds.append(seconds)
        return len(self.seconds) >= self.stop_at


def batch_of(count: int) -> list[Alert]:
    """So many incidents."""
    return [make_alert(id=alert_id("d", [str(n)], OPENED)) for n in range(count)]


def ids(*numbers: int) -> list[str]:
    """The ids of these incidents of a batch."""
    return [alert_id("d", [str(n)], OPENED) for n in numbers]


def test_examples_in_docstrings_are_true() -> None:
    """The examples in the docstrings are what the code gives."""
    assert doctest.testmod(alerts.delivery).failed == 0


def test_only_what_failed_is_sent_again() -> None:
    """Delivered and refused alerts are settled; the others are sent again in their order."""
    sink, waits = ScriptedSink([OK, AGAIN, NEVER, AGAIN]), Waits()
    refused: list[tuple[str, str]] = []
    deliverer = Deliverer(
        sink,
        chance=lambda: 1.0,
        wait=waits,
        on_rejected=lambda alert, why: refused.append((alert.id, why)),
    )
    deliverer.deliver(batch_of(4))
    assert sink.calls == [ids(0, 1, 2, 3), ids(1, 3)]
    assert sink.taken == ids(0, 1, 3)
    assert refused == [(ids(2)[0], "scripted: too old")]
    assert deliverer.counters == {"delivered": 3, "rejected": 1, "failed": 0, "retried": 1}
    assert waits.seconds == [0.5]


def test_waits_double_up_to_the_bound() -> None:
    """Waits double up to the longest, and attempts are bounded."""
    sink, waits = ScriptedSink(*[[AGAIN]] * 20), Waits()
    deliverer = Deliverer(sink, chance=lambda: 1.0, wait=waits)
    with pytest.raises(DeliveryError, match="scripted: 1 alerts not delivered after 8 tries: busy"):
        deliverer.deliver(batch_of(1))
    assert waits.seconds == [0.5, 1, 2, 4, 8, 16, 30]
    assert sum(waits.seconds) < 62
    assert deliverer.counters == {"delivered": 0, "rejected": 0, "failed": 1, "retried": 7}


def test_jitter_is_full() -> None:
    """A wait is a random part of the longest, so that many routers do not come back at once."""
    sink, waits = ScriptedSink([AGAIN], [AGAIN]), Waits()
    chances = iter([0.0, 0.25])
    Deliverer(sink, chance=lambda: next(chances), wait=waits).deliver(batch_of(1))
    assert waits.seconds == [0.0, 0.25]


def test_progress_starts_the_count_again() -> None:
    """A slow sink that takes one alert at a time is not given up."""
    answers = [[OK] + [AGAIN] * left for left in range(9, -1, -1)]
    sink = ScriptedSink(*answers)
    Deliverer(sink, backoff=Backoff(attempts=2), wait=Waits()).deliver(batch_of(10))
    assert sink.taken == ids(*range(10))


def test_a_stop_gets_one_last_try() -> None:
    """Asked to stop while waiting, the batch is tried once more and then given up."""
    sink = ScriptedSink([AGAIN], [AGAIN])
    with pytest.raises(DeliveryError, match="before the stop: busy"):
        Deliverer(sink, wait=Waits(stop_at=1)).deliver(batch_of(1))
    assert len(sink.calls) == 2
    sink = ScriptedSink([AGAIN])
    Deliverer(sink, wait=Waits(stop_at=1)).deliver(batch_of(1))
    assert sink.taken == ids(0)


def test_details_are_made_safe() -> None:
    """What a remote side said reaches the error as one printable line."""
    sink = ScriptedSink([Delivery(Outcome.RETRY, "bad\n\x1b[2J" + "x" * 999)])
    with pytest.raises(DeliveryError) as caught:
        Deliverer(sink, backoff=Backoff(attempts=1), wait=Waits()).deliver(batch_of(1))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_batch_of_nothing_is_not_sent() -> None:
    """An empty batch reaches no sink."""
    sink = ScriptedSink()
    Deliverer(sink, wait=Waits()).deliver([])
    assert sink.calls == []


def test_impossible_backoff_is_refused() -> None:
    """A backoff without attempts is an error."""
    with pytest.raises(DeliveryError, match="attempts >= 1"):
        Backoff(attempts=0)


@seeded
@given(st.lists(st.lists(st.sampled_from([OK, AGAIN, NEVER]), min_size=5, max_size=5), max_size=6))
def test_every_alert_is_accounted_for(script: list[list[Delivery]]) -> None:
    """Whatever a sink answers, each alert is delivered or refused exactly once, or is failed."""

    class Cut(ScriptedSink):
        def send(self, batch: Sequence[Alert]) -> list[Delivery]:
            if self.answers:
                self.answers[0] = self.answers[0][: len(batch)]
            return super().send(batch)

    deliverer = Deliverer(Cut(*script), backoff=Backoff(attempts=3), wait=Waits())
    try:
        deliverer.deliver(batch_of(5))
    except DeliveryError:
        assert deliverer.counters["failed"] > 0
    counters = deliverer.counters
    assert counters["delivered"] + counters["rejected"] + counters["failed"] == 5
    assert len(set(deliverer.sink.taken)) == len(deliverer.sink.taken)  # type: ignore[attr-defined]


def life(key: str) -> list[Alert]:
    """Three states of one incident."""
    first = make_alert(id=alert_id("d", [key], OPENED))
    second = first.model_copy(
        update={"status": Status.UPDATED, "updated_at": OPENED + 60_000_000, "count": 84}
    )
    return [first, second, closed(second, OPENED + 7_200_000_000)]


def test_fold_keeps_the_latest_state() -> None:
    """One state of each incident is left: the latest, in order of first appearance."""
    one, two = life("one"), life("two")
    assert fold([one[0], two[0], one[1], two[1], one[2]]) == {one[0].id: one[2], two[0].id: two[1]}


@seeded
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2))))
def test_fold_is_blind_to_repeats(picks: list[tuple[str, int]]) -> None:
    """States that a restarted worker sends again change nothing, wherever they turn up."""
    states = [life(key)[at] for key, at in picks]
    assert fold(states + states[: len(states) // 2]) == fold(states)
    assert fold(fold(states).values()) == fold(states)


def test_at_least_keeps_order() -> None:
    """Alerts below the lowest severity are left out; the rest keeps its order."""
    scale = [make_alert(severity=severity) for severity in Severity]
    assert at_least(scale, Severity.HIGH) == scale[3:]
    assert at_least(scale, Severity.INFO) == scale
