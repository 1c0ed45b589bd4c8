"""stale-key: old keys, rotations, and keys that are used side by side."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

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
    Event,
    Run,
    at,
    calls,
    event,
    sort,
    traffic,
    usual_of,
)

ID = "stale-key"
START = MONDAY + 10 * DAY
SEEDS = pytest.mark.parametrize("seed", range(3))
Pick = Callable[[random.Random, int], str]


def keyed(start: int, days: float, pick: Pick, *, seed: int = 1, **fields: object) -> list[Event]:
    """Return a sender's calls, each under the key that ``pick`` names for its time."""
    chance = random.Random(seed)
    made = list(traffic(start, days=days, seed=seed, **fields))  # type: ignore[arg-type]
    for call in made:
        call["key_id"] = pick(chance, at(call))
    return made


def only(key: str) -> Pick:
    """Return a choice that always names this key."""
    return lambda chance, t: key


def adopts(start: int, hours: float, most: float = 1.0) -> Pick:
    """Return a choice of k2 more and more often from ``start`` on, up to this share; else k1."""

    def pick(chance: random.Random, t: int) -> str:
        share = min(max((t - start) / (hours * HOUR), 0.0), 1.0) * most
        return "k2" if chance.random() < share else "k1"

    return pick


def rotated(seed: int = 1, **fields: object) -> Run:
    """Return a run that knows ten days of k1, and three days since the sender changed to k2."""
    return Run(keyed(MONDAY, 13, adopts(START, 20), seed=seed, **fields))


def brief(run: Run) -> list[tuple[str, str]]:
    """Return reason and severity of the detector's incidents."""
    return [(alert.reason, str(alert.severity.value)) for alert in run.of(ID)]


@SEEDS
@pytest.mark.parametrize("provider", ["stripe", None])
def test_a_retired_key_from_a_new_network_is_high_at_once(seed: int, provider: str | None) -> None:
    """S09: a key that was replaced three days ago is used again, from elsewhere."""
    ips = STRIPE if provider else HOME
    run = rotated(seed, ips=ips, **usual_of(provider))
    stolen = calls(6, 120, START + 3 * DAY, key_id="k1", source_ip=ELSEWHERE, **usual_of(provider))
    run.feed(stolen)
    assert brief(run) == [("old_key_new_network", "high")]
    assert run.opened(ID) == 1
    (alert,) = run.of(ID)
    assert alert.count == 4  # doubled at 2 and at 4
    assert "retired key, 2 d 2" in alert.summary or "retired key, 3 d" in alert.summary


def test_the_receivers_word_is_enough() -> None:
    """A call that the receiver rejects as ``key_retired``, rightly signed, needs no rotation."""
    run = Run(keyed(MONDAY, 10, only("k2")))
    run.feed(calls(1, 60, START, rejected="key_retired", signature_ok=True, key_id="k0",
                   source_ip=ELSEWHERE))  # fmt: skip
    assert brief(run) == [("old_key_new_network", "high")]


def test_a_stranger_who_names_a_key_is_not_the_sender() -> None:
    """Wrong signatures under any name are no use of a key, and make no rotation."""
    run = rotated()
    for reason in ("key_retired", "signature_invalid", "key_unknown"):
        for key in ("k0", "k1", "k9"):
            run.feed(calls(30, 5, START + 3 * DAY, rejected=reason, signature_ok=False, key_id=key,
                           source_ip=ELSEWHERE))  # fmt: skip
    run.feed(keyed(START + 4 * DAY, 1, only("k2")))
    assert run.of(ID) == []


def test_an_old_key_at_home_is_low_at_its_third_call() -> None:
    """A machine that missed the rotation is unusual; a hundred calls later it is medium."""
    run = rotated()
    run.feed(calls(3, 600, START + 3 * DAY, key_id="k1"))
    assert (run.opened(ID), brief(run)) == (3, [("old_key", "low")])
    run.feed(calls(100, 600, START + 3 * DAY + HOUR, key_id="k1"))
    assert brief(run) == [("old_key", "medium")]


