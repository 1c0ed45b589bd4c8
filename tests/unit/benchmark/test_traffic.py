"""Benign traffic: retries, failures, networks."""

import numpy as np
import pytest

from detectors.benchmark.arrivals import DAY, HOUR, MINUTE, Span
from detectors.benchmark.changes import NewRange, Outage, Rotation
from detectors.benchmark.columns import Vocabulary
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.fleet import FLEET, by_name
from detectors.benchmark.providers import BEHAVIOURS
from detectors.benchmark.scenario import Variant
from detectors.benchmark.senders import FLAT, Rhythm
from detectors.benchmark.traffic import benign, sender_rows
from detectors.benchmark.world import World
from ingest.profiles import load_profiles

START = 20_000 * DAY
SPAN = Span(START, START + 2 * DAY)
OUTAGE = Span(START + 10 * HOUR, START + 10 * HOUR + 40 * MINUTE)


def rows_of(name, *changes, seed=5):
    """Return the deliveries of one sender, with the world they live in."""
    world = World(seed, SPAN, changes=changes)
    return world, sender_rows(world, world.sender(name))


def field(world, codes, name):
    """Return one field of an array of words."""
    return np.array([world.words.fields(code).get(name) for code in codes.tolist()])


@pytest.mark.parametrize(("name", "fresh"), [("crm-saas", True), ("shop-orders", False)])
def test_retries_keep_the_delivery_and_sign_as_the_provider_does(name, fresh):
    """After an outage the same deliveries return, signed anew or with the identical signature."""
    world, rows = rows_of(name, Outage(name, OUTAGE))
    failed = rows[OUTAGE.holds(rows["at"])]
    assert len(failed) > 20
    assert 503 in (statuses := set(field(world, failed["outcome"], "status")))
    assert 200 not in statuses
    ids, counts = np.unique(rows["delivery"], axis=0, return_counts=True)
    assert (counts > 1).sum() > 20
    again = ids[counts.argmax()]
    mine = rows[(rows["delivery"] == again).all(axis=1)]
    assert len(np.unique(mine["body"], axis=0)) == 1
    assert (len(np.unique(mine["signature"], axis=0)) == len(mine)) is fresh
    assert len(np.unique(mine["id"], axis=0)) == len(mine)
    latest = mine[np.argmax(mine["at"])]
    assert world.words.fields(latest["outcome"])["status"] == 200


def test_a_moving_sender_shows_five_new_networks_a_day():
    """A variant that moves replaces five addresses a day, nearly all in networks never seen."""
    sender = Variant(name="lab", like="bank-feed", moving=5).sender(FLEET[by_name()["bank-feed"]])
    world = World(3, SPAN, (sender,))
    rows = sender_rows(world, sender)
    networks = [address.rpartition(".")[0] for address in field(world, rows["origin"], "source_ip")]
    late = rows["at"] >= START + DAY
    seen = {of for of, second in zip(networks, late, strict=True) if not second}
    new = {of for of, second in zip(networks, late, strict=True) if second} - seen
    assert len(seen) == 8
    assert 4 <= len(new) <= 5


def test_github_never_retries():
    """A provider without retries leaves failed deliveries alone."""
    _, rows = rows_of("ci-scanner", Outage("ci-scanner", OUTAGE))
    assert len(np.unique(rows["delivery"], axis=0)) == len(rows)


def test_failures_are_rare_and_have_reasons():
    """Refused calls are a few per thousand, each with a reason and without a verified key."""
    world, rows = rows_of("stripe-eu")
    verdicts = field(world, rows["outcome"], "verdict")
    share = (verdicts == "rejected").mean()
    assert 0.0 < share < 0.01
    assert None not in field(world, rows["outcome"][verdicts == "rejected"], "reason")


