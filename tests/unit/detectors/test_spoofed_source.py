"""spoofed-source: forged calls, stolen secrets, and providers that merely grow."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

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

FORGED = {"rejected": "signature_invalid", "source_ip": ELSEWHERE}
THIEF = {"source_ip": ELSEWHERE, "user_agent": "curl/8.1"}


def after(start: int = TUESDAY, **fields: object) -> Iterator[Event]:
    """Return the sender's own calls that go on."""
    return traffic(start, seed=7, **fields)  # type: ignore[arg-type]


def test_forged_calls_from_one_network() -> None:
    """S01: found by the fifth call, failures by the tenth; volume is quiet."""
    run = warm("stripe", STRIPE)
    run.feed(calls(60, 1, provider="stripe", ago=1, **FORGED))
    assert (run.opened("spoofed-source", "forged_from_new_network") or 99) <= 5
    assert (run.opened("signature-failure-spike") or 99) <= 10
    assert sorted(run.loud()) == [
        "signature-failure-spike forgery high",
        "spoofed-source forged_from_new_network medium",
    ]
    (found,) = run.of("spoofed-source")
    assert found.source == "203.0.113.0/24"
    assert found.observed["networks"].value == 1
    assert found.expected["known_networks"].value == 3


def test_forged_calls_from_many_networks_are_one_incident() -> None:
    """S02: 200 addresses with one or two calls each give one campaign, not an alert each."""
    run = warm("stripe", STRIPE)
    run.feed(
        event(TUESDAY + 3 * i * SECOND, provider="stripe", rejected="signature_invalid", ago=1,
              source_ip=f"203.{i % 3}.{i % 70}.{i % 200}")
        for i in range(240)
    )  # fmt: skip
    assert (run.opened("spoofed-source", "distributed_forgery") or 99) <= 50
    assert len(run.of("spoofed-source")) == 1
    assert len(run.incidents) <= 2
    (found,) = run.of("spoofed-source")
    assert found.severity == "high"
    assert len(found.sources) == 20 < found.source_count
    assert len(found.events) == 20


def test_low_and_slow_forgery() -> None:
    """S03: one call every 20 minutes from ever new networks is found within 12 hours."""
    run = warm("stripe", STRIPE)
    slow = [
        event(TUESDAY + 20 * i * MINUTE, provider="stripe", rejected="signature_invalid", ago=1,
              source_ip=f"203.0.{i}.9")
        for i in range(72)
    ]  # fmt: skip
    run.feed(slow, after(days=1, ips=STRIPE, **usual_of("stripe")))
    (found,) = run.of("spoofed-source")
    assert sum(at(call) <= found.opened_at for call in slow) <= 36
    assert found.severity == "high"


def test_a_stolen_secret() -> None:
    """S08: the first call from elsewhere is an info; by the tenth it is high, and no failure."""
    run = warm("svix")
    own = after(days=5 / 24, **usual_of("svix"))
    stolen = calls(20, 180, provider="svix", ago=2, **THIEF)
    run.feed(own, stolen)
    states = [alert for alert in run.alerts if alert.detector == "spoofed-source"]
    assert (states[0].severity, states[0].opened_at) == ("info", at(stolen[0]))
    high = next(alert for alert in states if alert.severity == "high")
    assert sum(at(call) <= high.updated_at for call in stolen) <= 10
    assert len(run.loud()) == 1


def test_a_stolen_secret_behind_a_header_that_anyone_can_write() -> None:
    """Where the address itself is not believed the same is medium at most."""
    run = warm("svix")
    run.feed(calls(20, 180, provider="svix", ago=2, source_ip_from="untrusted_header", **THIEF))
    assert [a.severity.value for a in run.of("spoofed-source")] == ["medium"]