def test_one_late_attempt_is_nothing() -> None:
    """What was signed before the change, and is sent again, is no use of the old key."""
    run = rotated(provider="shopify")
    first = event(START + 3 * DAY, provider="shopify", key_id="k1")
    again = [event(START + 3 * DAY + i * HOUR, provider="shopify", key_id="k1",
                   delivery_fp=first["delivery_fp"]) for i in range(1, 8)]  # fmt: skip
    run.feed([first], again)
    late = calls(9, 300, START + 3 * DAY + 9 * HOUR, key_id="k1", ago=3 * 86400,
                 rejected="timestamp_stale", signature_ok=True)  # fmt: skip
    run.feed(late)
    assert run.of(ID) == []


@SEEDS
@pytest.mark.parametrize("hours", [0.01, 2, 12, 22])
def test_a_rotation_is_one_info(seed: int, hours: float) -> None:
    """S14: both keys are used along an adoption curve, with 3 % transient failures."""
    run = Run(keyed(MONDAY, 10, only("k1"), seed=seed))
    pick = adopts(START, hours)
    chance = random.Random(seed)
    made = keyed(START, 8, pick, seed=seed + 10)
    for call in made:
        if chance.random() < 0.03:
            call |= {"verdict": "rejected", "reason": "signature_invalid", "status": 401}
    run.feed(made)
    run.until(START + 9 * DAY)
    assert brief(run) == [("rotation_started", "info")]
    assert run.of(ID)[0].close_reason == "expired"


def test_two_rotations_leave_two_old_keys() -> None:
    """A key that was replaced before the last rotation is old within its overlap already."""
    run = rotated()
    run.feed(keyed(START + 12 * DAY, 0.3, only("k3"), seed=5))
    assert brief(run) == [("rotation_started", "info")]
    run.feed(calls(1, 1, START + 12 * DAY + 10 * HOUR, key_id="k2"))
    assert brief(run) == [("rotation_started", "info")]
    run.feed(calls(1, 1, START + 12 * DAY + 11 * HOUR, key_id="k1", source_ip=ELSEWHERE))
    assert brief(run) == [("old_key_new_network", "high")]


@SEEDS
@pytest.mark.parametrize("most", [0.6, 0.9, 0.97])
def test_a_rotation_that_does_not_end_is_low(seed: int, most: float) -> None:
    """A day after the overlap the old key still signs some calls, and fewer than before."""
    run = Run(keyed(MONDAY, 10, only("k1"), seed=seed))
    run.feed(keyed(START, 5, adopts(START, 12, most), seed=seed + 10))
    assert ("rotation_stalled", "low") in brief(run)
    assert len(brief(run)) <= 2


@SEEDS
def test_keys_side_by_side_are_quiet(seed: int) -> None:
    """Four regions, two of them rare, one of them a weekly batch, have a key each for ever."""

    def pick(chance: random.Random, t: int) -> str:
        if t // DAY % 7 == 2 and t // HOUR % 24 == 3:
            return "batch"
        return chance.choices(("eu", "us", "ap"), (60, 39, 1))[0]

    run = Run()
    run.feed(keyed(MONDAY, 30, pick, seed=seed))
    assert run.of(ID) == []


@SEEDS
def test_one_of_several_keys_is_replaced(seed: int) -> None:
    """Where a region changes its key, the others carry on, rare or not."""

    def pick(chance: random.Random, t: int) -> str:
        if t // DAY % 7 == 2 and t // HOUR % 24 == 3:
            return "batch"
        return chance.choices(("eu" if t < START else "eu2", "us"), (60, 40))[0]

    run = Run()
    run.feed(keyed(MONDAY, 30, pick, seed=seed))
    assert brief(run) == [("rotation_started", "info")]


@SEEDS
@pytest.mark.parametrize("share", [0.3, 1.0, 2.0])
def test_a_new_region_is_no_stalled_rotation(seed: int, share: float) -> None:
    """A key of its own for calls that come on top: the old one carries on as before."""
    run = Run(keyed(MONDAY, 10, only("eu"), seed=seed))
    more = keyed(START, 8, only("us"), seed=seed + 50, per_hour=20 * share)
    run.feed(keyed(START, 8, only("eu"), seed=seed + 10), more)
    assert brief(run) == [("rotation_started", "info")]


