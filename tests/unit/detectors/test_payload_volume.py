"""payload-volume: sizes, surges and their benign look-alikes, days and seasons."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from alerts.alert import to_rfc3339
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOME,
    HOUR,
    MINUTE,
    MONDAY,
    SECOND,
    STRIPE,
    TUESDAY,
    Event,
    Run,
    at,
    calls,
    event,
    traffic,
    usual_of,
    warm,
)

ID = "payload-volume"
OFFICE = (0.07,) * 7 + (0.3, 0.6, 1, 1, 1, 0.8, 0.8, 1, 1, 0.8, 0.6, 0.3) + (0.15,) * 5


def week(
    start: int, days: int, seed: int, *, shift: int = 0, holidays: Sequence[int] = ()
) -> Iterator[Event]:
    """Yield an office's calls: quiet nights, weekends and holidays, a peak on Mondays."""
    chance = random.Random(seed)
    for call in traffic(start, days=days, per_hour=30, seed=seed):
        day, hour = (at(call) - MONDAY) // DAY, at(call) // HOUR
        share = 0.55 * OFFICE[(hour + shift) % 24]
        if day % 7 >= 5 or day in holidays:
            share *= 0.15
        if day % 7 == 0:
            share *= 1.8
        if chance.random() < share:
            yield call


def test_oversized_payloads() -> None:
    """S10: the first of twenty payloads of 75 times the usual size is found; three are medium."""
    run = warm("stripe", STRIPE)
    big = calls(20, 60, provider="stripe", ago=2, source_ip=STRIPE[0], body_bytes=150_000)
    run.feed(big)
    assert run.opened(ID, "size_high") == 1
    assert run.loud() == [f"{ID} size_high medium"]
    medium = next(alert for alert in run.alerts if alert.severity == "medium")
    assert sum(at(call) <= medium.updated_at for call in big) <= 3


def test_sizes_are_judged_by_event_type() -> None:
    """What is usual for one type is found in another; a new type is not judged by the others."""
    run = Run(
        traffic(days=10, event_type="small"),
        traffic(days=10, seed=2, event_type="export", body_bytes=900_000),
    )
    start = MONDAY + 10 * DAY
    run.feed(calls(5, 300, start, event_type="export", body_bytes=900_000))
    run.feed(calls(5, 300, start + HOUR, event_type="brand.new", body_bytes=900_000))
    assert run.of(ID) == []
    run.feed(calls(3, 300, start + 2 * HOUR, event_type="small", body_bytes=900_000))
    assert run.loud() == [f"{ID} size_high medium"]


def test_less_than_a_kibibyte_more_harms_nobody() -> None:
    """Twenty times a tiny body is still tiny."""
    run = Run(traffic(days=10, body_bytes=20))
    run.feed(calls(20, 60, MONDAY + 10 * DAY, body_bytes=400))
    assert run.incidents == []


def test_a_campaign_is_one_low_alert() -> None:
    """S18: fourteen hours of eight times the volume from the usual networks."""
    run = warm()
    run.feed(
        traffic(TUESDAY, days=14 / 24, per_hour=160, seed=3),
        traffic(TUESDAY + 14 * HOUR, days=3, per_hour=20, seed=5),
    )
    assert run.loud() == [f"{ID} campaign low"]


def test_a_flood_from_elsewhere_is_medium() -> None:
    """The same volume from networks that are not the sender's is no campaign."""
    run = warm()
    run.feed(
        traffic(TUESDAY, days=2 / 24, per_hour=160, seed=3, ips=("203.0.113.1", "203.0.113.2"))
    )
    assert f"{ID} count_high medium" in run.loud()


def test_a_backfill_is_an_info() -> None:
    """S19: twenty times the volume about events of weeks ago."""
    run = warm("stripe", STRIPE)
    chance = random.Random(1)
    old = [
        event(TUESDAY + 9 * i * SECOND, provider="stripe", ago=2, source_ip=chance.choice(STRIPE),
              body_bytes=int(chance.lognormvariate(7.9, 0.4)),
              event_created_at=to_rfc3339(TUESDAY - chance.randrange(14, 60) * DAY))
        for i in range(1600)
    ]  # fmt: skip
    run.feed(old, traffic(TUESDAY, days=0.25, seed=4, ips=STRIPE, **usual_of("stripe")))
    assert [(a.reason, a.severity.value) for a in run.incidents] == [("backfill", "info")]


@pytest.mark.parametrize(
    ("shift", "holidays"),
    [(0, ()), (1, ()), (-1, ()), (0, (30, 31, 37))],
    ids=["usual", "DST ahead", "DST back", "holidays"],
)
def test_days_weeks_clock_changes_and_holidays(shift: int, holidays: tuple[int, ...]) -> None:
    """S20: an office's course, its Mondays, a clock change and holidays raise nothing."""
    run = Run(week(MONDAY, 28, 1))
    run.feed(week(MONDAY + 28 * DAY, 14, 2, shift=shift, holidays=holidays))
    assert run.loud() == []


