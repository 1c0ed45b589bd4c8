"""signature-failure-spike: forgery, rotation, receivers and clocks told apart."""

from __future__ import annotations

import random
from statistics import median

import pytest

from detectors.core import Core
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
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

ID = "signature-failure-spike"
BAD = {"rejected": "signature_invalid"}


def with_failures(
    share: float, days: float, start: int = TUESDAY, seed: int = 1, per_hour: float = 20
) -> list[Event]:
    """Return the sender's usual calls of which a share fails."""
    chance = random.Random(seed)
    made = []
    for call in traffic(start, days=days, seed=seed + 10, per_hour=per_hour, provider="svix"):
        if chance.random() < share:
            call |= {"verdict": "rejected", "reason": "signature_invalid", "signature_ok": False}
        made.append(call)
    return made


def test_a_rotation_without_overlap() -> None:
    """S15: every call from known networks fails: found by the fifth, and called a rotation."""
    run = warm("svix", per_hour=60)
    broken = traffic(TUESDAY, days=0.5 / 24, per_hour=60, seed=5, **BAD, **usual_of("svix"))
    healed = traffic(TUESDAY + 30 * MINUTE, days=3 / 24, per_hour=60, seed=6, **usual_of("svix"))
    run.feed(broken, healed)
    assert (run.opened(ID, "rotation") or 99) <= 5
    assert run.loud() == [f"{ID} rotation medium"]
    run.until(TUESDAY + 4 * HOUR)
    assert run.of(ID)[0].close_reason == "expired"


def test_a_rotation_with_overlap() -> None:
    """S14: two keys and 3 % of transient failures are not worth more than low."""
    run = warm("stripe", STRIPE)
    chance = random.Random(1)
    day = list(traffic(TUESDAY, days=1, seed=4, ips=STRIPE, **usual_of("stripe")))
    for call in day:
        call["key_id"] = "new" if chance.random() < (at(call) - TUESDAY) / DAY else "old"
        if chance.random() < 0.03:
            call |= {"verdict": "rejected", "reason": "signature_invalid", "signature_ok": False}
    run.feed(day)
    assert all(alert.severity <= "low" for alert in run.incidents)
    assert {alert.reason for alert in run.of(ID)} <= {"rotation"}


def test_a_new_receiver_version_that_breaks_verification() -> None:
    """Failures at a build that never verified this sender are the receiver's fault."""
    run = warm("svix", per_hour=60)
    run.feed(calls(40, 60, provider="svix", receiver="hooks/1.5@a", **BAD))
    assert run.loud() == [f"{ID} receiver_fault medium"]


def test_signatures_that_get_lost_on_the_way() -> None:
    """Calls from known networks without a signature point to a proxy, not to an attacker."""
    run = warm("svix", per_hour=60)
    run.feed(calls(40, 60, provider="svix", rejected="signature_missing"))
    assert run.loud() == [f"{ID} receiver_fault medium"]


def test_a_clock_that_is_off() -> None:
    """Right signatures with a timestamp in the future, all alike, are a clock."""
    run = warm("svix", per_hour=60)
    run.feed(calls(40, 60, provider="svix", rejected="timestamp_future", signature_ok=True,
                   ago=-900))  # fmt: skip
    assert set(run.loud()) == {f"{ID} clock medium", "clock-skew sender_drift low"}


def test_the_usual_failures_of_a_sender_are_quiet() -> None:
    """A sender that has always failed now and then raises nothing with the same share."""
    run = Run(with_failures(0.04, 20, MONDAY))
    run.feed(with_failures(0.04, 10, MONDAY + 20 * DAY, seed=3))
    assert run.loud() == []


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_attack_is_not_learned(share: float) -> None:
    """While a spike is open the usual share stands still; afterwards it is as it was."""
    run = warm("svix")
    row = run.core.table(("sender",)).rows[ID]
    before = float(row[0]["n"]), float(row[0]["f"])
    run.feed(with_failures(share, 2))
    assert run.of(ID)
    row = run.core.table(("sender",)).rows[ID]
    open_now = int(row[0]["opened_at"]) != 0
    assert not open_now or (float(row[0]["n"]), float(row[0]["f"])) == before
    run.feed(traffic(TUESDAY + 2 * DAY, days=3, seed=8, provider="svix"))
    row = run.core.table(("sender",)).rows[ID]
    assert float(row[0]["f"]) - before[1] <= 0.002 * float(row[0]["n"])
    assert {a.status.value for a in run.of(ID)} == {"closed"}


