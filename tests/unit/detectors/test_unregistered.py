"""What is new is told once; starts, strangers and senders that change all the time are no news."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from detectors.config import Config
from detectors.core import Core
from ingest.inventory import Endpoint, Inventory, Sender
from tests.unit.detectors.streams import (
    DAY,
    HOUR,
    MINUTE,
    MONDAY,
    SECOND,
    TUESDAY,
    Run,
    calls,
    event,
    sort,
    traffic,
    warm,
)

DETECTOR = "unregistered"
ACME = Inventory({"acme": Sender("acme", endpoints=("/hooks/acme",))})


def told(run: Run) -> list[tuple[str | None, str, str]]:
    """Return sender, reason and severity of the detector's incidents."""
    return [(a.sender, a.reason, str(a.severity)) for a in run.of(DETECTOR)]


def test_a_start_is_no_news() -> None:
    """Fifty senders and their types at the start of callwatch bring no word."""
    run = Run()
    run.feed(*(traffic(days=3, per_hour=2, sender=f"s{i}", seed=i) for i in range(50)))
    assert told(run) == []


def test_a_sender_that_comes_later_is_told_once() -> None:
    """A sender whose first call comes after three days is one info, and no more (S25)."""
    run = warm()
    run.feed(traffic(TUESDAY, days=20, sender="newcomer"), traffic(TUESDAY, days=20, seed=3))
    assert told(run) == [("newcomer", "new_sender", "info")]
    assert run.opened(DETECTOR) is not None
    assert "not seen before" in run.of(DETECTOR)[0].summary


def test_what_an_inventory_does_not_name() -> None:
    """With an inventory an unknown sender is told at its first call, also at a start."""
    run = Run(config=Config(inventory=ACME))
    run.feed(calls(50, 60), calls(50, 60, sender="stranger"))
    assert told(run) == [("stranger", "new_sender", "info")]
    assert "not in the inventory" in run.of(DETECTOR)[0].summary


def test_a_registered_sender_is_no_news() -> None:
    """A sender of the inventory may come at any time."""
    inventory = Inventory({"acme": Sender("acme"), "late": Sender("late")})
    run = Run(traffic(days=5), config=Config(inventory=inventory))
    run.feed(calls(5, 60, sender="late"))
    assert told(run) == []


@pytest.mark.parametrize(
    "inventory",
    [ACME, Inventory({"acme": Sender("acme")}, {"/hooks/acme": Endpoint("/hooks/acme")})],
    ids=["its own", "all"],
)
def test_a_registered_sender_where_it_is_not_registered(inventory: Inventory) -> None:
    """A registered sender at another endpoint is told at the first call there, once."""
    run = Run(calls(1, 60, start=TUESDAY - HOUR), config=Config(inventory=inventory))
    run.feed(calls(20, 60, endpoint="/hooks/bank"))
    assert told(run) == [("acme", "new_endpoint", "info")]
    assert run.opened(DETECTOR) == 1
    assert "/hooks/bank" in run.of(DETECTOR)[0].summary


def test_an_inventory_without_endpoints_says_nothing_of_them() -> None:
    """Senders alone are registered: their endpoints are judged by what was seen."""
    config = Config(inventory=Inventory({"acme": Sender("acme")}))
    run = Run(traffic(days=5), config=config)
    run.feed(calls(2, 60, start=MONDAY + 5 * DAY))
    assert told(run) == []
    run.feed(calls(2, 60, start=MONDAY + 6 * DAY, endpoint="/hooks/other"))
    assert told(run) == [("acme", "new_endpoint", "info")]


def test_new_endpoints_and_types_of_a_warm_sender() -> None:
    """A known sender at a new endpoint, and later with a new type, is one info each."""
    run = warm()
    run.feed(calls(30, 60, endpoint="/hooks/acme/v2"))
    run.feed(calls(30, 60, start=TUESDAY + DAY, event_type="refund.made"))
    assert told(run) == [("acme", "new_endpoint", "info"), ("acme", "new_event_type", "info")]
    assert "refund.made" in run.of(DETECTOR)[1].summary


def test_types_of_a_young_sender_are_no_news() -> None:
    """A sender shows its types in its first week without a word for each."""
    run = warm()
    chance = random.Random(2)
    own = traffic(TUESDAY, days=6, sender="young")
    run.feed([made | {"event_type": f"type {chance.randrange(9)}"} for made in own])
    assert told(run) == [("young", "new_sender", "info")]