def test_a_nightly_batch_that_moves_by_an_hour() -> None:
    """S20: two hundred calls at two become two hundred calls at three."""

    def nights(first: int, last: int, hour: int) -> Iterator[Event]:
        for day in range(first, last):
            yield from calls(200, 11, MONDAY + day * DAY + hour * HOUR + day * SECOND)

    run = Run(nights(0, 20, 2))
    run.feed(nights(20, 30, 3))
    assert run.loud() == []


def test_two_calls_instead_of_one_are_nothing() -> None:
    """A sparse sender that calls twice, or ten times, in an hour stays below the floor."""
    run = Run(calls(40, 12 * 3600, MONDAY))
    run.feed(calls(19, 60, MONDAY + 21 * DAY))
    assert run.incidents == []


def test_nothing_is_said_of_counts_before_three_days() -> None:
    """A sender with two days of history may do as it likes."""
    run = Run(traffic(days=2))
    run.feed(traffic(MONDAY + 2 * DAY, days=0.5, per_hour=600, seed=5))
    assert run.of(ID) == []


def test_late_calls_count_in_their_hour() -> None:
    """Calls of the next hour that come before the hour's tick do not add to it."""
    run = warm()
    hour = TUESDAY + HOUR
    run.feed(calls(40, 1, hour - 60 * SECOND), calls(40, 1, hour + SECOND))
    assert run.incidents == []


def test_sampled_calls_weigh_what_they_stand_for() -> None:
    """One call in ten, each saying so, is the same volume."""
    run = warm()
    run.feed(calls(12, 60, TUESDAY, sample_rate=0.1))
    assert [a.reason for a in run.of(ID)] == ["campaign"]
    run = warm()
    run.feed(traffic(TUESDAY, days=2, per_hour=2, seed=3, sample_rate=0.1))
    assert run.loud() == []


def test_rejected_calls_are_no_volume() -> None:
    """A flood of forged calls says nothing about what the sender sends."""
    run = warm()
    run.feed(calls(2000, 1, rejected="signature_invalid", source_ip=ELSEWHERE, body_bytes=10**7))
    assert run.of(ID) == []


def test_the_surge_is_not_learned() -> None:
    """While the incident is open the course of the day stays what it was."""
    run = warm()
    row = run.core.table(("sender",)).rows[ID]
    before = row[0]["hours"].tolist()
    run.feed(traffic(TUESDAY, days=1, per_hour=200, seed=3))
    row = run.core.table(("sender",)).rows[ID]
    assert int(row[0]["opened_at"]) != 0
    moved = [
        n for n, (a, b) in enumerate(zip(before, row[0]["hours"].tolist(), strict=True)) if a != b
    ]
    assert len(moved) <= 1  # the hour in which it began
    assert run.loud() == [f"{ID} campaign low"]


def test_a_level_that_stays_for_a_week_is_adopted() -> None:
    """Seven days at five times the volume: closed as level_adopted, and usual from then on."""
    run = warm()
    run.feed(traffic(TUESDAY, days=12, per_hour=100, seed=3))
    (found,) = run.of(ID)
    assert (found.status.value, found.close_reason) == ("closed", "level_adopted")
    assert 7 * DAY - 2 * HOUR <= found.updated_at - found.opened_at <= 8 * DAY
    run.feed(traffic(TUESDAY + 12 * DAY, days=1, per_hour=900, seed=4))
    assert len(run.of(ID)) == 2


def test_a_size_that_stays_for_a_week_is_adopted() -> None:
    """Seven days of payloads twenty times as large: closed as level_adopted, and usual then."""
    run = warm()
    run.feed(traffic(TUESDAY, days=9, seed=3, body_bytes=60_000))
    (found,) = run.of(ID)
    assert (found.reason, found.close_reason) == ("size_high", "level_adopted")
    assert 7 * DAY <= found.updated_at - found.opened_at <= 7 * DAY + 2 * HOUR
    run.feed(traffic(TUESDAY + 9 * DAY, days=1, seed=4, body_bytes=60_000))
    assert len(run.of(ID)) == 1


def test_the_size_baseline_stands_still_while_an_incident_is_open() -> None:
    """Large payloads move nothing that they are judged by."""
    run = warm()
    types = run.core.table(("sender", "event_type")).rows[ID]
    before = types[0]["mean"].item(), types[0]["var"].item()
    run.feed(calls(100, 60, body_bytes=300_000))
    types = run.core.table(("sender", "event_type")).rows[ID]
    assert int(types[0]["opened_at"]) != 0
    assert (types[0]["mean"].item(), types[0]["var"].item()) == before


def test_cold_and_warming_sizes_are_held_back() -> None:
    """A size finding is medium at most below 300 events, and not made below 30."""
    for events, worst in ((20, []), (40, ["low", "medium"]), (320, ["medium"])):
        run = Run(calls(events, 600, MONDAY, body_bytes=1000))
        run.feed(calls(6, 60, MONDAY + 5 * DAY, body_bytes=5_000_000))
        found = [a.severity.value for a in run.of(ID)]
        assert (found == []) == (worst == [])
        assert all(severity in worst for severity in found)


