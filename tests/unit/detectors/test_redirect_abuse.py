"""Redirect callbacks: abuse is found within three events, browsers' habits and faults are named."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest

from alerts.alert import Alert
from detectors.core import Core
from tests.unit.detectors.streams import (
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    SECOND,
    TUESDAY,
    Event,
    Run,
    at,
    event,
    traffic,
)

DETECTOR = "redirect-abuse"
NIGHTLY = (0.1,) * 7 + (1.0,) * 12 + (0.4,) * 5
STATES = ("state_mismatch", "code_expired", "state_missing", "state_reused")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64)"


def anyone(chance: random.Random) -> str:
    """Return the address of some browser."""
    return f"100.{chance.randrange(64, 128)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"


def redirect(t: int, ip: str, rejected: str | None = None, **fields: object) -> Event:
    """Return a redirect callback; accepted, or rejected with a reason."""
    own = {"kind": "redirect", "endpoint": "/oauth/callback", "user_agent": BROWSER, "status": 302}
    more: dict[str, object] = {"signature_fp": None, "delivery_fp": None, "event_type": None}
    if rejected is not None:
        more |= {"rejected": rejected}
    return event(t, source_ip=ip, **(own | more | fields))


def logins(
    start: int = MONDAY,
    days: float = 15 + 10 / 24,
    *,
    per_hour: float = 50,
    failing: float = 0.01,
    reloading: float = 0.02,
    seed: int = 1,
    reasons: Sequence[str] = STATES,
) -> list[Event]:
    """Return an app's usual sign-ins, each from an address of its own, some failed or reloaded."""
    chance = random.Random(f"logins {seed}")
    made = []
    for call in traffic(start, days=days, per_hour=per_hour, busy=NIGHTLY, seed=seed):
        ip = anyone(chance)
        if chance.random() < failing:
            made.append(redirect(at(call), ip, chance.choice(reasons)))
            continue
        made.append(redirect(at(call), ip))
        if chance.random() < reloading:
            later = at(call) + chance.randrange(2, 600) * SECOND
            reason = chance.choice(("state_reused", "code_expired", "code_reused"))
            made.append(redirect(later, ip, reason))
    return made


@cache
def _history() -> bytes:
    return Run(logins()).core.snapshot()


def warm() -> Run:
    """Return a run that knows the usual sign-ins of ``acme`` up to TUESDAY."""
    run = Run()
    run.core = Core.restore(run.core.config, _history())
    return run


def loud(run: Run) -> list[Alert]:
    """Return the detector's incidents of low severity or above."""
    return [alert for alert in run.of(DETECTOR) if alert.severity >= "low"]


@pytest.mark.parametrize(
    ("rejected", "reason"),
    [
        ("redirect_uri_mismatch", "redirect_mismatch"),
        ("token_in_query", "token_in_query"),
        ("code_reused", "code_replay"),
    ],
)
def test_what_no_browser_does_is_found_at_once(rejected: str, reason: str) -> None:
    """Unknown targets, tokens and others' codes are found at the first, medium at the third."""
    run = warm()
    for i in range(3):
        run.feed(logins(TUESDAY + i * HOUR, 1 / 24, seed=5 + i))
        run.feed([redirect(TUESDAY + (i + 1) * HOUR, "203.0.113.9", rejected)])
        run.until(TUESDAY + (i + 1) * HOUR + 5 * MINUTE)
        (alert,) = run.of(DETECTOR)
        assert (alert.reason, alert.count) == (reason, i + 1)
        assert alert.severity == ("medium" if i == 2 else "low")


def test_findings_need_no_history() -> None:
    """An unknown target is found in the first redirect that a sender ever had."""
    run = Run()
    run.feed([redirect(TUESDAY, "203.0.113.9", "redirect_uri_mismatch")])
    assert run.opened(DETECTOR) == 1


@pytest.mark.parametrize("seed", range(5))
def test_mixed_abuse_from_one_network(seed: int) -> None:
    """Missing and reused states, codes and targets from one place are found by the third (S24)."""
    chance = random.Random(seed)
    reasons = ["redirect_uri_mismatch", "state_missing", "state_reused", "code_reused"]
    calls = [
        redirect(TUESDAY + i * 20 * SECOND, "203.0.113.9", chance.choice(reasons))
        for i in range(12)
    ]
    run = warm()
    run.feed(calls)
    (alert,) = run.of(DETECTOR)
    opened = run.opened(DETECTOR)
    assert opened is not None
    assert opened <= 3
    assert alert.severity >= "medium"
    assert alert.source == "203.0.113.0/24"


def test_missing_states_of_one_network() -> None:
    """Three sign-ins without state from one network that never signed in are found."""
    run = warm()
    run.feed(redirect(TUESDAY + i * MINUTE, "203.0.113.9", "state_missing") for i in range(3))
    assert [(a.reason, a.severity) for a in run.of(DETECTOR)] == [("state_failure", "low")]
    assert run.opened(DETECTOR) == 3


@pytest.mark.parametrize("way", ["code_expired", "state_reused"])
def test_states_that_no_broken_browser_sends(way: str) -> None:
    """A network that never signed in and fails in two ways, or with used states, is medium."""
    run = warm()
    ways = ("state_missing", "state_missing", way) if way == "code_expired" else (way,) * 3
    run.feed(redirect(TUESDAY + i * MINUTE, "203.0.113.9", way) for i, way in enumerate(ways))
    assert [(a.reason, a.severity) for a in run.of(DETECTOR)] == [("state_failure", "medium")]
    assert run.opened(DETECTOR) == 3


