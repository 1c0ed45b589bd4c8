"""Alerts against labels, with alerts made by hand."""

from dataclasses import replace

import pytest

from alerts.alert import Alert, Severity, Status, alert_id
from detectors.benchmark.labels import Allowed, Kind, Label
from detectors.benchmark.score import GRACE, Outcome, score

S = 1_000_000
T = 1_750_000_000 * S
ATTACK = Label(
    "A1", "forged", Kind.ATTACK, "acme", T, T + 60 * S, "spoofed-source",
    ("forged_from_new_network",), deadline_events=5, deadline_s=30.0, at_most=1,
    at=tuple(T + n * S for n in range(60)),
)  # fmt: skip
TRAP = Label("T1", "outage", Kind.TRAP, "shop", T, T + 600 * S)


def alert(
    detector="spoofed-source", reason="forged_from_new_network", *, at=T + 3 * S, sender="acme",
    severity="high", status="open", updated=None, key="k",
):  # fmt: skip
    """Return one state of an alert; equal `key`, detector and opening make the same alert."""
    return Alert(
        id=alert_id(detector, [sender, key], at), detector=detector, reason=reason,
        severity=Severity(severity), score=90.0, confidence=0.9, status=Status(status),
        sender=sender, senders=(sender,), sender_count=1, first_seen=at - S, last_seen=at,
        opened_at=at, updated_at=updated or at, count=3, summary="seen", runbook="docs/r.md#x",
        config="0" * 12,
    )  # fmt: skip


def judged(label, *states):
    """Return the verdict on one label, and the ids of unexpected alerts."""
    result = score([label], states)
    return result.judged[0], [one.alert.id for one in result.unexpected]


def test_an_attack_seen_in_time_is_caught_with_its_delay():
    """The opening's time gives the delay in events, counting from 1, and in seconds."""
    verdict, unexpected = judged(ATTACK, alert())
    assert (verdict.outcome, verdict.delay_events, verdict.delay_s) == (Outcome.CAUGHT, 4, 3.0)
    assert verdict.by == "forged_from_new_network"
    assert not unexpected
    assert verdict.good


def test_no_alert_is_a_miss():
    """Without alerts an attack is missed, and nothing is unexpected."""
    verdict, unexpected = judged(ATTACK)
    assert (verdict.outcome, verdict.alerts, unexpected) == (Outcome.MISSED, (), [])
    assert not verdict.good


@pytest.mark.parametrize("limit", [{"deadline_s": None}, {"deadline_events": None}])
def test_either_deadline_makes_it_late(limit):
    """An alert after the deadline in events, or after that in seconds, is late."""
    verdict, _ = judged(replace(ATTACK, **limit), alert(at=T + 40 * S))
    assert verdict.outcome is Outcome.LATE


def test_exactly_at_the_deadline_is_in_time():
    """The fifth event of five is in time, the sixth is late."""
    assert judged(ATTACK, alert(at=T + 4 * S))[0].outcome is Outcome.CAUGHT
    assert judged(ATTACK, alert(at=T + 5 * S))[0].outcome is Outcome.LATE


def test_another_reason_is_misnamed_until_an_update_corrects_it():
    """The right detector with a wrong reason misnames; an update counts when it was made."""
    wrong = alert(reason="range_drift")
    verdict, unexpected = judged(ATTACK, wrong)
    assert (verdict.outcome, verdict.by, unexpected) == (Outcome.MISNAMED, "range_drift", [])
    right = alert(status="updated", updated=T + 4 * S)
    assert judged(ATTACK, wrong, right)[0].outcome is Outcome.CAUGHT
    assert judged(ATTACK, wrong, right)[0].delay_s == 4.0


def test_severity_counts_from_the_state_that_reaches_it():
    """An info alert that becomes high in an update is caught at that update."""
    label = replace(ATTACK, severity="high")
    info = alert(severity="info", at=T)
    high = alert(severity="high", at=T, status="updated", updated=T + 2 * S)
    assert judged(label, info)[0].outcome is Outcome.MISSED
    verdict, _ = judged(label, info, high)
    assert (verdict.outcome, verdict.delay_events) == (Outcome.CAUGHT, 3)