def test_another_endpoint_has_a_key_of_its_own() -> None:
    """A key that begins at an endpoint without one replaces nothing."""
    run = Run(keyed(MONDAY, 10, only("k1")))
    run.feed(keyed(START, 3, only("k2"), endpoint="/hooks/other", seed=3))
    assert run.of(ID) == []


def test_a_weekend_off_is_no_retirement() -> None:
    """Two keys side by side stay so over days without any call."""

    def office() -> Iterator[Event]:
        for call in keyed(MONDAY, 35, lambda chance, t: chance.choice(("a", "b")), seed=4):
            if at(call) // DAY % 7 not in (2, 3):  # 1970-01-01 was a Thursday
                yield call

    run = Run()
    run.feed(office())
    assert [found for found in brief(run) if found[1] != "info"] == []


@SEEDS
def test_changing_networks_are_no_evidence(seed: int) -> None:
    """S17: where five new networks come every day, an old key from one more is not high."""

    def moving(made: list[Event]) -> list[Event]:
        chance = random.Random(seed)
        for call in made:
            day = at(call) // DAY % 200
            call["source_ip"] = f"10.{day}.{chance.randrange(5)}.1"
        return made

    run = Run(moving(keyed(MONDAY, 13, adopts(START, 20), seed=seed)))
    run.feed(moving(calls(4, 300, START + 3 * DAY, key_id="k1")))
    assert brief(run) == [("old_key", "low")]


def test_a_rollback_becomes_usual_after_a_week() -> None:
    """The sender went back to its old key: told once, then taken as its habit."""
    run = rotated()
    run.feed(keyed(START + 3 * DAY, 12, only("k1"), seed=7))
    (alert,) = run.of(ID)
    assert (alert.reason, alert.close_reason) == ("old_key", "level_adopted")


def test_keys_of_every_day_say_nothing() -> None:
    """Where labels change daily, only the receiver's word counts."""
    run = Run(keyed(MONDAY, 10, lambda chance, t: f"day{t // DAY}"))
    run.feed(keyed(START, 10, lambda chance, t: f"day{t // DAY}", seed=2))
    run.feed(calls(3, 60, START + 10 * DAY, key_id=f"day{START // DAY + 7}"))
    assert run.of(ID) == []


def test_a_sender_that_has_yet_to_change_over_is_not_told_twice() -> None:
    """S15: the receiver retired the key at once; its calls fail, which is another detector's."""
    run = Run(keyed(MONDAY, 10, only("k1")))
    refused = keyed(START, 0.5, only("k1"), seed=3)
    for call in refused:
        call |= {"verdict": "rejected", "reason": "key_retired", "signature_ok": True}
    run.feed(refused, [])
    assert run.of(ID) == []
    run.feed(sort(calls(40, 1800, START + DAY, rejected="key_retired", signature_ok=True,
                        key_id="k1")))  # fmt: skip
    assert brief(run) == [("old_key", "low")]


def test_an_old_key_in_the_overlap_is_usual() -> None:
    """Stripe gives 24 h: on the last of them the old key may come back after hours."""
    run = Run(keyed(MONDAY, 10, only("k1"), ips=STRIPE, **usual_of("stripe")))
    run.feed(keyed(START, 1, only("k2"), ips=STRIPE, **usual_of("stripe")))
    run.feed(calls(9, 60, START + 23 * HOUR + 40 * MINUTE, key_id="k1", source_ip=STRIPE[0],
                   **usual_of("stripe")))  # fmt: skip
    assert brief(run) == [("rotation_started", "info")]


def test_the_overlap_is_the_providers() -> None:
    """GitHub has one secret per hook: an hour after the change the old one is old."""
    run = Run(keyed(MONDAY, 10, only("k1"), provider="github"))
    run.feed(keyed(START, 0.25, only("k2"), provider="github"))
    run.feed(calls(3, 60, START + 6 * HOUR + SECOND, key_id="k1", provider="github"))
    assert ("old_key", "low") in brief(run)
