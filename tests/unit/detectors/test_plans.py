"""Planned events: the column that detectors read, and what each kind of plan explains."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from operator import or_
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.batch import Decoder
from detectors.config import Config
from detectors.event import DAY, HOUR, PLANS
from detectors.keys import name_key
from detectors.plans import COVERS, Announced, Planned
from detectors.registry import detectors_found
from ingest.inventory import Inventory, Plan, PlanKind, Sender
from tests.unit.detectors.streams import MONDAY, encode, event


def plan(kind: PlanKind, start: int, end: int, sender: str = "acme") -> Plan:
    """Return a plan of an inventory, from microseconds."""
    times = [datetime.fromtimestamp(t / 1e6, UTC) for t in (start, end)]
    return Plan(kind, sender, times[0], times[1], "ticket 4711")


def registered(*plans: Plan) -> Config:
    """Return a configuration whose inventory has these plans."""
    senders = {one.sender: Sender(one.sender) for one in plans}
    return Config(inventory=Inventory(senders=senders, planned=plans))


def test_an_event_carries_the_plans_in_force_at_its_own_time() -> None:
    """From `from` until before `to`, for the planned sender alone; overlapping plans add up."""
    config = registered(
        plan("rotation", MONDAY + HOUR, MONDAY + 3 * HOUR),
        plan("campaign", MONDAY + 2 * HOUR, MONDAY + DAY),
        plan("migration", MONDAY, MONDAY + DAY, sender="söder"),
    )
    times = [MONDAY, MONDAY + HOUR, MONDAY + 2 * HOUR, MONDAY + 3 * HOUR, MONDAY + DAY]
    for sender, expected in (
        ("acme", [0, 1, 5, 4, 0]),
        ("söder", [8, 8, 8, 8, 0]),
        ("beta", [0, 0, 0, 0, 0]),
        ("(unknown)", [0, 0, 0, 0, 0]),
    ):
        decoded = Decoder(config).values(encode(event(t, sender) for t in times))
        assert decoded.batch.columns["plan"].tolist() == expected


@given(st.data())
def test_an_event_has_the_bits_of_all_plans_of_its_sender_in_force(data: st.DataObject) -> None:
    """However many there are, overlapping, alike or empty, and whenever they are announced."""
    few, times = st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 12)
    kinds = st.sampled_from(list(COVERS))
    announced, plans = Announced(), list[tuple[str, Planned]]()
    for _ in range(2):
        for sender, kind, start, end in data.draw(st.lists(st.tuples(few, kinds, times, times))):
            plans.append((sender, Planned(kind, start, end, "r")))
            announced.add(*plans[-1])
        told = data.draw(st.lists(st.tuples(few, times)))
        events = np.zeros(len(told), [("t", "i8"), ("sender", "i8"), ("plan", "i2")])
        for row, (sender, t) in zip(events, told, strict=True):
            row["sender"], row["t"] = name_key(sender), t
        announced.mark(events)
        for bits, (sender, t) in zip(events["plan"].tolist(), told, strict=True):
            mine = (plan for of, plan in plans if of == sender and plan.start <= t < plan.end)
            assert bits == functools.reduce(or_, (PLANS[plan.kind] for plan in mine), 0)


def test_plans_change_no_class_of_parameters() -> None:
    """Rows name classes; so a plan more or less moves none of them."""
    plain = Config(inventory=Inventory(senders={"acme": Sender("acme")}))
    planned = registered(plan("rotation", MONDAY, MONDAY + DAY))
    assert plain.who("acme", None, MONDAY) == planned.who("acme", None, MONDAY)
    assert len(plain.facts) == len(planned.facts)


def test_the_hash_is_that_of_kind_sender_and_times() -> None:
    """Another plan is another configuration; another wording of its reason is not."""
    senders = {name: Sender(name) for name in ("acme", "beta")}

    def hash_of(*plans: Plan) -> str:
        return Config(inventory=Inventory(senders=senders, planned=plans)).hash

    one = plan("rotation", MONDAY, MONDAY + DAY)
    others = [
        plan("backfill", MONDAY, MONDAY + DAY),
        plan("rotation", MONDAY + 1, MONDAY + DAY),
        plan("rotation", MONDAY, MONDAY + DAY + 1),
        plan("rotation", MONDAY, MONDAY + DAY, sender="beta"),
    ]
    assert len({hash_of(), hash_of(one), *map(hash_of, others)}) == 6
    reworded = Plan(one.kind, one.sender, one.start, one.end, "another ticket")
    assert hash_of(one) == hash_of(reworded)


def test_kinds_are_those_of_the_inventory_each_a_bit_of_its_own() -> None:
    """Every kind that an inventory may name has a bit and a list of what it explains."""
    assert set(PLANS) == set(COVERS) == set(get_args(PlanKind))
    assert sorted(PLANS.values()) == [1 << n for n in range(len(PLANS))]


@pytest.mark.parametrize("kind", COVERS)
def test_a_plan_explains_reasons_that_exist(kind: PlanKind) -> None:
    """What a kind explains are reasons of detectors; no kind explains replay or forgery."""
    found = {detector.id: detector for detector in detectors_found()}
    for detector, reasons in COVERS[kind].items():
        if detector in found:
            assert reasons <= set(found[detector].reasons)
    one = Planned(kind, 0, 1, "r")
    assert not any(one.covers("replay-burst", r) for r in found["replay-burst"].reasons)
    for detector, reason in (
        ("spoofed-source", "forged_from_new_network"),
        ("spoofed-source", "distributed_forgery"),
        ("signature-failure-spike", "forgery"),
        ("stale-key", "old_key_new_network"),
    ):
        assert not one.covers(detector, reason)