def test_a_new_range_of_the_provider() -> None:
    """S16: valid calls by the usual client from unlisted networks are one info per sender."""
    run = warm("stripe", STRIPE, per_hour=60)
    chance = random.Random(3)
    calls = list(after(days=4, per_hour=60, ips=STRIPE, **usual_of("stripe")))
    for call in calls:
        if chance.random() < 0.4:
            call["source_ip"] = f"203.0.{chance.randrange(110, 114)}.{chance.randrange(1, 30)}"
    run.feed(calls)
    assert [(a.reason, a.severity.value) for a in run.incidents] == [("range_drift", "info")]


def test_a_network_is_adopted_after_its_probation() -> None:
    """What verified for a week is known then: its failures are no forgery."""
    run = warm("svix")
    moved = after(days=20, ips=("203.0.113.1",), **usual_of("svix"))
    run.feed(moved)
    (drift,) = run.of("spoofed-source")
    assert (drift.severity.value, drift.status.value) == ("info", "closed")
    assert drift.last_seen - drift.first_seen <= 7 * DAY
    run.feed(calls(30, 5, TUESDAY + 20 * DAY, provider="svix", ago=1, **FORGED))
    assert len(run.of("spoofed-source")) == 1


def moving(start: int, days: int, seed: int, provider: str | None) -> Iterator[Event]:
    """Yield the calls of a provider that shows five new networks a day."""
    chance = random.Random(seed)
    for call in traffic(start, days=days, seed=seed, provider=provider):
        day = (at(call) - MONDAY) // DAY
        net = (day * 5 + chance.randrange(5)) % 250
        call["source_ip"] = f"198.{18 + day % 2}.{net}.{chance.randrange(250)}"
        yield call


def test_a_provider_without_fixed_addresses() -> None:
    """S17: five new networks a day are this sender's habit, whether its profile says so or not."""
    for provider in ("sendgrid", None):
        run = Run(moving(MONDAY, 15, 1, provider))
        run.feed(moving(MONDAY + 15 * DAY, 7, 2, provider))
        assert run.incidents == []


@pytest.mark.parametrize(("client", "within"), [("curl/8", 5), ("Acme-Hooks/1.0", 20)])
def test_forgery_among_changing_addresses_is_found_without_a_list(client: str, within: int) -> None:
    """Of senders with five new networks a day every forger is found; who copies the client, later.

    Before it, at most two alerts in a hundred sender-days, of any severity.
    """
    told, senders, days = 0, 4, 22
    for seed in range(senders):
        run = Run()
        usual = list(moving(MONDAY, days, seed, None))
        refused = [
            call | {"verdict": "rejected", "reason": "signature_invalid", "status": 401}
            if n % 300 == 299 else call
            for n, call in enumerate(usual)
        ]  # fmt: skip
        run.feed(refused)
        told += len(run.of("spoofed-source"))
        run.alerts.clear()
        run.values.clear()
        run.feed(calls(40, 10, MONDAY + days * DAY, rejected="signature_invalid",
                       user_agent=client, source_ip=ELSEWHERE))  # fmt: skip
        number = run.opened("spoofed-source")
        assert number is not None
        assert number <= within
    assert told <= 0.02 * senders * days


def test_browsers_come_from_anywhere() -> None:
    """Redirect callbacks come from people's networks: their sources say nothing."""
    run = warm()
    run.feed(
        event(TUESDAY + i * MINUTE, kind="redirect", source_ip=f"203.{i % 7}.{i}.1",
              user_agent=f"Mozilla/{i}", **({"rejected": "state_mismatch"} if i % 5 == 0 else {}))
        for i in range(100)
    )  # fmt: skip
    assert run.of("spoofed-source") == []


def test_failures_from_the_senders_own_networks_are_not_forged() -> None:
    """S15: a key changed on one side is nobody's forgery."""
    run = warm("svix")
    run.feed(calls(40, 30, provider="svix", rejected="signature_invalid"))
    assert run.of("spoofed-source") == []


