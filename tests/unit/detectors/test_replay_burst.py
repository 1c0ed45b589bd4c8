"""replay-burst: what is a replay under each way of signing, and what is a retry."""

from __future__ import annotations

import random

import pytest

from alerts.alert import to_rfc3339
from detectors.config import Config, StreamSettings
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    GITHUB,
    HOME,
    HOUR,
    MINUTE,
    SECOND,
    STRIPE,
    TUESDAY,
    Run,
    at,
    brief,
    calls,
    event,
    fp,
    outage,
    traffic,
    usual_of,
    warm,
)

SAME = {"signature_fp": fp("captured"), "delivery_fp": fp("captured delivery")}


def test_a_captured_call_of_a_provider_that_signs_each_attempt() -> None:
    """S04: the second repeat opens one critical incident, and volume is not the finding."""
    run = warm("stripe", STRIPE)
    captured = {
        "provider": "stripe",
        "source_ip": STRIPE[0],
        "signed_at": to_rfc3339(TUESDAY),
    } | SAME
    run.feed([event(TUESDAY, **captured)], calls(50, 4, TUESDAY + 30 * SECOND, **captured))
    assert run.opened("replay-burst", "same_signature") == 3  # the original and two repeats
    assert run.loud() == ["replay-burst same_signature critical"]


@pytest.mark.parametrize(("provider", "ips"), [("github", GITHUB), ("shopify", HOME)])
def test_a_captured_call_of_a_provider_that_signs_the_body(
    provider: str, ips: tuple[str, ...]
) -> None:
    """S05: from another network the fifth repeat at the latest is a replay."""
    run = warm(provider, ips)
    run.feed(
        [event(TUESDAY, provider=provider, source_ip=ips[0], **SAME)],
        calls(30, 10, TUESDAY + HOUR, provider=provider, source_ip=ELSEWHERE, **SAME),
    )
    assert (run.opened("replay-burst") or 99) <= 1 + 5
    assert run.loud() == ["replay-burst same_signature critical"]


def test_replays_work_from_the_first_event_on() -> None:
    """A check that needs no baseline is not capped for a sender nobody has seen before."""
    run = Run()
    run.feed(calls(6, 3, provider="stripe", ago=2, **SAME))
    assert run.loud() == ["replay-burst same_signature critical"]


def test_refused_replays_are_medium() -> None:
    """Repeats that were all refused did no harm."""
    run = warm("stripe", STRIPE)
    once = {"provider": "stripe", "source_ip": STRIPE[0]} | SAME
    refused = {"verdict": "rejected", "reason": "duplicate_delivery", "signature_ok": True}
    run.feed(
        [event(TUESDAY, **once)], calls(9, 20, TUESDAY + MINUTE, **once, **refused, status=409)
    )
    assert run.loud() == ["replay-burst same_signature medium"]


