"""sender-silence: senders that stop, and the many that only rest."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from detectors.config import Config
from detectors.registry import detectors_found
from detectors.rules import sender_silence
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOUR,
    MINUTE,
    MONDAY,
    SECOND,
    Event,
    Run,
    at,
    calls,
    event,
    traffic,
)

ID = "sender-silence"
OFFICE = (0.02,) * 7 + (0.3, 0.6, 1, 1, 1, 0.8, 0.8, 1, 1, 0.8, 0.6, 0.3) + (0.05,) * 5
DAYS = 22
STOP = MONDAY + DAYS * DAY + 10 * HOUR
SEEDS = pytest.mark.parametrize("seed", range(2))


def others(start: int = MONDAY, days: float = DAYS + 1) -> Iterator[Event]:
    """Yield calls of another sender, so that the partition is heard all the time."""
    return (event(start + i * 4 * MINUTE, "others") for i in range(int(days * 360)))


def without(made: Iterable[Event], start: int, hours: float) -> list[Event]:
    """Leave out what comes in these hours."""
    return [call for call in made if not start <= at(call) < start + hours * HOUR]


def office(days: int, per_hour: float, seed: int, *, weekend: float = 0.0, holidays: tuple[int, ...]
           = (), shift_at: int = 10**6, sender: str = "office") -> Iterator[Event]:  # fmt: skip
    """Yield the calls of people's working hours; the clock is changed at ``shift_at``."""
    chance = random.Random(seed)
    for call in traffic(days=days, per_hour=per_hour, seed=seed, sender=sender):
        day, hour = (at(call) - MONDAY) // DAY, at(call) // HOUR
        share = OFFICE[(hour + (day >= shift_at)) % 24]
        share *= weekend if day % 7 >= 5 or day in holidays else 1.0
        if chance.random() < share:
            yield call


@pytest.mark.parametrize("hour", [0, 16])
def test_a_busy_sender_that_stops_is_told_within_ten_minutes(hour: int) -> None:
    """S21 a: a provider is down for three hours, by day or by night; medium after one of them."""
    start = STOP + hour * HOUR
    usual = traffic(days=DAYS + 1.5, per_hour=150, seed=hour)
    run = Run()
    run.feed(without(usual, start, 3), others(days=DAYS + 1.5))
    (alert,) = run.of(ID)
    assert (alert.sender, str(alert.severity.value)) == ("acme", "medium")
    assert alert.opened_at - start <= 10 * MINUTE
    assert alert.close_reason == "contradicted"
    assert abs(alert.updated_at - start - 3 * HOUR) <= 5 * MINUTE


@SEEDS
def test_a_slower_sender_takes_longer(seed: int) -> None:
    """A call every six minutes: silent for two hours is news, for forty minutes it is not."""
    usual = list(traffic(days=DAYS + 1, per_hour=10, seed=seed))
    run = Run()
    run.feed(without(usual, STOP, 0.66), others())
    assert run.of(ID) == []
    run = Run()
    run.feed(without(usual, STOP, 3), others())
    (alert,) = run.of(ID)
    assert 50 * MINUTE < alert.opened_at - STOP <= 150 * MINUTE


def test_sparse_senders_rest() -> None:
    """S21 b: senders of few calls say nothing for hours, day after day."""
    made = [traffic(days=40, per_hour=per_hour, seed=seed, sender=f"{per_hour} {seed}")
            for per_hour in (0.05, 0.3, 1, 4) for seed in range(3)]  # fmt: skip
    run = Run()
    run.feed(*made, others(days=40))
    assert run.of(ID) == []


@pytest.mark.parametrize(("seed", "per_hour"), [(0, 20), (1, 20), (0, 120)])
def test_nights_weekends_and_holidays_are_quiet(seed: int, per_hour: float) -> None:
    """S20: two holidays within the week, a long weekend, and the clocks changed by an hour."""
    run = Run()
    holidays = (22, 23, 30, 31, 32, 35)
    run.feed(
        office(40, per_hour, seed, holidays=holidays, shift_at=27),
        office(40, per_hour, seed + 9, weekend=0.3, holidays=holidays, shift_at=13, sender="shop"),
        others(days=40),
    )
    assert run.of(ID) == []


@SEEDS
def test_a_working_day_that_breaks_off_is_low(seed: int) -> None:
    """A holiday does not begin at eleven: within the working hours a silence is told."""
    usual = office(DAYS + 2, 60, seed)
    run = Run()
    run.feed(without(usual, STOP + HOUR, 4), others(days=DAYS + 2))
    (alert,) = run.of(ID)
    assert str(alert.severity.value) == "low"
    assert alert.opened_at - STOP - HOUR <= 45 * MINUTE


@SEEDS
def test_batches_and_months_are_quiet(seed: int) -> None:
    """A nightly batch, a weekly one, and invoices on the first days of each month."""
    chance = random.Random(seed)
    made = []
    for day in range(45):
        if chance.random() < 0.9:  # not every night has something to send
            made += calls(200, 5, MONDAY + day * DAY + 2 * HOUR, sender="nightly")
        if day % 7 == 2:
            made += calls(300, 40, MONDAY + day * DAY + 9 * HOUR, sender="weekly")
        if day % 30 < 5:
            made += calls(600, 60, MONDAY + day * DAY + 8 * HOUR, sender="monthly")
    run = Run()
    run.feed(sorted(made, key=at), others(days=45))
    assert run.of(ID) == []