def test_what_only_ever_failed_is_never_known() -> None:
    """A network that fails for weeks does not become one of the sender's own."""
    run = warm("svix")
    run.feed(
        after(days=20, **usual_of("svix")),
        calls(20 * 24, 3600, TUESDAY, provider="svix", **FORGED),
    )
    run.until(TUESDAY + 21 * DAY)
    run.alerts.clear()
    run.feed(calls(20, 5, TUESDAY + 22 * DAY, provider="svix", ago=1, **THIEF))
    assert run.loud() != []


def test_a_new_sender_is_given_time() -> None:
    """S25: wrong signatures of an integrator are no forgery before the 20th in a row."""
    run = Run(traffic(sender="old", days=3))
    start = MONDAY + 3 * DAY
    run.feed(calls(15, 20, start, sender="new", rejected="signature_invalid"),
             calls(200, 60, start + HOUR, sender="new"))  # fmt: skip
    assert run.loud() == []


def test_cold_findings_are_low_and_warming_ones_medium() -> None:
    """The severity of what leans on history is held back by how much history there is."""
    for events, allowed in ((0, "low"), (100, "medium"), (400, "high")):
        run = Run(calls(events, 900, MONDAY))
        run.feed(
            event(MONDAY + 5 * DAY + i * SECOND, rejected="signature_invalid",
                  source_ip=f"203.0.{i}.9")
            for i in range(29 if events == 0 else 90)
        )  # fmt: skip
        worst = max(alert.severity for alert in run.of("spoofed-source"))
        assert worst == allowed


def test_the_incident_closes_when_nothing_comes_any_more() -> None:
    """An hour after the last forged call (three usual gaps, if those are longer) it expires."""
    run = warm("stripe", STRIPE)
    run.feed(calls(5, 60, provider="stripe", **FORGED))
    last = TUESDAY + 4 * MINUTE
    run.until(last + 59 * MINUTE)
    assert run.of("spoofed-source")[0].status.value != "closed"
    run.until(last + 4 * HOUR)
    (found,) = run.of("spoofed-source")
    assert (found.status.value, found.close_reason) == ("closed", "expired")
    assert found.count == 5


@pytest.mark.parametrize("per_hour", [1, 5])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_new_range_of_a_sparse_sender_is_told_once(per_hour: float, share: float) -> None:
    """S16: a few calls a day from a new range are one info in six days, not one for each call."""
    run = warm("stripe", STRIPE, per_hour=per_hour, days=25)
    chance = random.Random(3)
    moved = list(after(MONDAY + 25 * DAY, days=6, per_hour=per_hour, ips=STRIPE,
                       **usual_of("stripe")))  # fmt: skip
    for call in moved:
        if chance.random() < share:
            call["source_ip"] = f"203.0.{chance.randrange(110, 114)}.{chance.randrange(1, 30)}"
    run.feed(moved)
    assert [(a.reason, a.severity.value) for a in run.incidents] == [("range_drift", "info")]


UNTOLD = {"user_agent": None}
HERE = {"asn": 64500, "country": "US"}
THERE = {"asn": 64666, "country": "RO"}
"""Operator and country of the sender, and of somebody else."""


def untold(place: dict[str, object], provider: str | None, ips: tuple[str, ...]) -> Run:
    """Return a run that knows a sender whose receiver tells no client."""
    return Run(traffic(days=15, ips=ips, **UNTOLD, **place, **usual_of(provider)))


