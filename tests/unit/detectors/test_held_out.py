"""Senders unlike the simulated ones: their ways are quiet, and who hides among them is found."""

from __future__ import annotations

import random
from collections.abc import Iterator

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
    brief,
    calls,
    event,
    traffic,
    warm,
)

VOLUME = "payload-volume"
SPIKE, SPOOF = "signature-failure-spike", "spoofed-source"


def own(t: int, chance: random.Random, **fields: object) -> Event:
    """Return one usual call, at a moment of the test's choice."""
    size = int(chance.lognormvariate(7.6, 0.4))
    return event(t, **({"body_bytes": size, "source_ip": chance.choice(HOME)} | fields))


def polled(days: int, seed: int) -> Iterator[Event]:
    """Yield what is sent every quarter of an hour: mostly little, now and then hundreds at once."""
    chance = random.Random(seed)
    for t in range(MONDAY, MONDAY + days * DAY, 15 * MINUTE):
        waiting = int(chance.paretovariate(0.9)) - 1 if chance.random() < 0.7 else 0
        busy = 1.5 if 8 <= t // HOUR % 24 < 18 else 0.4
        for n in range(min(int(waiting * busy), 300)):
            yield own(t + n * SECOND // 8, chance)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bursts_at_any_hour_become_a_habit(seed: int) -> None:
    """After three surges within weeks another one is an info, unless it is far larger."""
    run = Run(polled(20, seed))
    run.feed(call for call in polled(40, seed) if at(call) >= MONDAY + 20 * DAY)
    assert run.loud() == []
    flood = [own(MONDAY + 40 * DAY + n * SECOND, random.Random(n)) for n in range(3000)]
    run.feed(flood)
    assert f"{VOLUME} count_high medium" in run.loud()


def billed(day: int, seed: int) -> Iterator[Event]:
    """Yield a night's run of invoices, half a hundred times the usual calls."""
    chance = random.Random(seed)
    for n in range(3000):
        yield own(MONDAY + day * DAY + 2 * HOUR + n * 7 * SECOND // 2, chance)


def test_a_monthly_run_is_told_once() -> None:
    """The first billing run is a flood of calls; a month later the same is an info."""
    run = Run(traffic(days=72))
    assert run.loud() == []
    run = Run(traffic(days=35), billed(9, 1))
    run.feed(
        (c for c in traffic(days=72) if at(c) >= MONDAY + 35 * DAY), billed(39, 2), billed(70, 3)
    )
    assert [brief(a) for a in run.of(VOLUME)] == [f"{VOLUME} campaign info"] * 2


def test_weekends_only() -> None:
    """Who calls on Saturdays and Sundays alone is neither silent nor a surge, at any time."""
    chance = random.Random(4)
    days = [MONDAY + day * DAY for day in range(42) if day % 7 >= 5]
    run = Run()
    run.feed(own(day + chance.randrange(DAY), chance) for day in days for _ in range(300))
    run.until(MONDAY + 47 * DAY)
    assert run.incidents == []


def test_one_call_a_day() -> None:
    """A daily call of varying size is nothing that anybody need see in three months."""
    chance = random.Random(6)
    run = Run()
    run.feed(own(MONDAY + day * DAY + int(chance.gauss(6, 1) * HOUR), chance) for day in range(90))
    run.until(MONDAY + 93 * DAY)
    assert run.incidents == []


@pytest.mark.parametrize("prefix", ["2001:db8:1c17:{0:x}::{1:x}", "2001:db8:{0:x}:{1:x}::1"])
def test_rotating_ipv6_networks(prefix: str) -> None:
    """Whether /64s of one /48 or /48s of one /32 take turns, neither is a new network."""
    chance = random.Random(prefix)
    run = Run()
    run.feed(
        call | {"source_ip": prefix.format(chance.randrange(1 << 16), chance.randrange(1, 1 << 16))}
        for call in traffic(days=14)
    )
    assert run.incidents == []


def test_a_pool_that_grows_by_a_network_every_five_days() -> None:
    """An autoscaled pool of gateways brings one info in four weeks, not one for each network."""
    chance = random.Random(8)
    made = []
    for call in traffic(days=28, busy=[1] * 8 + [4] * 10 + [1] * 6):
        busy = 2 if 8 <= at(call) // HOUR % 24 < 18 else 0
        network = chance.randrange(3 + (at(call) - MONDAY) // (5 * DAY) + busy)
        made.append(call | {"source_ip": f"203.0.{network}.{chance.randrange(1, 255)}"})
    run = Run()
    run.feed(made)
    assert [brief(a) for a in run.incidents] in (
        [], [f"{SPOOF} valid_from_new_network info"]
    )  # fmt: skip


@pytest.mark.parametrize("ago", [120, -110])
def test_a_clock_that_was_always_off(ago: int) -> None:
    """Two minutes behind or ahead since the first call: within the tolerance, and no drift."""
    run = Run()
    run.feed(traffic(days=15, provider="stripe", ips=STRIPE, ago=ago))
    assert run.incidents == []


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_rotation_with_stragglers(seed: int) -> None:
    """Of a day's overlap 5 % use the old key, and go on for a day: infos, and no more of them.

    Four of fifteen by chance, once in a dozen such rotations, would be medium for an hour.
    """
    chance = random.Random(seed)
    made = []
    for call in traffic(days=22, per_hour=40):
        day, straggles = (at(call) - MONDAY) / DAY, chance.random() < 0.05
        call["key_id"] = "k1" if day < 16 or (day < 18 and straggles) else "k2"
        if day >= 17 and call["key_id"] == "k1":
            call |= {"verdict": "rejected", "reason": "key_retired", "status": 401}
        made.append(call)
    run = Run()
    run.feed(made)
    assert run.loud() == []
    assert len(run.incidents) <= 2


def test_a_gateway_and_the_application_behind_it() -> None:
    """Both report each call: two receivers of one delivery are no replay and no double volume."""
    usual = list(traffic(days=15))
    behind = [call | {"receiver": "gateway/2@g", "id": event(at(call))["id"]} for call in usual]
    run = Run()
    run.feed(usual, behind)
    assert run.incidents == []


@pytest.mark.parametrize("provider", [None, "stripe"])
def test_guessing_from_six_hundred_networks(provider: str | None) -> None:
    """One wrong signature a minute, each from elsewhere: two alerts, one at the third call."""
    chance = random.Random(9)
    run = warm(provider, STRIPE if provider else HOME)
    run.feed(
        call | {"source_ip": f"{chance.randrange(60, 120)}.{chance.randrange(250)}.7.1",
                "user_agent": f"curl/{chance.randrange(8)}", "provider": provider or "generic"}
        for call in calls(600, 60, rejected="signature_invalid")
    )  # fmt: skip
    assert run.opened(SPOOF) == 3
    assert run.loud() == [f"{SPOOF} distributed_forgery high", f"{SPIKE} forgery high"]
    assert run.of(SPOOF)[0].opened_at == TUESDAY + 2 * MINUTE


@pytest.mark.parametrize("told", [None, False, True])
def test_one_captured_call_an_hour(told: bool | None) -> None:
    """Accepted calls of a provider that signs bodies, each sent again once, slowly, from elsewhere.

    `duplicate-acceptance` leaves those to `replay-burst`, whose evidence must last as long.
    """
    run = warm("shopify")
    usual = [call | {"duplicate": False} for call in traffic(TUESDAY, days=2, provider="shopify")]
    again = [
        call | {"id": event(0)["id"], "source_ip": ELSEWHERE, "duplicate": told,
                "received_at": to_rfc3339(TUESDAY + (6 + n) * HOUR)}
        for n, call in enumerate(usual[5:29])
    ]  # fmt: skip
    run.feed(usual, again)
    found = run.of("replay-burst")
    assert [one.opened_at for one in found] == [TUESDAY + 8 * HOUR]
    assert found[0].severity == ("medium" if told else "critical")
