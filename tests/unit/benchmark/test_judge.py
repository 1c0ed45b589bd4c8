"""Runs judged: what is right, late, misnamed, allowed, forbidden or only an info."""

from dataclasses import replace

import pytest

from alerts.alert import Alert, Severity, Status
from detectors.benchmark.arrivals import DAY, HOUR, SECOND, Span
from detectors.benchmark.evaluate import poisson_upper
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.judge import judge
from detectors.benchmark.scenario import Allow, Expect, Head, Quiet, Scenario
from detectors.benchmark.stage import Staged
from detectors.benchmark.steps import Forge

START = 20_000 * DAY
WINDOW = Span(START, START + DAY)
AT = tuple(START + 6 * HOUR + n * SECOND for n in range(10))
STEP = Staged("forge", True, ("bank-feed",), frozenset({"192.0.2.0/24"}), AT[0], AT[-1], AT)
EXPECT = Expect(
    detector=("spoofed-source",), reasons=("forged_from_new_network",), severity="medium",
    within_events=5, at_most=1,
)  # fmt: skip


def alert(at, detector="spoofed-source", reason="forged_from_new_network", severity="medium",
          sender="bank-feed", name="a", updated=None):  # fmt: skip
    """Return one state of an alert."""
    return Alert(
        id=f"00000000-0000-4000-8000-{name:0>12}", detector=detector, reason=reason,
        severity=Severity(severity), score=50.0, confidence=0.5, status=Status.OPEN,
        close_reason=None, sender=sender, senders=(sender,) if sender else (),
        sender_count=1 if sender else 0, provider=None, endpoint=None, source="192.0.2.0/24",
        sources=("192.0.2.0/24",), source_count=1, first_seen=at, last_seen=updated or at,
        opened_at=at, updated_at=updated or at, count=1, suppressed=0, summary="x", expected={},
        observed={}, events=(), threat=(), runbook="r", config="0" * 12,
    )  # fmt: skip


def verdict(*states, expect=(EXPECT,), allow=(), quiet=(), present=("spoofed-source",), **head):
    """Return the verdict on these states."""
    step = Forge(name="forge", at=(0, 0), sender=("bank-feed",), count=10, every=SECOND)
    scenario = Scenario(
        "one", Head(title="t", kind="attack", **head), FLEET, (step,), expect, allow, quiet
    )
    return judge(scenario, 1, [STEP], states, present=frozenset(present), window=WINDOW, events=10)


def test_an_alert_in_time_under_its_name_is_right():
    """The delay is counted in the step's calls and in seconds from the first."""
    found = verdict(alert(AT[3]))
    assert (found.caught, found.quiet) == (True, True)
    assert (found.seen[0].delay_events, found.seen[0].delay_s) == (4, 3.0)
    assert found.seen[0].in_budget
    assert (found.sender_days, found.benign_days) == (len(FLEET), len(FLEET) - 1)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ([alert(AT[7])], "late"),
        ([alert(AT[2], severity="low")], "misnamed"),
        ([alert(AT[2], reason="client_changed")], "misnamed"),
        ([alert(AT[2], sender="stripe-eu")], "missed"),
        ([alert(START + HOUR)], "missed"),
        ([alert(AT[2], severity="low"), alert(AT[2], updated=AT[4])], "caught"),
        ([alert(AT[2], severity="low"), alert(AT[2], updated=AT[6])], "late"),
    ],
)
def test_other_alerts_are_not(states, outcome):
    """Late, too mild, misnamed, on somebody else or before it began; a later state may make up."""
    assert verdict(*states).seen[0].outcome == outcome


def test_a_detector_that_is_not_there_is_told_apart():
    """It is missed all the same."""
    found = verdict(present=("replay-burst",))
    assert (found.seen[0].outcome, found.caught) == ("not there", False)