@pytest.mark.parametrize("provider", ["stripe", "svix", "slack"])
@pytest.mark.parametrize("told", [("asn", "country"), ("asn",), ("country",)])
@pytest.mark.parametrize("seed", range(3))
def test_a_stolen_secret_where_no_client_is_told(
    provider: str, told: tuple[str, ...], seed: int
) -> None:
    """S08: the operator tells, or the country: info at the first call, high by the tenth."""
    here, there = ({name: place[name] for name in told} for place in (HERE, THERE))
    ips = STRIPE if provider == "stripe" else HOME
    run = untold(here, provider, ips)
    start = MONDAY + 15 * DAY
    own = after(start, days=5 / 24, ips=ips, **UNTOLD, **here, **usual_of(provider))
    stolen = calls(20, 180 + seed, start + seed * MINUTE, provider=provider, ago=2,
                   source_ip=ELSEWHERE, **UNTOLD, **there)  # fmt: skip
    run.feed(own, stolen)
    states = [alert for alert in run.alerts if alert.detector == "spoofed-source"]
    assert (states[0].severity, states[0].opened_at) == ("info", at(stolen[0]))
    grave = [alert for alert in states if alert.severity == "high"]
    assert sum(at(call) <= grave[0].updated_at for call in stolen) <= 10


@pytest.mark.parametrize("provider", ["stripe", "svix", "slack"])
@pytest.mark.parametrize("told", [("asn", "country"), ("asn",), ("country",), ()])
@pytest.mark.parametrize("abroad", [False, True])
def test_a_new_range_where_no_client_is_told(
    provider: str, told: tuple[str, ...], abroad: bool
) -> None:
    """S16: other networks of the sender's own operator are an info at most, in any country."""
    here = {name: HERE[name] for name in told}
    ips = STRIPE if provider == "stripe" else HOME
    run = untold(here, provider, ips)
    chance = random.Random(3)
    moved = list(after(MONDAY + 15 * DAY, days=3, ips=ips, **UNTOLD, **here, **usual_of(provider)))
    for call in moved:
        if chance.random() < 0.4:
            call["source_ip"] = f"203.0.{chance.randrange(110, 114)}.{chance.randrange(1, 30)}"
            if abroad and "asn" in told and "country" in told:
                call["country"] = "IE"
    run.feed(moved)
    assert run.loud() == []
    assert len(run.incidents) <= 1


def test_a_sender_with_a_client_for_every_build_is_no_news() -> None:
    """Where the client changes all the time another one says nothing."""
    builds = [event(MONDAY + i * HOUR, user_agent=f"Acme/{'abcdefghij'[i % 10] * (1 + i // 40)}")
              for i in range(24 * 30)]  # fmt: skip
    run = Run(builds[: 24 * 15])
    run.feed(builds[24 * 15 :])
    assert run.of("spoofed-source") == []


def test_five_new_addresses_a_day_and_an_attack_among_them() -> None:
    """Without any list: forged calls of a roaming sender are found, its own moves are not told."""
    quiet = found = 0
    for seed in range(6):
        run = Run(moving(MONDAY, 15, seed, None))
        run.feed(moving(MONDAY + 15 * DAY, 10, seed + 50, None))
        quiet += len(run.of("spoofed-source"))
        run.feed(calls(20, 30, MONDAY + 26 * DAY, **FORGED))
        run.feed(calls(10, 300, MONDAY + 27 * DAY, **THIEF))
        kinds = {alert.reason for alert in run.of("spoofed-source")}
        found += kinds == {"forged_from_new_network", "valid_from_new_network"}
    assert quiet <= 0.02 * 60
    assert found == 6


def test_failures_of_a_new_range_are_not_forged() -> None:
    """S16: a few per cent of the calls from a new range fail as everywhere: no forgery."""
    run = warm("stripe", STRIPE, per_hour=60)
    chance = random.Random(3)
    moved = list(after(days=3, per_hour=60, ips=STRIPE, **usual_of("stripe")))
    for call in moved:
        if chance.random() < 0.4:
            call["source_ip"] = f"203.0.{chance.randrange(110, 114)}.{chance.randrange(1, 30)}"
        if chance.random() < 0.02:
            call |= {"verdict": "rejected", "reason": "signature_invalid", "signature_ok": False}
    run.feed(moved)
    assert [(a.reason, a.severity.value) for a in run.of("spoofed-source")] == [
        ("range_drift", "info")
    ]