def stale(n: int, source: str) -> list[dict[str, object]]:
    """Return valid but old signatures whose ages differ."""
    return [
        event(TUESDAY + i * MINUTE, provider="stripe", rejected="timestamp_stale",
              signature_ok=True, source_ip=source,
              signed_at=to_rfc3339(TUESDAY - (20 + 37 * i) * MINUTE))
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("source", [ELSEWHERE, STRIPE[0]])
def test_stale_but_valid_signatures(source: str) -> None:
    """S06: three valid signatures of 20 minutes and older, of different ages, are a replay."""
    run = warm("stripe", STRIPE)
    run.feed(stale(3, source))
    assert (run.opened("replay-burst", "stale_replay") or 99) <= 3
    assert run.loud() == ["replay-burst stale_replay medium"]


def test_a_wrong_clock_is_no_replay() -> None:
    """Stale signatures that are all equally old come from a clock, not from an attacker."""
    run = warm("stripe", STRIPE)
    run.feed(calls(40, 60, provider="stripe", rejected="timestamp_stale", signature_ok=True,
                   source_ip=STRIPE[0], ago=1500))  # fmt: skip
    assert run.of("replay-burst") == []
    assert set(run.loud()) == {
        "signature-failure-spike clock medium",
        "clock-skew sender_drift low",
    }


@pytest.mark.parametrize(
    ("provider", "ips", "gaps"),
    [
        ("stripe", STRIPE, (5, 300, 1800, 7200)),
        ("svix", HOME, (5, 300, 1800, 7200, 18000)),
        ("shopify", HOME, (60, 300, 900, 1800, 3600)),
        ("adyen", HOME, (9, 18, 27, 120, 300, 600, 900, 1800)),
    ],
)
def test_the_retry_flood_after_an_outage_is_quiet(
    provider: str, ips: tuple[str, ...], gaps: tuple[float, ...]
) -> None:
    """S11, S12: 40 minutes of 503 and the retries of all of it raise nothing above info."""
    run = warm(provider, ips, per_hour=60)
    same = provider in ("shopify", "adyen")
    storm = outage(provider, ips, minutes=40, gaps=gaps, same_signature=same)
    after = traffic(TUESDAY + 40 * MINUTE, days=0.25, per_hour=60, seed=3, ips=ips,
                    **usual_of(provider))  # fmt: skip
    run.feed(storm, after)
    run.until(TUESDAY + 8 * HOUR)
    assert len(storm) > 100
    assert run.loud() == []


@pytest.mark.parametrize(("provider", "ips"), [("shopify", HOME), ("stripe", STRIPE)])
def test_replays_hidden_in_a_retry_storm(provider: str, ips: tuple[str, ...]) -> None:
    """S07: repeats from elsewhere among true retries are found within 20, and only they."""
    run = warm(provider, ips, per_hour=60)
    storm = outage(
        provider, ips, minutes=40, gaps=(60, 300, 900, 1800), same_signature=provider == "shopify"
    )
    victims = [call for call in storm if call["status"] == 200][:20]
    replays = [
        victim | {"id": event(0)["id"], "source_ip": ELSEWHERE, "attempt": 1,
                  "received_at": to_rfc3339(at(victim) + 2 * MINUTE + i * 7 * SECOND)}
        for i, victim in enumerate(victims)
    ]  # fmt: skip
    run.feed(storm, replays)
    found = run.of("replay-burst")
    assert found
    assert sum(at(replay) <= found[0].opened_at for replay in replays) <= 20
    assert {alert.severity.value for alert in found} == {"critical"}
    true = {call["id"] for call in storm}
    assert not true & {id_ for alert in found for id_ in alert.events}
    assert {brief(alert) for alert in found} == set(run.loud())


def test_manual_redelivery_of_many_events() -> None:
    """S13a: a person redelivers 500 events with their delivery ids: at most an info."""
    run = warm("github", GITHUB, per_hour=60)
    first = list(traffic(TUESDAY, days=9 / 24, per_hour=60, seed=5, ips=GITHUB, provider="github"))
    again = [
        event(TUESDAY + 10 * HOUR + 2 * i * SECOND, provider="github", source_ip=GITHUB[0],
              delivery_fp=call["delivery_fp"], signature_fp=call["signature_fp"])
        for i, call in enumerate(first[:500])
    ]  # fmt: skip
    run.feed(first, again)
    assert run.loud() == []


def test_an_automatic_retry_after_a_manual_one() -> None:
    """S13b: failed, redelivered by hand, then retried by the provider: nothing."""
    run = warm("stripe", STRIPE)
    events = []
    for i in range(20):
        t, same = TUESDAY + i * MINUTE, {"provider": "stripe", "delivery_fp": fp(f"failed {i}")}
        events.append(event(t, status=500, source_ip=STRIPE[0], ago=1, **same))
        events.append(event(t + 20 * MINUTE, source_ip=STRIPE[1], ago=1, **same))
        events.append(event(t + HOUR, source_ip=STRIPE[0], ago=1, **same))
    run.feed(events)
    assert run.loud() == []


def test_one_request_seen_by_two_receivers_is_seen_once() -> None:
    """A proxy and the service behind it both publish each call: no repeat of any."""
    run = warm("stripe", STRIPE)
    chance = random.Random(4)
    twice = []
    for call in traffic(TUESDAY, days=0.5, seed=6, ips=STRIPE, provider="stripe", ago=2):
        later = to_rfc3339(at(call) + chance.randrange(SECOND))
        other = {"id": event(0)["id"], "received_at": later, "receiver": "gateway/9@x"}
        twice += [call, call | other]
    run.feed(twice)
    assert run.loud() == []


def test_a_proxy_that_resends_within_seconds_is_forgiven_once() -> None:
    """One repeat within ten seconds from the same source is no evidence; the second one is."""
    run = warm("stripe", STRIPE)
    pairs = []
    for n in range(30):
        same = {"provider": "stripe", "source_ip": STRIPE[0], "signature_fp": fp(f"pair {n}")}
        pairs += [event(TUESDAY + n * MINUTE + k * 5 * SECOND, **same) for k in range(2)]
    run.feed(pairs)
    assert run.loud() == []


def test_the_incident_closes_after_its_time_and_a_later_burst_is_a_new_one() -> None:
    """An hour without repeats closes it as expired; the same call a day later opens another."""
    run = warm("stripe", STRIPE, per_hour=60)
    captured = {"provider": "stripe", "source_ip": STRIPE[0]} | SAME
    run.feed(calls(5, 20, **captured))
    last = TUESDAY + 80 * SECOND
    run.until(last + 59 * MINUTE)
    assert [a.status.value for a in run.of("replay-burst")] != ["closed"]
    run.until(last + 63 * MINUTE)
    (closed,) = run.of("replay-burst")
    assert (closed.status.value, closed.close_reason) == ("closed", "expired")
    assert last + HOUR <= closed.updated_at <= last + HOUR + MINUTE
    run.feed(calls(5, 20, TUESDAY + DAY, **captured))
    assert len({a.id for a in run.of("replay-burst")}) == 2


def test_networks_of_replays_are_not_learned() -> None:
    """Calls that verify from the attacker's network while it replays do not make it a known one."""
    run = warm("shopify")
    away = {"provider": "shopify", "source_ip": ELSEWHERE}
    run.feed(
        [event(TUESDAY, provider="shopify", **SAME)],
        calls(9, 10, TUESDAY + HOUR, **away, **SAME),
        calls(20, 60, TUESDAY + HOUR + 10 * MINUTE, **away),
        calls(3, 30, TUESDAY + HOUR + 40 * MINUTE, **away, **SAME),
    )
    run.until(TUESDAY + 4 * HOUR)
    assert run.loud() == ["replay-burst same_signature critical"]
    (closed,) = run.of("replay-burst")
    assert closed.count == closed.observed["from_new_networks"].value == 12


@pytest.mark.parametrize("provider", ["shopify", "adyen", "generic"])
def test_retries_of_a_receiver_that_tells_no_status(provider: str) -> None:
    """Where the status is null the outcome is open: true retries of body-only calls are quiet."""
    run = warm(provider, HOME, per_hour=60)
    gaps = (60, 300, 900, 1800, 3600)
    storm = outage(provider, HOME, minutes=40, gaps=gaps, same_signature=True)
    for call in storm:
        call.pop("status")
    run.feed(storm)
    assert run.loud() == []


def test_a_captured_call_where_no_status_is_told() -> None:
    """S05 at such a receiver: repeats from another network are found by the fifth all the same."""
    run = warm("shopify")
    same = {"provider": "shopify", "status": None} | SAME
    run.feed([event(TUESDAY, **same)], calls(30, 10, TUESDAY + HOUR, source_ip=ELSEWHERE, **same))
    assert (run.opened("replay-burst") or 99) <= 1 + 5
    assert run.loud() == ["replay-burst same_signature critical"]


def test_a_few_calls_held_back_make_no_home() -> None:
    """S05 after poisoning: fresh valid calls from the attacker do not hide its replays."""
    run = warm("shopify")
    away = {"provider": "shopify", "source_ip": ELSEWHERE}
    run.feed(
        [event(TUESDAY, provider="shopify", **SAME)],
        calls(5, 60, TUESDAY + HOUR, **away),
        calls(30, 10, TUESDAY + 2 * HOUR, **away, **SAME),
    )
    assert (run.opened("replay-burst") or 99) <= 1 + 5 + 5
    assert "replay-burst same_signature critical" in run.loud()


def test_a_new_network_of_the_sender_is_a_home_after_a_day() -> None:
    """A provider that has moved may be asked to deliver again, from its new network."""
    run = warm("shopify")
    new = {"provider": "shopify", "source_ip": ELSEWHERE}
    moved = list(traffic(TUESDAY, days=2, seed=4, **new))
    again = [
        event(TUESDAY + 2 * DAY + i * SECOND, delivery_fp=call["delivery_fp"],
              signature_fp=call["signature_fp"], **new)
        for i, call in enumerate(moved[-50:])
    ]  # fmt: skip
    run.feed(moved, again)
    assert run.of("replay-burst") == []


def faded(provider: str, ips: tuple[str, ...], **captured: object) -> Run:
    """Return a run that knows of a captured call only that it was there: 64 newer ones came."""
    stream = StreamSettings(max_exact_deliveries=16)
    run = Run(
        traffic(TUESDAY - 4 * DAY, days=4, per_hour=20, seed=5, ips=ips, **usual_of(provider)),
        config=Config(stream=stream),
    )
    run.feed(
        [event(TUESDAY, provider=provider, source_ip=ips[0], **SAME | captured)],
        calls(64, 1, TUESDAY + SECOND, provider=provider, source_ip=ips[0]),
    )
    assert run.core.table(("sender", "unit")).used == 16
    return run


def test_a_repeat_of_a_unit_whose_row_has_gone_is_a_replay() -> None:
    """Where each attempt is signed afresh, two late repeats are enough, even from one source."""
    run = faded("stripe", STRIPE)
    run.feed(calls(3, 4, TUESDAY + HOUR, provider="stripe", source_ip=STRIPE[0], **SAME))
    assert run.opened("replay-burst", "same_signature") == 1 + 64 + 2
    assert run.loud() == ["replay-burst same_signature critical"]


def test_a_late_retry_whose_outcome_is_not_known_is_quiet() -> None:
    """Where the body alone is signed, a repeat from home may be the retry of a failed attempt."""
    run = faded("shopify", HOME, status=503)
    run.feed(calls(2, 900, TUESDAY + HOUR, provider="shopify", source_ip=HOME[0], **SAME))
    assert run.loud() == []


def test_late_repeats_from_elsewhere_are_found_without_the_first() -> None:
    """From where the sender is not at home it is weak evidence at first, and soon enough."""
    run = faded("shopify", HOME)
    run.feed(calls(20, 10, TUESDAY + HOUR, provider="shopify", source_ip=ELSEWHERE, **SAME))
    assert (run.opened("replay-burst") or 99) <= 1 + 64 + 5
    assert run.loud() == ["replay-burst same_signature critical"]


def test_a_late_repeat_behind_two_receivers_is_seen_once() -> None:
    """Who saw the first is not known; the second receiver of the repeat is no repeat of it."""
    run = faded("stripe", STRIPE)
    late = {"provider": "stripe", "source_ip": STRIPE[0]} | SAME
    run.feed(
        [event(TUESDAY + HOUR, **late), event(TUESDAY + HOUR + SECOND, **late, receiver="b/1@x")]
    )
    assert run.of("replay-burst") == []
