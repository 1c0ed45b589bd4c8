"""Scenarios played: shared histories, what steps do to the stream, and the log's own faults."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.benchmark.arrivals import DAY, HOUR, MINUTE, Span
from detectors.benchmark.course import config_of, group_of, play, walk_history
from detectors.benchmark.evaluate import do, evaluate, record, tasks_for
from detectors.benchmark.judge import Verdict
from detectors.benchmark.scenario_file import load_scenario
from detectors.benchmark.stage import Drawn, draw
from detectors.benchmark.steps import Disorder, Lag, ReceiverSilent, Repeat
from detectors.benchmark.stream import published
from detectors.benchmark.traffic import benign
from detectors.benchmark.world import World
from detectors.shared import Partitions

SMALL = """
title = "small"
kind = "attack"
warm_up_days = 3
days = 0.5

[fleet]
only = ["stripe-eu", "bank-feed"]

[[step]]
do = "forge"
at = ["06:00", "08:00"]
sender = ["stripe-eu", "bank-feed"]
count = 40
every = "1s"

[[expect]]
detector = "spoofed-source"
within_events = 5
"""
START = 20_000 * DAY


def scenario(tmp_path, text=SMALL, name="small"):
    """Return the scenario of a text."""
    path = Path(tmp_path) / f"{name}.toml"
    path.write_text(text, "utf-8")
    return load_scenario(path)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Return the small fleet's history under seed 3, walked."""
    group = group_of(scenario(tmp_path_factory.mktemp("warm")))
    return walk_history(group, 3, config_of(group, None, None))


def test_a_scenario_is_played_and_judged(tmp_path, warm):
    """The attack is found on the sender that the seed drew; the whole run is counted."""
    played = play(scenario(tmp_path), warm)
    assert played.verdict.caught
    assert played.verdict.sender_days == pytest.approx(2 * 0.5)
    assert played.verdict.events == warm.events + len(played.rows)


def test_going_on_from_a_snapshot_is_going_on(tmp_path, warm):
    """A restored history gives the same state as the core that walked it."""
    state = Partitions.restore(warm.config, warm.snapshot)
    assert state.snapshot() == warm.snapshot
    assert warm.recent["at"].max() < warm.group.start


def test_no_delivery_of_the_history_returns_by_chance(tmp_path, warm):
    """Both worlds draw their own fingerprints, but share addresses."""
    rows = play(scenario(tmp_path), warm).rows
    old, new = ({tuple(one) for one in part["delivery"].tolist()} for part in (warm.recent, rows))
    assert old & new == {(0, 0)}  # what strangers send has none
    mine = rows[rows["sender"] == 1]  # the bank has few addresses, and keeps them
    assert set(mine["origin"][:20].tolist()) & set(warm.recent["origin"].tolist())


def test_the_same_seed_gives_the_same_verdict_however_many_share_the_history(tmp_path):
    """Other scenarios beside it, or other scenarios before it, change nothing."""
    one = scenario(tmp_path)
    other = scenario(tmp_path, SMALL.replace("40", "30"), "other")
    alone = do(tasks_for([one], [3])[0]).verdicts
    beside = do(tasks_for([other, one], [3])[0]).verdicts
    assert alone[0] in beside
    assert {verdict.scenario for verdict in beside} == {"small", "other"}


def test_other_seeds_draw_other_senders_and_moments(tmp_path):
    """What a step leaves open differs from seed to seed, and only there."""
    one = scenario(tmp_path)
    drawn = set()
    for seed in range(8):
        world = World(seed, Span(START, START + DAY), one.fleet, phase="small")
        (found,) = draw(world, one.steps)
        assert START + 6 * HOUR <= found.start <= START + 8 * HOUR
        assert found == draw(world, one.steps)[0]
        drawn.add((found.start, found.senders))
    assert len({start for start, _ in drawn}) == 8
    assert {senders for _, senders in drawn} == {("stripe-eu",), ("bank-feed",)}


def test_a_result_is_plain_data(tmp_path):
    """Rates carry their sender-days and bound; every run is counted."""
    *_, last = evaluate([scenario(tmp_path)], [3])
    found = record(last.result)
    assert (last.done, last.of) == (1, 1)
    assert found["scenarios"][0]["expect"][0]["in_time"] == 1
    assert found["false_alerts"]["high"]["sender_days"] == pytest.approx(
        2 * (3 + 1 / 24 + 0.5), 0.1
    )
    assert isinstance(last.result.verdicts[0], Verdict)


@pytest.fixture(scope="module")
def world():
    """Return a world of one day, and its rows."""
    made = World(1, Span(START, START + DAY))
    return made, benign(made)


def log_of(world, *made):
    """Return the log of the rows under these faults, all at noon for an hour."""
    faults = [
        Drawn(kind(name="x", at=(0, 0), lasts=HOUR, **keys), "x", START + 12 * HOUR, ())
        for kind, keys in made
    ]
    return published(*world[:1], faults, world[1])


def test_a_log_holds_every_record_in_the_order_of_publishing(world):
    """Events and reports, each a little after it was received; nothing is lost."""
    log = log_of(world)
    events = [value for value in log.values if b'"report"' not in value]
    assert len(events) == len(world[1])
    assert list(log.times) == sorted(log.times)
    reports = len(log.values) - len(events)
    assert reports > 5 * 24 * 60  # of five or more processes, one a minute


def test_faults_on_the_way_lag_repeat_disorder_and_silence(world):
    """Each does what its name says, within its hour."""
    _, rows = world
    noon = Span(START + 12 * HOUR, START + 13 * HOUR)
    lag = log_of(world, (Lag, {}))
    assert not np.any(noon.holds(np.array(lag.times)))
    assert len(lag.values) == len(log_of(world).values)
    again = log_of(world, (Repeat, {"share": 0.5}))
    assert 0.4 < (len(again.values) - len(set(again.values))) / noon.holds(rows["at"]).sum() < 0.9
    mixed = log_of(world, (Disorder, {"share": 0.5, "by": 20 * MINUTE}))
    assert set(mixed.values) == set(log_of(world).values)
    assert mixed.values != log_of(world).values
    silent = log_of(world, (ReceiverSilent, {"service": "identity"}))
    gone = set(log_of(world).values) - set(silent.values)
    assert gone
    assert all(b'"receiver":"identity/' in value for value in gone)


def test_a_joining_sender_is_unknown_before(tmp_path):
    """It is in neither the history nor, unless asked for, the inventory."""
    joins = """
[[fleet.sender]]
name = "new"
like = "bank-feed"

[[step]]
do = "join"
at = "02:00"
senders = "new"

[[step]]"""
    text = SMALL.replace("[[step]]", joins, 1)
    one = scenario(tmp_path, text)
    group = group_of(one)
    assert [sender.name for sender in group.fleet] == ["stripe-eu", "bank-feed"]
    assert '"new"' not in group.inventory
    known = replace(one, head=replace(one.head, registered=("new",)))
    assert '"new"' in group_of(known).inventory