def test_a_failure_that_lasts_a_week_becomes_the_senders_noise() -> None:
    """After 7 days it closes as chronic; the same share raises nothing then."""
    run = warm("svix", per_hour=60, days=5)
    run.feed(with_failures(0.3, 12, MONDAY + 5 * DAY, per_hour=60))
    found = run.of(ID)
    assert [a.close_reason for a in found] == ["chronic"]
    assert 7 * DAY <= found[0].updated_at - found[0].opened_at <= 7 * DAY + MINUTE
    assert found[0].count > 100


def test_two_failures_are_no_spike() -> None:
    """Two failures in a row of a warm sender, and three of a cold one, are quiet."""
    run = warm("svix")
    run.feed(calls(2, 1, provider="svix", **BAD))
    run.feed(calls(19, 1, sender="new", **BAD))
    assert run.of(ID) == []


def test_a_cold_sender_needs_twenty_failures() -> None:
    """S25: the 20th failure in a row of a sender without history is one, and low at most."""
    run = Run(traffic(sender="old", days=3))
    run.feed(calls(29, 20, MONDAY + 3 * DAY, sender="new", source_ip=ELSEWHERE, **BAD))
    assert run.opened(ID) == 20
    assert all(alert.severity <= "low" for alert in run.incidents)


def test_senders_do_not_share_their_shares() -> None:
    """A spike of one sender leaves the rows of every other sender as they were."""
    run = warm("svix")
    run.feed(traffic(TUESDAY, days=1, sender="beta", provider="svix"))
    beta = run.core.table(("sender",)).rows[ID][1].tobytes()
    run.feed(calls(200, 1, TUESDAY + DAY, provider="svix", source_ip=ELSEWHERE, **BAD))
    assert run.of(ID)
    assert run.core.table(("sender",)).rows[ID][1].tobytes() == beta


def test_rejections_that_say_nothing_about_the_signature_do_not_count() -> None:
    """Too large, rate limited, duplicate, wrong schema: no failure of proof."""
    run = warm("svix")
    reasons = ("body_too_large", "rate_limited", "duplicate_delivery", "schema_invalid", "other")
    run.feed(
        event(TUESDAY + i * SECOND, provider="svix", rejected=reasons[i % 5]) for i in range(300)
    )
    assert run.of(ID) == []


def test_an_update_comes_with_the_next_minute_when_the_count_has_doubled() -> None:
    """100 failures in 100 s are a handful of states, not a hundred."""
    run = warm("svix")
    run.feed(calls(100, 1, provider="svix", source_ip=ELSEWHERE, **BAD))
    run.until(TUESDAY + 10 * MINUTE)
    states = [alert for alert in run.alerts if alert.detector == ID]
    assert len({alert.id for alert in states}) == 1
    assert len(states) <= 5
    assert states[-1].count == 100


@pytest.mark.parametrize(("share", "per_hour"), [(0.3, 5), (1.0, 20)])
def test_a_sparse_or_total_failure_is_one_incident_and_stays_chronic(
    share: float, per_hour: float
) -> None:
    """One incident, closed as chronic after 7 days; the same share raises nothing in two weeks."""
    run = warm("svix", per_hour=per_hour)
    run.feed(with_failures(share, 22, per_hour=per_hour))
    assert [(a.severity.value, a.close_reason) for a in run.of(ID)] == [("medium", "chronic")]


def test_a_chronic_forgery_hides_no_rotation() -> None:
    """Forged calls that never end become a noise apart; the sender's own failures are news."""
    run = warm("svix")
    forged = calls(20 * 24 * 6, 600, provider="svix", source_ip=ELSEWHERE, **BAD)
    own = list(traffic(TUESDAY, days=20, seed=3, provider="svix"))
    run.feed(forged, own)
    assert [a.close_reason for a in run.of(ID)] == ["chronic"]
    rotated = traffic(TUESDAY + 20 * DAY, days=0.5, seed=4, provider="svix", **BAD)
    more = calls(72, 600, TUESDAY + 20 * DAY, provider="svix", source_ip=ELSEWHERE, **BAD)
    run.feed(rotated, more)
    assert [a.reason for a in run.of(ID)] == ["forgery", "rotation"]