def test_wrong_states_of_many_networks_at_once() -> None:
    """Wrong states from everywhere, far faster than users come, are found by the third."""
    chance = random.Random(3)
    run = warm()
    run.feed(
        redirect(TUESDAY + i * 2 * SECOND, anyone(chance), "state_mismatch") for i in range(60)
    )
    (alert,) = run.of(DETECTOR)
    assert run.opened(DETECTOR) == 3
    assert (alert.reason, alert.severity) == ("state_failure", "high")


def test_a_code_in_anothers_hands_is_grave() -> None:
    """Five codes that others had used before, from a network without any user, are high."""
    run = warm()
    run.feed(redirect(TUESDAY + i * MINUTE, f"203.0.113.{i}", "code_reused") for i in range(1, 6))
    (alert,) = run.of(DETECTOR)
    assert (alert.reason, alert.severity) == ("code_replay", "high")
    assert "somebody else had used" in alert.summary


def test_a_reload_is_no_replay() -> None:
    """Back and reload within minutes repeat state and code from the same network: quiet."""
    chance = random.Random(4)
    run = warm()
    made = []
    for i in range(300):
        t, ip = TUESDAY + i * MINUTE, anyone(chance)
        made.append(redirect(t, ip))
        for k in range(i % 4):
            reason = ("code_reused", "state_reused", "code_expired")[(i + k) % 3]
            made.append(redirect(t + (k + 1) * 40 * SECOND, ip, reason))
    run.feed(sorted(made, key=at))
    assert run.of(DETECTOR) == []


def test_a_code_of_last_week_from_the_same_network() -> None:
    """A tab that is restored days later is no replay: its network has signed in before."""
    run = warm()
    run.feed([redirect(TUESDAY, "203.0.113.9")], logins(TUESDAY, 4, seed=6))
    run.feed([redirect(TUESDAY + 4 * DAY, "203.0.113.9", "code_reused")])
    assert run.of(DETECTOR) == []


@pytest.mark.parametrize("seed", range(4))
def test_usual_sign_ins_are_quiet(seed: int) -> None:
    """A month of sign-ins with their failures, reloads and bookmarks is no alert."""
    run = Run()
    run.feed(logins(days=30, seed=20 + seed, failing=(0.002, 0.01, 0.02, 0.05)[seed]))
    assert [a.summary for a in run.of(DETECTOR)] == []


def test_a_deployment_that_loses_sessions_is_a_fault() -> None:
    """Everybody's state fails after a deployment: the receiver's fault, low and then medium."""
    run = warm()
    broken = logins(TUESDAY, 2 / 24, failing=1.0, reasons=("state_mismatch",), seed=8)
    run.feed(broken)
    (alert,) = run.of(DETECTOR)
    assert (alert.reason, alert.severity) == ("receiver_fault", "medium")
    opened = run.opened(DETECTOR)
    assert opened is not None
    assert opened <= 6


def test_a_browser_that_loops_is_no_grave_attack() -> None:
    """A browser without cookies that is sent round twenty times is one low incident."""
    run = warm()
    run.feed(redirect(TUESDAY + i * SECOND, "203.0.113.9", "state_mismatch") for i in range(20))
    assert [a.severity for a in run.of(DETECTOR)] == ["low"]


def test_what_is_often_odd_is_no_news() -> None:
    """An app with a wrong target in some old link every other day alerts a few times, then not."""
    links = [
        redirect(TUESDAY + i * 2 * DAY + 3 * HOUR, "203.0.113.9", "redirect_uri_mismatch")
        for i in range(30)
    ]
    run = warm()
    run.feed(logins(TUESDAY, 60, per_hour=20, seed=7), links)
    assert 1 <= len(run.of(DETECTOR)) <= 4
    assert max(a.opened_at for a in run.of(DETECTOR)) < TUESDAY + 12 * DAY


def test_a_level_that_lasts_a_week_becomes_usual() -> None:
    """Sign-ins that fail for two weeks are one incident; it closes as chronic."""
    run = warm()
    run.feed(logins(TUESDAY, 14, failing=0.3, seed=9))
    found = run.of(DETECTOR)
    assert [a.close_reason for a in found] == ["chronic"]


def test_webhooks_of_the_same_sender_are_not_concerned() -> None:
    """Webhooks with any reason are none of its business, and cost it no rows."""
    run = warm()
    run.feed(traffic(TUESDAY, days=1, rejected="state_missing", seed=3))
    assert run.of(DETECTOR) == []
    (table,) = [t for key, t in run.core._tables.items() if key == ("sender", "kind")]
    hooks = Run(traffic(days=1))
    assert hooks.core._tables["sender", "kind"].used == 0
    assert table.used == 1


def test_sampled_sign_ins_make_no_replays() -> None:
    """Where accepted redirects are sampled, a used code from an unseen network proves nothing."""
    chance = random.Random(11)
    run = Run(redirect(MONDAY + i * MINUTE, anyone(chance), sample_rate=0.1) for i in range(2000))
    run.feed([redirect(MONDAY + 2001 * MINUTE, "203.0.113.9", "code_reused")])
    assert run.of(DETECTOR) == []


def test_the_inventory_shows_what_is_known() -> None:
    """A sender's usual share of failures stands in the inventory, for senders with redirects."""
    (known,) = warm().core.baselines()
    found = known.baselines[DETECTOR]
    assert found.state == "warm"
    assert 0.005 < found.numbers["usual_share"].value < 0.02
    (hook,) = Run(traffic(days=1)).core.baselines()
    assert DETECTOR not in hook.baselines