def test_a_rotation_with_overlap_moves_keys_and_one_without_refuses_all():
    """Within the adoption both keys are seen; where the new key is unknown every call fails."""
    soft = Rotation("idp-lifecycle", START + 6 * HOUR, "k2", adoption=12 * HOUR)
    world, rows = rows_of("idp-lifecycle", soft)
    during = rows[Span(START + 9 * HOUR, START + 15 * HOUR).holds(rows["at"])]
    assert {"k1", "k2"} <= set(field(world, during["key"], "key_id"))
    late = rows[(rows["at"] > START + 19 * HOUR) & (rows["key"] > 0)]
    assert set(field(world, late["key"], "key_id")) == {"k2"}
    hard = Rotation("bank-feed", START + 6 * HOUR, "k2", refused=30 * MINUTE)
    world, rows = rows_of("bank-feed", hard)
    inside = rows[Span(START + 6 * HOUR, START + 6 * HOUR + 30 * MINUTE).holds(rows["at"])]
    assert len(inside) > 20
    assert set(field(world, inside["outcome"], "verdict")) == {"rejected"}


def test_addresses_follow_the_senders_policy():
    """Fixed sources stay; a changing one brings new addresses daily; a new range shows up."""
    world, rows = rows_of("mail-events")
    first, second = (
        rows[Span(START + n * DAY, START + (n + 1) * DAY).holds(rows["at"])] for n in (0, 1)
    )
    new = set(second["origin"].tolist()) - set(first["origin"].tolist())
    assert len(new) == 5
    world, rows = rows_of(
        "stripe-us", NewRange("stripe-us", START + DAY, ("198.18.112.0/24",), share=0.5)
    )
    strange = np.char.startswith(field(world, rows["origin"], "source_ip").astype(str), "198.18.")
    assert not strange[rows["at"] < START + DAY].any()
    assert 0.4 < strange[rows["at"] >= START + DAY].mean() < 0.6


def test_receivers_are_deployed_and_have_two_instances():
    """Receivers read service/version@instance; over a fortnight versions change."""
    world = World(5, Span(START, START + 14 * DAY))
    rows = sender_rows(world, world.sender("stripe-eu"))
    receivers = set(field(world, np.unique(rows["receiver"]), "receiver"))
    assert {name.split("@")[1] for name in receivers} == {"payments-1", "payments-2"}
    assert len({name.split("@")[0] for name in receivers}) > 2


def test_a_sender_more_does_not_change_the_others():
    """Every sender has randomness of its own."""
    all_of_them = benign(World(5, SPAN))
    fewer = benign(World(5, SPAN, fleet=FLEET[:3]))
    for place in range(3):
        a = all_of_them[all_of_them["sender"] == place]
        b = fewer[fewer["sender"] == place]
        a, b = (part[part["signature"].any(axis=1)] for part in (a, b))
        assert np.array_equal(a["id"], b["id"])


def test_the_simulated_providers_agree_with_the_profiles():
    """Where a profile states how attempts are signed and spaced, the simulation does the same."""
    for name, profile in load_profiles().items():
        acts = BEHAVIOURS.get(name)
        if acts is None or not acts.signed:
            continue
        if profile.freshness in ("per_attempt", "body_only"):
            assert acts.fresh_signature == (profile.freshness == "per_attempt"), name
        if profile.gaps_s:
            shared = min(len(acts.gaps_s), len(profile.gaps_s))
            assert list(acts.gaps_s[:shared]) == list(profile.gaps_s[:shared]), name


def test_faults_of_a_world_are_named():
    """A change of an unknown sender, an empty span and an incomplete rhythm are errors."""
    with pytest.raises(BenchmarkError, match="not in the fleet"):
        World(1, SPAN, changes=(Outage("nobody", OUTAGE),))
    with pytest.raises(BenchmarkError, match="must end after"):
        World(1, Span(5, 5))
    with pytest.raises(BenchmarkError, match="24 hours"):
        Rhythm("short", FLAT.hours[:3], FLAT.weekdays)
    assert World(1, SPAN).place("stripe-eu") == 0
    assert Vocabulary().code() == 0