@SEEDS
def test_bursty_senders_get_a_longer_rope(seed: int) -> None:
    """Calls in bunches of ten: eight usual gaps of silence come every day."""
    chance = random.Random(seed)
    made: list[Event] = []
    t = MONDAY
    while t < MONDAY + 30 * DAY:
        t += int(chance.expovariate(2) * HOUR)
        made += [event(t + i * SECOND, "bunches") for i in range(chance.randint(1, 19))]
    run = Run()
    run.feed(made, others(days=30))
    assert len(run.of(ID)) <= 0


def test_failing_calls_are_calls() -> None:
    """A sender whose key is broken is not silent; strangers who use its name do not hide it."""
    usual = without(traffic(days=DAYS + 0.7, per_hour=150), STOP, 9)
    failing = [call | {"verdict": "rejected", "reason": "signature_invalid"} for call in
               traffic(STOP, days=0.2, per_hour=150, seed=3)]  # fmt: skip
    run = Run()
    run.feed(usual, failing, others())
    assert [alert.opened_at > STOP + 4 * HOUR for alert in run.of(ID)] == [True]
    strangers = [call | {"source_ip": ELSEWHERE} for call in failing]
    run = Run()
    run.feed(usual, strangers, others())
    (alert,) = run.of(ID)
    assert alert.opened_at - STOP <= 10 * MINUTE


def test_nobody_is_silent_where_nobody_is_heard() -> None:
    """Three hours without any record are our own blindness; after them silence counts anew."""
    usual = traffic(days=DAYS + 1, per_hour=150)
    run = Run()
    run.feed(without(usual, STOP, 3), without(others(), STOP, 3))
    assert run.of(ID) == []
    run = Run()
    run.feed(without(traffic(days=DAYS + 1, per_hour=150), STOP, 4), without(others(), STOP, 3))
    (alert,) = run.of(ID)
    assert 0 <= alert.opened_at - STOP - 3 * HOUR <= 10 * MINUTE


@pytest.mark.parametrize(("days", "waits"), [(44, True), (46, False)])
def test_hours_in_which_the_stream_stood_still_for_long_are_not_counted(
    days: int, *, waits: bool
) -> None:
    """Whoever calls again after them is new, so nobody is waited for: a wrong year costs no hours.

    After a shorter pause, which the sender's baseline outlives, it is waited for again.
    """
    run = Run()
    run.feed(traffic(days=9, per_hour=20))
    (silence,) = [one for one in detectors_found() if one.id == ID]
    row = run.core.table(("sender",)).rows[ID][0]
    out, due = np.zeros(1, silence.out)[0], int(row["due"]) * MINUTE
    out["since"] = due + days * DAY
    assert sender_silence.timer(row, due, Config().params(silence)[0], out) == 0
    assert bool(row["due"]) == waits


def test_the_cut_of_the_stream_changes_nothing() -> None:
    """Silences and pauses are found alike in one batch and in many."""
    made = sorted([*without(traffic(days=DAYS + 1, per_hour=120), STOP, 2),
                   *without(others(), STOP + HOUR, 0.5)], key=at)  # fmt: skip
    whole, parts = Run(), Run()
    whole.feed(made)
    for i in range(0, len(made), 997):
        parts.feed(made[i : i + 997])
    assert [a.model_dump() for a in parts.of(ID)] == [a.model_dump() for a in whole.of(ID)]
    assert len(whole.of(ID)) == 1


def test_late_calls_teach_patience() -> None:
    """Where a receiver's calls come ten minutes late now and then, silence has to last longer."""
    run = Run()
    run.feed(traffic(days=DAYS + 10 / 24, per_hour=150), others(days=DAYS + 10 / 24))
    late = calls(20, 15, STOP - 4 * MINUTE)
    run.feed([event(STOP + 8 * MINUTE, "others")])
    run.feed(late)
    assert run.of(ID) == []


def test_sampled_calls_are_few() -> None:
    """One call in twenty is published: the gaps between those are usual."""
    run = Run()
    run.feed(traffic(days=30, per_hour=12, sample_rate=0.05), others(days=30))
    assert run.of(ID) == []


def test_a_sender_that_went_away_is_told_once() -> None:
    """After two weeks it is taken as gone; a sender of a few calls a day is told after one."""
    run = Run()
    run.feed(traffic(days=30, per_hour=60), traffic(days=30, per_hour=0.2, sender="few"),
             others(days=60))  # fmt: skip
    found = {alert.sender: alert for alert in run.of(ID)}
    assert set(found) == {"acme", "few"}
    assert {alert.close_reason for alert in found.values()} == {"level_adopted"}
    assert 6 * DAY <= found["few"].opened_at - MONDAY - 30 * DAY <= 8 * DAY
