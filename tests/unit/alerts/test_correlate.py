"""One attack is one alert, and nothing that lasts is lost behind it."""

from __future__ import annotations

import json
from typing import Any

from alerts.alert import Alert, Quantity, Severity, Status, alert_id
from alerts.correlate import Correlator
from tests.unit.alerts.samples import OPENED, make_alert

SECOND = 1_000_000
HOUR = 3600 * SECOND


def incident(
    sender: str, detector: str, reason: str, at: int = OPENED, *, status: Status = Status.OPEN,
    later: int = 0, **changes: Any,
) -> Alert:  # fmt: skip
    """Return one state of an incident that opened at ``at``."""
    source = changes.pop("source", "203.0.113.0/24")
    fields: dict[str, Any] = {
        "id": alert_id(detector, [sender], at), "detector": detector, "reason": reason,
        "severity": Severity.MEDIUM, "sender": sender, "senders": (sender,), "source": source,
        "sources": (source,), "source_count": 1, "opened_at": at, "first_seen": at,
        "last_seen": at + later, "updated_at": at + later, "status": status, "count": 5,
        "close_reason": "expired" if status is Status.CLOSED else None,
    }  # fmt: skip
    return make_alert(**(fields | changes))


def forged(n: int, **changes: Any) -> Alert:
    """Return the n-th sender's incident of forged calls, a minute after the one before."""
    at = OPENED + n * 60 * SECOND
    return incident(f"s{n}", "spoofed-source", "forged_from_new_network", at, **changes)


def replay_of(sender: str, accepted: float = 3, **changes: Any) -> Alert:
    """Return a sender's replay, of which so many calls were accepted."""
    observed = {"accepted": Quantity(accepted, "events")}
    return incident(sender, "replay-burst", "same_signature", observed=observed, **changes)


def test_a_campaign_over_many_senders_is_two_alerts_at_most() -> None:
    """Two senders are told; with the third the first one's alert becomes the campaign's."""
    told = Correlator().take(forged(n) for n in range(43))
    assert [a.sender for a in told[:2]] == ["s0", "s1"]
    campaign = told[2]
    assert (campaign.id, campaign.status) == (told[0].id, "updated")
    assert (campaign.opened_at, campaign.updated_at) == (OPENED, OPENED + 120 * SECOND)
    assert campaign.sender is None
    assert campaign.source == "203.0.113.0/24"
    assert campaign.senders == ("s0", "s1", "s2")
    assert {a.id for a in told[2:]} == {campaign.id}
    last = told[-1]
    assert (last.status, last.sender_count, len(last.senders)) == ("updated", 24, 20)
    assert "24 senders (203.0.113.0/24) were named in forged calls" in last.summary


def test_a_campaign_ends_with_its_last_member_and_those_told_before_end_too() -> None:
    """Every alert that was opened is closed, and no other."""
    correlator = Correlator()
    opened = correlator.take(forged(n) for n in range(5))
    closed = correlator.take(forged(n, status=Status.CLOSED, later=HOUR) for n in (4, 0, 3, 1, 2))
    assert {a.id for a in opened} == {a.id for a in closed}
    assert all(a.status is Status.CLOSED for a in closed)
    assert correlator.snapshot() == Correlator().snapshot()


def test_different_sources_hours_or_reasons_are_no_campaign() -> None:
    """What has nothing in common is told one by one."""
    apart = [
        *(forged(n, source=f"203.0.{n}.0/24") for n in range(6)),
        *(forged(100 + 90 * n) for n in range(6)),
        *(incident(f"p{n}", "payload-volume", "count_high") for n in range(6)),
    ]
    assert Correlator().take(apart) == apart


def test_a_provider_that_falls_silent_is_named_but_a_format_is_not() -> None:
    """Three silent senders of one vendor are the vendor's silence; of a shared format, chance."""
    silent = [incident(f"s{n}", "sender-silence", "silent", provider="svix") for n in range(3)]
    told = Correlator().take(silent)
    assert told[-1].reason == "provider_silent"
    assert told[-1].provider == "svix"
    generic = [one.model_copy(update={"provider": "standard-webhooks"}) for one in silent]
    assert Correlator().take(generic) == generic


def test_a_graver_member_makes_the_campaign_graver() -> None:
    """A severity that rises in a folded member rises in the campaign; what is critical is told."""
    correlator = Correlator()
    correlator.take(forged(n) for n in range(4))
    (told,) = correlator.take([forged(3, severity=Severity.HIGH, status=Status.UPDATED)])
    assert (told.sender, told.severity, told.status) == (None, "high", "updated")
    own, told = correlator.take([forged(3, severity=Severity.CRITICAL, status=Status.UPDATED)])
    assert (own.sender, own.status) == ("s3", "open")
    assert (told.sender, told.severity, told.status) == (None, "critical", "updated")


def test_a_replay_hides_the_volume_that_it_brings_and_says_so() -> None:
    """While the replay is open its volume is held back, counted, and forgotten when it ends."""
    correlator = Correlator()
    replay = replay_of("acme")
    volume = incident("acme", "payload-volume", "count_high", OPENED + SECOND)
    assert correlator.take([replay, volume]) == [replay]
    over = {"status": Status.CLOSED, "close_reason": "expired"}
    assert correlator.take([volume.model_copy(update=over)]) == []
    (told,) = correlator.take([replay.model_copy(update=over)])
    assert told.suppressed == replay.suppressed + 1
    assert told.summary.endswith("1 consequence not told apart")