def test_alerts_outside_the_window_belong_to_nobody():
    """Too early, too late, or another sender: missed, and one unexpected alert."""
    for stray in (alert(at=T - S), alert(at=T + 60 * S + GRACE + 1), alert(sender="other")):
        verdict, unexpected = judged(ATTACK, stray)
        assert (verdict.outcome, unexpected) == (Outcome.MISSED, [stray.id])


def test_more_alerts_than_an_attack_may_take_are_unexpected():
    """The second alert of the same kind exceeds a limit of one."""
    second = alert(at=T + 10 * S, key="other")
    verdict, unexpected = judged(ATTACK, alert(), second)
    assert (verdict.outcome, unexpected) == (Outcome.CAUGHT, [second.id])
    assert len(verdict.alerts) == 2


def test_other_detectors_need_an_allowance():
    """What comes along is unexpected unless the label allows it, up to its severity."""
    along = alert("signature-failure-spike", "forgery")
    assert judged(ATTACK, alert(), along)[1] == [along.id]
    allowed = replace(ATTACK, allowed=(Allowed("signature-failure-spike"),))
    assert judged(allowed, alert(), along)[1] == []
    mild = replace(ATTACK, allowed=(Allowed("signature-failure-spike", "medium"),))
    assert judged(mild, alert(), along)[1] == [along.id]


def test_a_trap_is_quiet_or_disturbed():
    """A trap without alerts is quiet; any alert that is not allowed disturbs it."""
    assert judged(TRAP)[0].outcome is Outcome.QUIET
    noise = alert("payload-volume", "count_high", sender="shop", severity="low")
    verdict, unexpected = judged(TRAP, noise)
    assert (verdict.outcome, unexpected) == (Outcome.DISTURBED, [noise.id])
    assert verdict.by == "payload-volume: count_high (low)"


def test_an_info_disturbs_only_a_trap_that_is_about_it():
    """Info is unexpected but leaves a trap quiet, unless it comes from what must never speak."""
    info = alert("spoofed-source", "range_drift", sender="shop", severity="info")
    verdict, unexpected = judged(TRAP, info)
    assert (verdict.outcome, unexpected) == (Outcome.QUIET, [info.id])
    assert judged(replace(TRAP, never=("spoofed-source",)), info)[0].outcome is Outcome.DISTURBED


def test_an_allowance_covers_so_many_and_not_more():
    """One allowed alert keeps a trap quiet, a second disturbs it; a worse state counts."""
    trap = replace(TRAP, allowed=(Allowed("payload-volume", "low"),))
    one = alert("payload-volume", "count_high", sender="shop", severity="low")
    two = alert("payload-volume", "count_high", sender="shop", severity="low", key="b")
    assert judged(trap, one)[0].outcome is Outcome.QUIET
    assert judged(trap, one, two)[1] == [two.id]
    worse = alert("payload-volume", "count_high", sender="shop", severity="high", status="updated")
    assert judged(trap, one, worse)[0].outcome is Outcome.DISTURBED


def test_unexpected_alerts_are_counted_by_severity_and_the_record_is_plain():
    """Latest states outside all labels count once each, worst first; the record is JSON-able."""
    strays = [
        alert(sender=f"s{n}", severity=level) for n, level in enumerate(["info", "high", "info"])
    ]
    result = score([ATTACK, TRAP], [alert(), *strays], sender_days=48.0)
    assert result.unexpected_by_severity() == {"high": 1, "info": 2}
    assert list(result.unexpected_by_severity()) == ["high", "info"]
    assert (result.alerts, result.count(Outcome.CAUGHT, Outcome.QUIET)) == (4, 2)
    record = result.record()
    assert record["judged"][0]["outcome"] == "caught"
    assert record["unexpected_by_severity"] == {"high": 1, "info": 2}