def test_rejected_names_are_nobody() -> None:
    """A thousand random names, endpoints and types in rejected calls are no new ones."""
    run = warm()
    forged = [
        event(TUESDAY + i * SECOND, f"random {i}", rejected="sender_unknown") for i in range(500)
    ]
    forged += [
        event(
            TUESDAY + i * SECOND,
            rejected="signature_invalid",
            endpoint=f"/{i}",
            event_type=f"type {i}",
        )
        for i in range(500)
    ]
    run.feed(sort(forged))
    run.feed(calls(20, 60, start=TUESDAY + HOUR))
    assert told(run) == []


def test_unverified_names_must_persist() -> None:
    """Where nothing is verified, random names are nobody; one that keeps calling is told."""
    run = warm()
    free = {"verdict": "unverified", "endpoint": "/hooks/fax"}
    run.feed(event(TUESDAY + i * SECOND, f"random {i}", **free) for i in range(2000))
    assert told(run) == []
    run.feed(traffic(TUESDAY + HOUR, days=3, sender="fax", **free))
    assert told(run) == [("fax", "new_sender", "info")]


def test_an_old_unverified_sender_is_no_news() -> None:
    """A sender that was there at the start and takes a day to count as somebody is not new."""
    free = {"verdict": "unverified", "endpoint": "/hooks/fax"}
    run = Run()
    run.feed(traffic(days=20, per_hour=0.4, sender="fax", **free), traffic(days=20))
    assert told(run) == []


def test_what_changes_all_the_time_is_no_news() -> None:
    """A sender with a new type or endpoint every day is told four times, then no more."""
    run = warm()
    for day in range(40):
        start = TUESDAY + day * DAY
        run.feed(calls(5, 60, start=start, event_type=f"type {day}"))
        run.feed(calls(5, 60, start=start + 5 * HOUR, endpoint=f"/hooks/{day}"))
    assert len(told(run)) == 4


def test_an_onboarding_is_one_word_for_each() -> None:
    """Five new senders, bursty and with wrong signatures while they are built: five infos (S25)."""
    run = warm()
    chance = random.Random(5)
    made = []
    for i in range(5):
        for call in traffic(TUESDAY, days=2, per_hour=12, sender=f"new {i}", seed=i):
            bad = chance.random() < 0.25
            kind = {"event_type": f"type {chance.randrange(6)}"}
            if bad:
                kind |= {"verdict": "rejected", "reason": "signature_invalid", "status": 401}
            made.append(call | kind)
    run.feed(sort(made), traffic(TUESDAY, days=2, seed=8))
    assert Counter(told(run)) == Counter((f"new {i}", "new_sender", "info") for i in range(5))


def test_benign_infos_are_rare() -> None:
    """A month of a sender with twelve types, the rarest one in 2,000 calls, is nearly silent."""
    chance = random.Random(6)
    weights = [2.0**-k for k in range(12)]
    kinds = [f"type {k}" for k in range(12)]
    run = Run()
    run.feed(
        made | {"event_type": chance.choices(kinds, weights)[0]}
        for made in traffic(days=30, per_hour=10)
    )
    assert len(told(run)) <= 1


def test_the_start_survives_a_snapshot() -> None:
    """How long callwatch has been running is part of the state."""
    run = Run(traffic(days=2))
    run.core = Core.restore(run.core.config, run.core.snapshot())
    run.feed(calls(3, 60, start=MONDAY + 2 * DAY + HOUR, sender="second day"))
    run.feed(calls(3, 60, start=MONDAY + 3 * DAY + HOUR, sender="fourth day"))
    assert told(run) == [("fourth day", "new_sender", "info")]


def test_nobody_is_judged_under_an_unknown_name() -> None:
    """Calls that claim no known sender have no baseline, and no detector tells anything of them."""
    run = warm()
    mixed = [
        event(TUESDAY + i * SECOND, "(unknown)", endpoint=f"/{i % 7}", event_type=f"t {i % 5}",
              **fields)
        for i, fields in enumerate(
            [{"rejected": "sender_unknown"}, {"rejected": "signature_invalid"}, {},
             {"kind": "redirect", "rejected": "redirect_uri_mismatch"},
             {"kind": "redirect", "rejected": "token_in_query"},
             {"verdict": "unverified"}, {"rejected": "key_retired", "signature_ok": True},
             {"body_bytes": 10**9}, {"delivery_fp": "0" * 31 + "1", "duplicate": False}] * 200
        )
    ]  # fmt: skip
    run.feed(mixed)
    run.until(TUESDAY + 3 * HOUR + 2 * MINUTE)
    assert [alert for alert in run.alerts if alert.sender == "(unknown)"] == []
    assert [alert for alert in run.alerts if alert.sender is None and alert.senders] == []
    assert [sender.sender for sender in run.core.baselines()] == ["acme"]