def test_what_nobody_asked_for_is_forbidden_from_low_upwards():
    """Infos are counted apart, unless the scenario wants that detector quiet."""
    low = alert(AT[9] + 9 * HOUR, "payload-volume", "count_high", "low", name="1")
    info = alert(AT[9] + 9 * HOUR, "payload-volume", "count_high", "info", name="2")
    good = alert(AT[1])
    assert [one["severity"] for one in verdict(good, low, info).forbidden] == ["low"]
    assert verdict(good, low, info).infos == 1
    quiet = Quiet(detectors=("payload-volume",))
    assert len(verdict(good, low, info, quiet=(quiet,)).forbidden) == 2
    elsewhere = replace(quiet, senders=("stripe-eu",))
    assert len(verdict(good, low, info, quiet=(elsewhere,)).forbidden) == 1


def test_days_of_attacks_are_no_benign_days():
    """Of an attack's senders only the days count that it touches; a trap's days are all benign."""
    assert verdict(alert(AT[3])).attacked_days == 1.0
    assert verdict(expect=()).attacked_days == 1.0
    scenario = Scenario("one", Head(title="t", kind="trap"), FLEET, (), (), (), ())
    trap = replace(STEP, attack=False, end=AT[0] + 3 * DAY)
    window = Span(START, START + 5 * DAY // 2)
    seen = [judge(scenario, 1, [step], [], present=frozenset(), window=window, events=1)
            for step in (trap, replace(trap, attack=True))]  # fmt: skip
    assert [one.attacked_days for one in seen] == [0.0, 2.5]


def test_an_allowance_covers_so_many_up_to_a_severity():
    """One more, or one that is worse, is forbidden."""
    pair = [
        alert(AT[2], "payload-volume", "count_high", "low", name=name) for name in ("1", "2")
    ]  # fmt: skip
    allow = Allow(detector="payload-volume", worst="low")
    assert verdict(alert(AT[1]), pair[0], allow=(allow,)).quiet
    assert not verdict(alert(AT[1]), *pair, allow=(allow,)).quiet
    worse = alert(AT[2], "payload-volume", "count_high", "high", name="3")
    assert not verdict(alert(AT[1]), worse, allow=(allow,)).quiet
    other = replace(allow, reasons=("size_high",))
    assert not verdict(alert(AT[1]), pair[0], allow=(other,)).quiet


def test_more_alerts_than_one_incident_needs_are_forbidden():
    """Both per expectation and over the whole scenario."""
    two = [alert(AT[1], name="1"), alert(AT[2], name="2")]
    assert len(verdict(*two).forbidden) == 1
    both = replace(EXPECT, at_most=2)
    assert verdict(*two, expect=(both,)).quiet
    assert not verdict(*two, expect=(both,), alerts_at_most=1).quiet


def test_only_the_five_worst_alerts_of_a_day_are_looked_at():
    """An attack that drowns in worse alerts is found, but not within the budget."""
    noise = [
        alert(AT[0] + n, "payload-volume", "count_high", "high", "stripe-eu", str(n))
        for n in range(1, 6)
    ]
    found = verdict(alert(AT[1]), *noise)
    assert (found.seen[0].good, found.seen[0].in_budget) == (True, False)


@pytest.mark.parametrize(
    ("truth", "states", "taken"),
    [
        ("spoof", [alert(AT[1])], "spoof"),
        ("spoof", [], "drift"),
        ("drift", [alert(AT[1], reason="client_changed")], "spoof"),
        ("drift", [], "drift"),
        ("retry", [alert(AT[1], "replay-burst", "same_signature")], "replay"),
        ("forgery", [alert(AT[1], "signature-failure-spike", "rotation")], "rotation"),
        ("rotation", [alert(AT[1], "signature-failure-spike", "receiver_fault")], "rotation"),
    ],
)
def test_classes_are_told_by_alerts(truth, states, taken):
    """What a step was taken for: an attack that nobody names was taken for its harmless twin."""
    expect = (EXPECT,) if truth == "spoof" else ()
    assert verdict(*states, expect=expect, classes=(truth,)).named == ((truth, taken),)


def test_the_bound_of_a_rate_is_that_of_a_poisson_count():
    """Values of the usual tables (one-sided, 95 %)."""
    table = {0: 2.996, 1: 4.744, 2: 6.296, 5: 10.513, 10: 16.962, 100: 118.08}
    for count, bound in table.items():
        assert poisson_upper(count) == pytest.approx(bound, abs=0.01)