def test_calls_with_an_old_key_hide_the_failures_that_they_are() -> None:
    """Of the same sender and network, and no graver; a rotation that began hides nothing."""
    old = incident("s0", "stale-key", "old_key_new_network", severity=Severity.HIGH)
    refused = [
        incident("s0", "spoofed-source", "forged_from_new_network", OPENED + SECOND),
        incident("s0", "signature-failure-spike", "forgery", OPENED + SECOND),
    ]
    elsewhere = [one.model_copy(update={"sources": ("192.0.2.0/24",)}) for one in refused]
    began = old.model_copy(update={"reason": "rotation_started"})
    assert Correlator().take([old, *refused]) == [old]
    assert Correlator().take([old, *elsewhere]) == [old, *elsewhere]
    assert Correlator().take([began, *refused]) == [began, *refused]


def test_volume_that_lasts_longer_than_the_replay_is_told() -> None:
    """What was held back and is still there when its cause has ended is no consequence."""
    correlator = Correlator()
    replay = replay_of("acme")
    volume = incident("acme", "payload-volume", "count_high", OPENED + SECOND)
    correlator.take([replay, volume])
    over = {"status": Status.CLOSED, "close_reason": "expired"}
    assert correlator.take([replay.model_copy(update=over)])[1:] == [volume]
    graver = volume.model_copy(update={"severity": Severity.HIGH, "status": Status.UPDATED})
    correlator.take([replay, volume])
    (told,) = correlator.take([graver])
    assert (told.id, told.status) == (volume.id, "open")
    ended = volume.model_copy(update=over)
    assert correlator.take([ended]) == [ended]


def test_other_senders_earlier_or_graver_findings_are_not_hidden() -> None:
    """A replay explains no other sender's volume, none from before it, and nothing graver."""
    correlator = Correlator()
    before = incident("acme", "payload-volume", "count_high", OPENED - SECOND)
    replay = replay_of("acme")
    other = incident("shop", "payload-volume", "count_high", OPENED + SECOND)
    graver = incident(
        "acme", "payload-volume", "size_high", OPENED + SECOND, severity=Severity.HIGH
    )
    update = before.model_copy(update={"status": Status.UPDATED})
    stream = [before, replay, other, graver, update]
    assert correlator.take(stream) == stream


def test_a_restart_in_between_changes_nothing() -> None:
    """With a snapshot and a restore after each alert the same is told."""
    stream = [
        *(forged(n) for n in range(9)),
        replay_of("acme"),
        incident("acme", "payload-volume", "count_high", OPENED + SECOND),
        *(forged(n, status=Status.CLOSED, later=HOUR) for n in range(9)),
        replay_of("acme", status=Status.CLOSED, later=HOUR),
    ]
    whole = Correlator().take(stream)
    told: list[Alert] = []
    correlator = Correlator()
    for alert in stream:
        told += correlator.take([alert])
        state = json.loads(json.dumps(correlator.snapshot()))
        correlator = Correlator()
        correlator.restore(state)
    assert told == whole


def test_what_is_on_trial_hides_nothing() -> None:
    """A replay in shadow mode is no cause, and forged calls in shadow mode are no campaign."""
    replay = incident("s0", "replay-burst", "same_signature", shadow=True)
    volume = incident("s0", "payload-volume", "campaign", OPENED + SECOND)
    trials = [forged(n, shadow=True) for n in range(5)]
    assert Correlator().take([replay, volume, *trials]) == [replay, volume, *trials]


def test_a_refused_replay_hides_no_accepted_volume() -> None:
    """What was refused brings no calls along; sizes are no consequence of any replay."""
    volume = incident("acme", "payload-volume", "count_high", OPENED + SECOND)
    size = incident("acme", "payload-volume", "size_high", OPENED + SECOND)
    refused = replay_of("acme", 0)
    assert Correlator().take([refused, volume, size]) == [refused, volume, size]
    accepted = replay_of("acme")
    assert Correlator().take([accepted, volume, size]) == [accepted, size]


def test_a_member_that_turns_into_something_else_is_told() -> None:
    """A folded forgery that becomes a valid call from a new network is an alert of its own."""
    correlator = Correlator()
    correlator.take(forged(n) for n in range(5))
    turned = forged(4, status=Status.UPDATED).model_copy(
        update={"reason": "valid_from_new_network"}
    )
    (told,) = correlator.take([turned])
    assert (told.id, told.status, told.reason) == (turned.id, "open", "valid_from_new_network")


def test_the_first_of_a_campaign_has_no_other_states_of_its_own() -> None:
    """Under the campaign's id no state is told of that one sender, whatever becomes of it."""
    correlator = Correlator()
    first, *_ = correlator.take(forged(n) for n in range(5))
    turned = forged(0, status=Status.UPDATED, severity=Severity.CRITICAL).model_copy(
        update={"reason": "valid_from_new_network"}
    )
    (told,) = correlator.take([turned])
    assert (told.id, told.sender, told.severity) == (first.id, None, "critical")
    ended = forged(0, status=Status.CLOSED, later=HOUR)
    assert correlator.take([ended, ended]) == []
    rest = correlator.take(forged(n, status=Status.CLOSED, later=HOUR) for n in range(1, 5))
    assert [(a.id, a.sender) for a in rest] == [(forged(1).id, "s1"), (first.id, None)]


def test_a_campaign_does_not_swallow_what_comes_days_later() -> None:
    """One member that stays open for days does not fold the incidents of other days."""
    correlator = Correlator()
    correlator.take(forged(n) for n in range(5))
    late = forged(3 * 24 * 60)
    assert correlator.take([late]) == [late]


def test_what_is_held_back_can_be_given_up() -> None:
    """At the end of a router's life nothing is kept back for ever."""
    correlator = Correlator()
    volume = incident("acme", "payload-volume", "count_high", OPENED + SECOND)
    correlator.take([replay_of("acme"), volume])
    assert correlator.flush() == [volume]
    assert correlator.flush() == []