def test_next_to_no_calls_for_hours() -> None:
    """A busy, seasoned sender that misses a whole day is an info, opened by the clock itself."""
    run = warm(per_hour=120, days=22)
    run.feed([event(MONDAY + 22 * DAY, sender="somebody else")])
    run.until(MONDAY + 22 * DAY + 25 * HOUR)
    (found,) = run.of(ID)
    assert (found.reason, found.severity.value, found.sender) == ("count_low", "info", "acme")
    assert found.events == ()
    assert found.opened_at == MONDAY + 22 * DAY + 24 * HOUR


def test_sizes_of_many_types_close_by_the_clock() -> None:
    """More rows of event types than senders: their timers fire and name the right sender."""
    types = [f"type-{n}" for n in range(100)]
    run = Run(
        event(MONDAY + n * MINUTE, event_type=types[n % 100], body_bytes=1000) for n in range(4000)
    )
    start = MONDAY + 3 * DAY
    for n, name in enumerate(types):
        run.feed([event(start + n * SECOND, event_type=name, body_bytes=5_000_000)])
    run.until(start + 4 * HOUR)
    found = run.of(ID)
    assert len(found) == 100
    assert {(a.sender, a.status.value, a.close_reason) for a in found} == {
        ("acme", "closed", "expired")
    }


def test_the_senders_own_network_of_the_range_is_no_flood() -> None:
    """A surge spread over all of the sender's networks is a campaign, no flood from elsewhere."""
    run = warm(None, HOME)
    run.feed(traffic(TUESDAY, days=3 / 24, per_hour=120, seed=6, ips=HOME))
    assert run.loud() == [f"{ID} campaign low"]


def test_missing_calls_are_told_until_they_come_again() -> None:
    """An incident of missing calls lasts as long as they are missing, and ends with the first."""
    run = warm(per_hour=120, days=22)
    end = MONDAY + 22 * DAY
    run.feed([event(end, sender="somebody else")])
    run.until(end + 40 * HOUR)
    assert [a.status.value for a in run.of(ID)] == ["open"]
    back = end + 40 * HOUR + 25 * MINUTE
    run.feed(traffic(back, days=0.2, per_hour=120, seed=4))
    (found,) = run.of(ID)
    assert (found.status.value, found.close_reason) == ("closed", "contradicted")
    assert back <= found.updated_at <= back + 20 * MINUTE


@pytest.mark.parametrize("seed", range(4))
def test_sampled_senders_vary_more(seed: int) -> None:
    """One call in fifty of a steady sender: chance alone brings no surge in twenty days."""
    run = Run(traffic(days=15, per_hour=2, seed=seed, sample_rate=0.02))
    run.feed(traffic(MONDAY + 15 * DAY, days=20, per_hour=2, seed=seed + 9, sample_rate=0.02))
    assert run.of(ID) == []


def test_rejected_calls_warm_nothing() -> None:
    """A thousand rejected calls do not make the sizes of forty accepted ones well known."""
    run = Run(
        calls(40, 7200, MONDAY, body_bytes=1000),
        calls(1000, 60, MONDAY, rejected="signature_invalid"),
    )
    run.feed(calls(6, 60, MONDAY + 5 * DAY, body_bytes=5_000_000))
    (found,) = run.of(ID)
    assert found.severity == "medium"
    assert found.confidence < 0.7


def ramp(start: int, days: int, per_day: float, seed: int = 3, size: float = 1.0) -> list[Event]:
    """Return calls whose number, and whose size, grow by so much a day."""
    made = []
    for day in range(days):
        rate = 20 * (1 + per_day) ** day
        for call in traffic(start + day * DAY, days=1, per_hour=rate, seed=seed + day):
            call["body_bytes"] = int(call["body_bytes"] * size**day)
            made.append(call)
    return made


def test_a_slow_ramp_of_calls_is_told_within_a_month() -> None:
    """Sx2: 3 % more calls a day for 30 days are news by the end, as an info, and only twice."""
    run = warm(days=15)
    run.feed(ramp(MONDAY + 15 * DAY, 30, 0.03))
    found = run.of(ID)
    assert {(a.reason, a.severity.value) for a in found} == {("count_drift", "info")}
    assert len(found) <= 2
    run = warm(days=15)
    run.feed(ramp(MONDAY + 15 * DAY, 30, 0.0))
    assert run.incidents == []


def test_a_slow_ramp_of_sizes_is_told_within_a_month() -> None:
    """Sx2: payloads that grow by 3 % a day for 30 days are news by the end."""
    run = warm(days=15)
    run.feed(ramp(MONDAY + 15 * DAY, 30, 0.0, size=1.03))
    assert {(a.reason, a.severity.value) for a in run.of(ID)} == {("size_drift", "info")}
