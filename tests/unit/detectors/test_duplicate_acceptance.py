"""What a receiver accepts twice is told once; retries, resends and other receivers are not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    GITHUB,
    HOUR,
    MINUTE,
    SECOND,
    STRIPE,
    TUESDAY,
    Event,
    Run,
    at,
    event,
    fp,
    outage,
    traffic,
    usual_of,
    warm,
)

DETECTOR = "duplicate-acceptance"
Pair = tuple[dict[str, Any], dict[str, Any]]


def pairs(n: int, first: dict[str, Any], second: dict[str, Any], every: int = HOUR) -> list[Event]:
    """Return n deliveries, each called twice within a minute."""
    made = []
    for i in range(n):
        for k, fields in enumerate((first, second)):
            same = {"delivery_fp": fp(f"pair {i}"), "duplicate": False}
            made.append(event(TUESDAY + i * every + k * MINUTE, **(same | fields)))
    return sorted(made, key=at)


def told(run: Run) -> list[tuple[str, int]]:
    """Return severity and count of the detector's incidents."""
    return [(str(alert.severity), alert.count) for alert in run.of(DETECTOR)]


def test_a_delivery_accepted_twice_is_found() -> None:
    """Two verified calls of one delivery, both answered 2xx as new: low, at the second."""
    run = warm()
    run.feed(pairs(1, {}, {}))
    assert told(run) == [("low", 1)]
    assert run.opened(DETECTOR) == 2
    assert "says that each was new" in run.of(DETECTOR)[0].summary


def test_it_needs_no_history() -> None:
    """The first two calls of a sender suffice."""
    run = Run()
    run.feed(pairs(1, {}, {}))
    assert told(run) == [("low", 1)]


def test_a_receiver_that_does_not_say_is_told_once() -> None:
    """Without a word of the receiver it is an info: one incident, and none for a month after."""
    run = warm()
    run.feed(pairs(200, {"duplicate": None}, {"duplicate": None}, every=20 * MINUTE))
    run.until(TUESDAY + 5 * DAY)
    assert told(run) == [("info", 200)]
    late = {"duplicate": None}
    run.feed(traffic(TUESDAY + 5 * DAY, days=15, **late))
    for day in range(6, 20, 3):
        one = {"delivery_fp": fp(f"late {day}"), "duplicate": None}
        run.feed(event(TUESDAY + day * DAY + k * MINUTE, **one) for k in range(2))
    assert len(run.of(DETECTOR)) == 1


def test_a_graver_case_is_told_again() -> None:
    """A receiver that says of an accepted delivery that it is new is news after an info."""
    run = warm()
    run.feed(pairs(1, {"duplicate": None}, {"duplicate": None}))
    run.until(TUESDAY + 2 * DAY)
    one = {"delivery_fp": fp("later"), "duplicate": False}
    run.feed(event(TUESDAY + 2 * DAY + k * MINUTE, **one) for k in range(2))
    assert told(run) == [("info", 1), ("low", 1)]


@pytest.mark.parametrize(
    "pair",
    [
        ({"status": 503}, {}),
        ({"status": None}, {}),
        ({"status": 404}, {}),
        ({"rejected": "signature_invalid"}, {}),
        ({}, {"rejected": "duplicate_delivery", "status": 200}),
        ({}, {"duplicate": True}),
        ({}, {"status": 500}),
        ({"receiver": "edge/1@a"}, {"receiver": "api/2@b"}),
        ({}, {"source_ip": ELSEWHERE}),
        ({"verdict": "unverified"}, {"verdict": "unverified"}),
        ({"kind": "redirect"}, {"kind": "redirect"}),
    ],
    ids=[
        "failed",
        "no answer",
        "not found",
        "rejected before",
        "refused",
        "known",
        "failed again",
        "two services",
        "a replay",
        "nothing verified",
        "redirects",
    ],
)
def test_what_is_no_double_acceptance(pair: Pair) -> None:
    """Failed attempts, refused or known repeats, other services and strangers are none."""
    run = warm()
    run.feed(pairs(40, *pair))
    assert told(run) == []


def test_services_behind_each_other_hide_nothing() -> None:
    """What passes two services is seen twice; a second delivery at one of them is found."""
    run = warm()
    run.feed(
        event(
            TUESDAY + i * SECOND,
            delivery_fp=fp("one"),
            receiver=receiver,
            duplicate=False,
        )
        for i, receiver in enumerate(("edge/1@a", "api/2@b", "edge/1@c", "api/3@b"))
    )
    assert told(run) == [("low", 1)]


@pytest.mark.parametrize("provider", ["stripe", "svix"])
def test_automatic_retries_after_a_resend(provider: str) -> None:
    """Stripe's automatic retry comes although a resend was accepted (S13b): an info at most."""
    ips = STRIPE if provider == "stripe" else ("192.0.2.10",)
    run = warm(provider, ips)
    own = usual_of(provider)
    resent = []
    for i in range(50):
        for k, status in enumerate((500, 200, 200)):
            t = TUESDAY + i * SECOND + k * HOUR
            one = {"delivery_fp": fp(f"resent {i}"), "duplicate": False, "status": status}
            resent.append(event(t, source_ip=ips[0], **(own | one)))
    run.feed(sorted(resent, key=at))
    assert [severity for severity, _ in told(run)] == ["info"]


def test_another_host_of_the_provider() -> None:
    """A repeat from another published range of the provider is the provider's own."""
    run = warm("github", GITHUB)
    run.feed(
        event(
            TUESDAY + i * HOUR,
            delivery_fp=fp("one"),
            signature_fp=fp("one"),
            provider="github",
            source_ip=ip,
            duplicate=False,
        )
        for i, ip in enumerate(GITHUB)
    )
    assert told(run) == [("low", 1)]


@pytest.mark.parametrize(("provider", "same"), [("svix", False), ("shopify", True)])
def test_retries_after_an_outage(provider: str, same: bool) -> None:
    """A flood of retries, each accepted once, is quiet, however it is signed (S11, S12)."""
    ips = ("192.0.2.10",)
    run = warm(provider, ips)
    run.feed(
        outage(provider, ips, minutes=40, gaps=(5, 300, 1800, 7200), same_signature=same),
    )
    assert told(run) == []