def test_onboarding_with_wrong_signatures_is_quiet() -> None:
    """S25: a quarter of a new sender's first calls fails, for a day; more than info is too much."""
    run = Run(traffic(sender="old", days=3))
    start = MONDAY + 3 * DAY
    for n in range(5):
        chance = random.Random(n)
        bursts = [
            event(start + (hour * 60 + chance.randrange(20)) * MINUTE + k * 7 * SECOND, f"new-{n}",
                  provider="svix", **(BAD if chance.random() < 0.25 else {}))
            for hour in range(9, 19) for k in range(20)
        ]  # fmt: skip
        run.feed(bursts)
    later = [traffic(start + DAY, days=2, sender=f"new-{n}", provider="svix") for n in range(5)]
    run.feed(*later)
    assert run.of(ID) == []
    # each sender is fed for itself, so most of the records are late ones
    assert run.loud() in ([], ["pipeline-health late_data low"])


def test_an_onboarded_sender_is_watched_from_its_second_day() -> None:
    """What failed while it was integrated does not hide a total failure on the third day.

    A median: a call in some hundreds passes for one that failed before, by the few bits kept of it.
    """
    chance = random.Random(5)
    first = list(traffic(days=1, provider="svix"))
    for call in first:
        if chance.random() < 0.25:
            call |= {"verdict": "rejected", "reason": "signature_invalid", "signature_ok": False}
    run = Run(first, traffic(MONDAY + DAY, days=1, seed=2, provider="svix"))
    kept, found = run.core.snapshot(), []
    for _ in range(5):
        run.core = Core.restore(run.core.config, kept)
        run.alerts.clear()
        run.values.clear()
        run.feed(calls(10, 30, MONDAY + 2 * DAY, provider="svix", **BAD))
        found.append(run.opened(ID) or 99)
    assert median(found) <= 8


@pytest.mark.parametrize("seed", range(8))
def test_a_rotation_with_transient_failures_is_an_info_at_most(seed: int) -> None:
    """S14: 3 % of failures for two days are told once a day at most, and never as low."""
    run = warm("svix")
    run.feed(with_failures(0.03, 2, seed=seed))
    assert run.loud() == []
    assert len(run.of(ID)) <= 1


@pytest.mark.parametrize(("share", "by"), [(1.0, 4), (0.5, 10)])
def test_how_soon_a_spike_is_found(share: float, by: int) -> None:
    """Median of 31 runs: total failure by the 4th call, 50 % by the 10th, at 0.5 % usual ones."""
    run = Run(with_failures(0.005, 15, MONDAY, per_hour=40, seed=7))
    kept = run.core.snapshot()
    found = []
    for seed in range(31):
        run.core = Core.restore(run.core.config, kept)
        run.alerts.clear()
        run.values.clear()
        run.feed(with_failures(share, 0.05, MONDAY + 15 * DAY, per_hour=960, seed=seed))
        found.append(run.opened(ID) or 999)
    assert sorted(found)[15] <= by


def test_a_slow_ramp_of_failures_is_told_within_a_month() -> None:
    """Sx2: failures that grow by 3 % a day for 30 days are news by the end, steady ones are not."""
    for growth, told in ((1.03, {("drift", "info")}), (1.0, set())):
        run = Run(with_failures(0.02, 15, MONDAY, per_hour=40))
        for day in range(30):
            start = MONDAY + (15 + day) * DAY
            run.feed(with_failures(0.02 * growth**day, 1, start, seed=day, per_hour=40))
        assert {(a.reason, a.severity.value) for a in run.of(ID)} == told
        assert len(run.of(ID)) <= 2


def test_earlier_calls_do_not_dilute_a_total_failure() -> None:
    """S15: one failure an hour before leaves a chart above 0; the fourth in a row is medium yet."""
    run = warm("svix", per_hour=60)
    run.feed(
        calls(1, 1, provider="svix", **BAD),
        traffic(TUESDAY + SECOND, days=0.5 / 24, per_hour=60, seed=5, provider="svix"),
        calls(6, 60, TUESDAY + HOUR, provider="svix", **BAD),
    )
    assert [a.severity.value for a in run.of(ID)] == ["medium"]
