"""clock-skew: clocks that drift or jump, and the queues and replays that look like them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.unit.detectors.streams import (
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    Event,
    Run,
    at,
    brief,
    calls,
    event,
    to_rfc3339,
    traffic,
)

ID = "clock-skew"
START = MONDAY + 5 * DAY
SEEDS = pytest.mark.parametrize("seed", range(3))


def signed(start: int, days: float, offset: Callable[[random.Random, int], float], *, seed: int = 1,
           provider: str = "stripe", per_hour: float = 20) -> list[Event]:  # fmt: skip
    """Return calls that were signed so many seconds before they came, as ``offset`` says."""
    chance = random.Random(seed)
    made = list(traffic(start, days=days, per_hour=per_hour, seed=seed, provider=provider))
    for call in made:
        seconds = offset(chance, at(call))
        call["signed_at"] = to_rfc3339(at(call) - int(seconds * 1e6))
        if abs(seconds) > 300:
            reason = "timestamp_stale" if seconds > 0 else "timestamp_future"
            call |= {"verdict": "rejected", "reason": reason, "signature_ok": True, "status": 401}
    return made


def usual(chance: random.Random, t: int) -> float:
    """Return a delay as networks and queues have it: a second or two, now and then a minute."""
    return chance.expovariate(1.0) if chance.random() < 0.9 else chance.expovariate(1 / 60)


def drifts(start: int, hours: float, to: float) -> Callable[[random.Random, int], float]:
    """Return delays under a clock that moves to ``to`` seconds within so many hours, and stays."""
    return lambda chance, t: (
        usual(chance, t) + to * min(max((t - start) / (hours * HOUR), 0.0), 1.0)
    )


def found(run: Run) -> list[str]:
    """Return the detector's incidents as short texts."""
    return [brief(alert) for alert in run.of(ID)]


@SEEDS
@pytest.mark.parametrize("to", [240, -240])
@pytest.mark.parametrize("per_hour", [2, 20, 300])
def test_a_drift_is_found_before_three_minutes(seed: int, to: float, per_hour: float) -> None:
    """S23: within 48 h a clock moves by four minutes; three of them are reached after 36 h."""
    run = Run(signed(MONDAY, 5, usual, seed=seed, per_hour=per_hour))
    run.feed(signed(START, 2.5, drifts(START, 48, to), seed=seed + 7, per_hour=per_hour))
    assert found(run) == [f"{ID} sender_drift medium"]
    first = next(alert for alert in run.alerts if alert.detector == ID)
    assert 12 * HOUR <= first.opened_at - START <= 30 * HOUR
    assert ("behind" if to > 0 else "ahead") in first.summary


@SEEDS
@pytest.mark.parametrize("to", [90, -90])
def test_a_step_is_found_within_two_hours(seed: int, to: float) -> None:
    """A clock that was set wrongly stays wrong; a week later that is usual."""
    run = Run(signed(MONDAY, 5, usual, seed=seed))
    run.feed(signed(START, 9, drifts(START, 0.01, to), seed=seed + 7))
    (alert,) = run.of(ID)
    assert (str(alert.severity.value), alert.close_reason) == ("low", "level_adopted")
    assert alert.opened_at - START <= 3 * HOUR
    assert abs(alert.observed["offset"].value - to) < 30


@SEEDS
def test_a_slow_drift_is_found_too(seed: int) -> None:
    """Six seconds a day: the usual offset follows at first, and stands still at half a limit."""
    run = Run(signed(MONDAY, 5, usual, seed=seed))
    run.feed(signed(START, 25, drifts(START, 25 * 24, 150), seed=seed + 7))
    assert found(run) == [f"{ID} sender_drift low"]


@SEEDS
def test_stale_replays_move_no_clock(seed: int) -> None:
    """S06: captured calls come again with growing age, and some are seen for the first time."""
    run = Run(signed(MONDAY, 5, usual, seed=seed))
    chance = random.Random(seed)
    t = START + HOUR
    old = [
        event(t + i * MINUTE, provider="stripe", rejected="timestamp_stale", signature_ok=True,
              delivery_fp=f"{i % 4:032x}", signature_fp=f"{i % 4:032x}",
              ago=1200 + chance.randrange(170_000))
        for i in range(120)
    ]  # fmt: skip
    fresh = calls(12, 5, t, provider="stripe", rejected="timestamp_stale", signature_ok=True,
                  ago=7200)  # fmt: skip
    run.feed(signed(START, 1, usual, seed=seed + 7), old, fresh)
    assert found(run) == []


@SEEDS
def test_queues_and_retries_are_no_clocks(seed: int) -> None:
    """A queue of ten minutes, an afternoon of slow ones, and an outage with its retries."""

    def queue(chance: random.Random, t: int) -> float:
        if 10 * HOUR <= t - START < 10 * HOUR + 12 * MINUTE:
            return 60 + chance.expovariate(1 / 200)
        if 14 * HOUR <= t - START < 20 * HOUR and chance.random() < 0.5:
            return chance.expovariate(1 / 120)
        return usual(chance, t)

    run = Run(signed(MONDAY, 5, usual, seed=seed, per_hour=60))
    run.feed(signed(START, 2, queue, seed=seed + 7, per_hour=60))
    assert found(run) == []
    again = [call | {"attempt": 3, "provider": "slack"} for call in
             signed(START + 2 * DAY, 0.5, lambda chance, t: 280.0, seed=3)]  # fmt: skip
    run.feed(again)
    assert found(run) == []


def test_a_queue_of_every_afternoon_becomes_a_habit() -> None:
    """What went away and came back is told once or twice in a week, not every day."""

    def slow(chance: random.Random, t: int) -> float:
        return usual(chance, t) + (90 if 13 <= t // HOUR % 24 < 17 else 0)

    run = Run(signed(MONDAY, 5, usual))
    run.feed(signed(START, 7, slow))
    assert 1 <= len(found(run)) <= 2


def test_strangers_cannot_move_it() -> None:
    """Timestamps of calls that prove nothing are anybody's."""
    run = Run(signed(MONDAY, 5, usual))
    for reason in ("signature_invalid", "timestamp_stale", "timestamp_future"):
        run.feed(calls(400, 20, START, provider="stripe", rejected=reason, signature_ok=False,
                       ago=900))  # fmt: skip
    run.feed(signed(START + 3 * HOUR, 1, usual))
    assert found(run) == []


def test_a_sender_that_was_always_late_is_usual() -> None:
    """A clock that is two minutes behind from the first day on is not told."""
    run = Run()
    run.feed(signed(MONDAY, 10, lambda chance, t: 120 + usual(chance, t)))
    assert found(run) == []


def test_signed_bodies_have_no_clock() -> None:
    """Where the body alone is signed, a time is no proof of anything."""
    run = Run(signed(MONDAY, 5, usual, provider="github"))
    run.feed(signed(START, 2, drifts(START, 20, 240), provider="github"))
    assert found(run) == []
