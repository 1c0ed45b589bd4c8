"""Plans, allowlists and shadow mode: what they hold back, what they never do, and what they say."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert import MAX_NOTES, Alert
from detectors.base import CONTRIBUTES, EXPIRED
from detectors.config import Config, Override
from detectors.config_file import load_config
from detectors.core import Core
from detectors.errors import ConfigError, StateError
from detectors.event import DAY, HOUR, MINUTE, SECOND
from detectors.incidents import Incidents
from detectors.tuning import Finding, Measure, Tuning, _apply, as_found
from ingest.inventory import Inventory, PlanKind, Sender
from tests.unit.detectors.streams import (
    ELSEWHERE,
    HOME,
    MONDAY,
    TUESDAY,
    Run,
    calls,
    event,
    traffic,
    warm,
)
from tests.unit.detectors.test_incidents import happening, states
from tests.unit.detectors.test_plans import plan, registered

LATER = MONDAY + 100 * DAY
STRANGER: dict[str, Any] = {"source_ip": ELSEWHERE, "user_agent": "curl/8", "tls_fp": "other"}


def of(config: Config, **history: Any) -> Run:
    """Return a run that knows the usual traffic of ``acme``, under another configuration."""
    run = warm(**history)
    changed = config.state_hash != run.core.config.state_hash
    run.core = rebuilt(config, **history) if changed else Core.restore(config, run.core.snapshot())
    return run


def rebuilt(config: Config, **history: Any) -> Core:
    """Return a core with the usual history, where senders are registered."""
    run = Run(traffic(days=15 + 10 / 24, per_hour=history.get("per_hour", 20)), config=config)
    return run.core


def table(*measures: Measure) -> tuple[Incidents, dict[str, int]]:
    """Return a table of incidents under some measures, and what it counts."""
    counted: dict[str, int] = {}

    def count(name: str) -> None:
        counted[name] = counted.get(name, 0) + 1

    tuning = Tuning(measures)
    return Incidents(Config().detectors, "c0ffee", tuning=tuning, count=count), counted


def allow(**fields: Any) -> Measure:
    """Return an allowlist's row about ``s1``."""
    given = {"expires": LATER, "sender": "s1", **fields}
    return Measure("allow", "allow.2", "pentest, ticket 4712", **given)


ROTATED = calls(20, 30, rejected="signature_invalid")
SURGE = calls(150, 5)
MOVED = calls(6, 60, **STRANGER)


@pytest.mark.parametrize(
    ("kind", "stream", "detector", "usually"),
    [
        ("rotation", ROTATED, "signature-failure-spike", "medium"),
        ("campaign", SURGE, "payload-volume", "low"),
        ("backfill", SURGE, "payload-volume", "low"),
        ("migration", MOVED, "spoofed-source", "high"),
    ],
)
def test_a_plan_holds_what_it_explains_at_info_and_says_so(
    kind: PlanKind, stream: list[Any], detector: str, usually: str
) -> None:
    """What was announced is told as an info, in words that name the plan and its reason."""
    unplanned = of(registered(plan(kind, MONDAY, MONDAY + DAY)))
    unplanned.feed(stream)
    assert {a.severity.value for a in unplanned.of(detector)} == {usually}
    run = of(registered(plan(kind, TUESDAY - HOUR, TUESDAY + DAY)))
    run.feed(stream)
    (found,) = run.of(detector)
    assert found.severity == "info"
    assert found.summary.startswith(f"planned {kind} (ticket 4711): acme: ")
    assert [n.partition(" (")[0] for n in found.notes] == [f"info at most: plan.{kind}"]
    assert not run.loud()


@pytest.mark.parametrize("kind", ["rotation", "backfill", "campaign", "migration", "maintenance"])
def test_no_plan_hides_forgery_or_replay(kind: PlanKind) -> None:
    """Forged calls from elsewhere and accepted replays are as grave during a plan as without it."""
    forged = calls(60, 5, rejected="signature_invalid", source_ip=ELSEWHERE)
    replayed = calls(8, 60, TUESDAY + HOUR, provider="stripe", signature_fp="ab" * 16)
    without = of(registered(plan(kind, MONDAY, MONDAY + DAY)))
    without.feed(forged, replayed)
    during = of(registered(plan(kind, TUESDAY - HOUR, TUESDAY + DAY)))
    during.feed(forged, replayed)
    for detector in ("spoofed-source", "signature-failure-spike", "replay-burst"):
        grave = [(a.reason, a.severity) for a in without.of(detector)]
        assert grave
        assert [(a.reason, a.severity) for a in during.of(detector)] == grave
    assert during.of("replay-burst")[0].severity == "critical"


def test_what_goes_on_after_a_plan_rises_to_what_it_is() -> None:
    """A rotation that fails beyond its announced end is told again, at its own severity."""
    run = of(registered(plan("rotation", TUESDAY, TUESDAY + 10 * MINUTE)))
    run.feed(calls(30, 30, rejected="signature_invalid"))
    told = [(a.status.value, a.severity.value) for a in run.alerts]
    assert told[0] == ("open", "info")
    assert ("updated", "medium") in told
    late = next(a for a in run.alerts if a.severity == "medium")
    assert late.updated_at >= TUESDAY + 10 * MINUTE
    assert not late.summary.startswith("planned")
    assert late.notes


def test_what_a_timer_finds_is_about_the_time_before_it() -> None:
    """A plan that ended within the hour explains what is found at the end of that hour."""
    tuning = Tuning(registered(plan("campaign", MONDAY, MONDAY + HOUR - 1)).measures)
    found = Finding("acme", "payload-volume", "bytes_high", 2, MONDAY + HOUR, MONDAY)
    assert tuning.judge(found).severity == 1


NETWORKS = ["192.0.2.0/24", "192.0.2.128/25", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0"]
COVERED = [None, {"a": None}, {"a": frozenset({"x"})}, {"a": None, "b": frozenset({"y"})}]
SAID = st.builds(
    Measure,
    st.sampled_from(["allow", "shadow", "verdict", "plan"]),
    st.sampled_from(["plan.campaign", "allow.1", "allow.2"]),
    st.just("why"),
    st.integers(0, 9),
    start=st.integers(-1, 5),
    sender=st.sampled_from([None, None, "acme", "beta"]),
    covers=st.sampled_from(COVERED),
    source=st.none() | st.sampled_from(NETWORKS).map(ip_network),
    most=st.integers(1, 4),
)


@given(st.lists(SAID, max_size=25), st.data())
def test_what_was_said_is_found_as_if_all_of_it_were_read(
    said: list[Measure], data: st.DataObject
) -> None:
    """By its detector or network, in its order; and the event is read once, if at all."""
    reads = []

    def value() -> bytes:
        reads.append(0)
        return b'{"source_ip":"%b"}' % address.encode()

    address = data.draw(
        st.sampled_from(["192.0.2.7", "192.0.2.200", "::ffff:192.0.2.7", "2001:db8::1"])
    )
    found = Finding(
        data.draw(st.sampled_from(["acme", "beta", "other"])),
        data.draw(st.sampled_from("abc")),
        data.draw(st.sampled_from("xy")),
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(0, 9)),
        0,
        data.draw(st.sampled_from([value, None])),
    )
    tuning = Tuning(said)
    expected = as_found(found.severity)
    for measure in sorted(said, key=lambda one: one.sender is not None):
        if measure.is_about(found):
            expected = _apply(measure, found, expected)
    reads.clear()
    found = replace(found)  # as if nobody had asked for its source yet
    assert tuning.judge(found) == expected
    assert len(expected.notes) <= MAX_NOTES
    about_sources = [one for one in said if one.source and one.sender in (None, found.sender)]
    assert len(reads) == (1 if about_sources and found.value else 0)


def test_what_is_said_many_times_leaves_room_for_what_holds_back() -> None:
    """Equal notes are one, so that the one of the measure that decides is not lost."""
    shadow = {"expires": LATER, "covers": {"a": None}}
    said = [Measure("shadow", "override", "trial", **shadow) for _ in range(20)]
    judged = Tuning([*said, Measure("allow", "allow.1", "scan", LATER)]).judge(
        Finding("acme", "a", "x", 2, 0, 0)
    )
    assert (judged.held_by, judged.shadow) == ("allow.1", True)
    assert [note.split(" (")[0] for note in judged.notes] == ["shadow: override", "held by allow.1"]


def test_what_was_forgotten_about_a_network_costs_no_look_at_the_event() -> None:
    """When nothing is said of any network, the source of a finding is not read."""
    tuning = Tuning([])
    one, other = (
        Measure("verdict", "verdict", "why", LATER, sender="acme", source=ip_network(network))
        for network in NETWORKS[:2]
    )
    tuning.add(one)
    tuning.add(other)
    tuning.forget(one)
    stays = Measure("allow", "allow.1", "scan", LATER, sender="acme", covers={"b": None})
    tuning.add(stays)
    found = Finding("acme", "a", "x", 2, 0, 0, lambda: b'{"source_ip":"192.0.2.200"}')
    assert tuning.judge(found).held_by == "verdict"
    tuning.forget(other)
    unread = Finding("acme", "a", "x", 2, 0, 0, lambda: pytest.fail("it was read"))
    assert tuning.judge(unread) == as_found(2)


def test_an_allowlist_holds_back_and_counts() -> None:
    """Nothing is told, not even the end; each state that would have been is counted by its row."""
    incidents, counted = table(allow(covers={"replay-burst": None}))
    for n in range(8):
        assert incidents.take(happening(1, MONDAY + n, count=n + 1, severity=3 + n // 7)) == []
    assert incidents.flush(MONDAY + DAY) == []
    assert incidents.take(happening(1, MONDAY + HOUR, code=EXPIRED, value=None)) == []
    assert counted == {"suppressed.allow.2": 4}  # opened, doubled twice, rose
    assert not incidents.open
    (other,) = incidents.take(happening(2, MONDAY))
    assert (other.sender, other.suppressed, other.notes) == ("s2", 0, ())


def test_an_allowlist_never_holds_back_what_is_critical() -> None:
    """It is told, with a note about the row that was not meant so."""
    incidents, counted = table(allow())
    assert incidents.take(happening(1, MONDAY)) == []
    (told,) = incidents.take(happening(1, MONDAY + 1, severity=5, count=3))
    assert (told.status, told.severity, told.suppressed) == ("open", "critical", 1)
    assert told.opened_at == MONDAY
    assert told.notes == (
        "held by allow.2 (pentest, ticket 4712; until 2025-09-10T00:00Z)",
        (
            "allow.2 (pentest, ticket 4712; until 2025-09-10T00:00Z) does not hold back what is "
            "critical"
        ),
    )
    assert counted == {"suppressed.allow.2": 1}


def test_an_allowlist_ends_by_event_time() -> None:
    """The first event at its end is told, with how many states were held back before."""
    incidents, _ = table(allow(expires=MONDAY + HOUR))
    assert incidents.take(happening(1, MONDAY + HOUR - 1)) == []
    (told,) = incidents.take(happening(1, MONDAY + HOUR, code=CONTRIBUTES, count=2))
    assert (told.status, told.suppressed, told.severity) == ("open", 1, "medium")


def test_an_allowlist_of_a_network_does_not_cover_others() -> None:
    """An attacker who joins an allowed pentest is told, at the severity of his own calls."""
    from ipaddress import ip_network

    incidents, _ = table(allow(source=ip_network("203.0.113.0/24")))
    tester = {"ip": "203.0.113.9", "severity": 4}
    assert incidents.take(happening(1, MONDAY, **tester)) == []
    (told,) = incidents.take(happening(1, MONDAY + 1, code=CONTRIBUTES, count=2, ip="192.0.2.1"))
    assert (told.status, told.severity) == ("open", "medium")
    assert states(incidents.take(happening(1, MONDAY + 2, count=8, **tester))) == []
    assert incidents.flush(MONDAY + HOUR) == []
    (closed,) = incidents.take(happening(1, MONDAY + HOUR, code=EXPIRED, value=None))
    assert (closed.severity, closed.suppressed, closed.count) == ("medium", 2, 8)


def test_an_allowlist_may_name_one_finding() -> None:
    """Another reason of the same detector is told."""
    incidents, _ = table(allow(covers={"replay-burst": frozenset({"same_signature"})}))
    assert incidents.take(happening(1, MONDAY)) == []
    (told,) = incidents.take(happening(1, MONDAY + 1, reason=2))
    assert told.reason == "off_schedule"


def test_shadow_mode_marks_and_changes_nothing_else() -> None:
    """A detector on trial finds the same, with the same ids; the others are not marked."""
    stream = [*ROTATED, *calls(60, 5, rejected="signature_invalid", source_ip=ELSEWHERE)]
    plain, trial = of(Config()), of(Config(shadow=frozenset({"signature-failure-spike"})))
    plain.feed(stream)
    trial.feed(stream)
    assert {a.detector: a.shadow for a in trial.alerts} == {
        "signature-failure-spike": True,
        "spoofed-source": False,
    }
    left = {"shadow", "notes", "config"}

    def told(alerts: list[Alert]) -> list[dict[str, Any]]:
        return [a.model_dump(exclude=left) for a in alerts]

    assert told(plain.alerts) == told(trial.alerts)


def test_shadow_mode_of_one_sender_ends_with_its_override() -> None:
    """Until it expires the sender's findings are marked; what goes on then is told at once."""
    override = Override(
        "acme", "signature-failure-spike", "new receiver", TUESDAY + 5 * MINUTE, {}, shadow=True
    )
    run = of(Config(overrides=(override,)))
    run.feed(calls(20, 30, rejected="signature_invalid"))
    spikes = [a for a in run.alerts if a.detector == "signature-failure-spike"]
    assert [a.shadow for a in spikes] == sorted((a.shadow for a in spikes), reverse=True)
    first = next(a for a in spikes if not a.shadow)
    assert first.updated_at == TUESDAY + 5 * MINUTE
    assert first.status == "updated"


def test_shadow_and_allow_and_plan_need_no_new_state() -> None:
    """A kept state goes on under them, since no row means anything else; other changes do not."""
    core = Core(Config())
    core.feed_sorted(Run(calls(5, 10)).core._decoder.values([]).batch)
    data = core.snapshot()
    for config in (
        Config(shadow=frozenset({"replay-burst"})),
        Config(allows=(allow(),)),
        Config(overrides=(Override("acme", "replay-burst", "r", LATER, {}, shadow=True),)),
    ):
        assert config.hash != Config().hash
        assert Core.restore(config, data).snapshot() == data
    with pytest.raises(StateError):
        Core.restore(Config({"replay-burst": {"threshold": 8.0}}), data)


def test_the_state_of_held_back_incidents_is_kept() -> None:
    """After a snapshot an incident is as untold, and as much held back, as before."""
    incidents, _ = table(allow(expires=MONDAY + HOUR))
    incidents.take(happening(1, MONDAY))
    again, _ = table(allow(expires=MONDAY + HOUR))
    again.restore(json.loads(json.dumps(incidents.snapshot())), incidents.texts())
    late = happening(1, MONDAY + HOUR, count=2)
    assert again.take(late) == incidents.take(late)


ROWS = """\
[detectors.spoofed-source]
shadow = true

[[override]]
sender = "acme"
detector = "payload-volume"
reason = "first week"
expires = 2025-06-12
shadow = true

[[allow]]
sender = "acme"
detector = "replay-burst"
finding = "same_signature"
source = "203.0.113.0/24"
reason = "pentest"
expires = 2025-06-13T12:00:00Z
"""


def test_a_file_says_all_of_it(tmp_path: Path) -> None:
    """Shadow mode and allowlists come from the configuration, and are part of the alert's hash."""
    path = tmp_path / "c.toml"
    path.write_text(ROWS)
    config = load_config(path)
    assert [str(one) for one in config.measures] == [
        "detectors.spoofed-source (on trial)",
        "override.1 (first week; until 2025-06-12T00:00Z)",
        "allow.1 (pentest; until 2025-06-13T12:00Z)",
    ]
    assert config.who("acme", None, 0) == Config().who("acme", None, 0)
    path.write_text(ROWS.replace("pentest", "another reason"))
    assert load_config(path).hash == config.hash
    path.write_text(ROWS.replace("203.0.113.0/24", "203.0.113.0/25"))
    assert load_config(path).hash != config.hash
    assert config.expired(MONDAY) == []
    assert config.expired(LATER) == [
        "override.1 (first week) has expired at 2025-06-12T00:00Z: remove it",
        "allow.1 (pentest) has expired at 2025-06-13T12:00Z: remove it",
    ]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ('reason = "r"\nexpires = 2026-01-01', "needs one of sender, detector"),
        ('sender = "a"\nexpires = 2026-01-01', "allow.reason is missing"),
        ('sender = "a"\nreason = "r"', "allow.expires is missing"),
        ('source = "x"\nreason = "r"\nexpires = 2026-01-01', "allow.source must be a network"),
        ('source = 5\nreason = "r"\nexpires = 2026-01-01', "allow.source must be text"),
        ('detector = "x"\nreason = "r"\nexpires = 2026-01-01', "unknown detector"),
        ('finding = "x"\nreason = "r"\nexpires = 2026-01-01', "finding needs allow.detector"),
        (
            'detector = "replay-burst"\nfinding = "x"\nreason = "r"\nexpires = 2026-01-01',
            "allow.finding must be one of same_signature",
        ),
        ('sender = "a"\nreason = " "\nexpires = 2026-01-01', "allow.reason must be text"),
        ('sender = "a"\nreason = "r"\nexpires = "soon"', "allow.expires must be a date"),
        ('sendr = "a"\nreason = "r"\nexpires = 2026-01-01', "unknown key allow.sendr"),
    ],
)
def test_every_row_of_an_allowlist_has_an_object_a_reason_and_an_end(
    tmp_path: Path, row: str, fault: str
) -> None:
    """What is missing or wrong is named with its line."""
    path = tmp_path / "c.toml"
    path.write_text("[[allow]]\n" + row)
    with pytest.raises(ConfigError, match=fault):
        load_config(path)


def test_an_override_sets_something_or_is_a_trial(tmp_path: Path) -> None:
    """An override that does neither is a fault."""
    path = tmp_path / "c.toml"
    path.write_text(
        '[[override]]\nsender = "a"\ndetector = "replay-burst"\nreason = "r"\nexpires = 2026-01-01'
    )
    with pytest.raises(ConfigError, match="needs set or shadow"):
        load_config(path)
    path.write_text("[detectors.replay-burst]\nshadow = 1")
    with pytest.raises(ConfigError, match=r"replay-burst\.shadow must be true or false"):
        load_config(path)


def test_a_planned_surge_is_not_learned() -> None:
    """After an announced campaign below every alarm bound the usual level is what it was before."""

    def usual_after(kind: PlanKind) -> float:
        run = of(registered(plan(kind, TUESDAY, TUESDAY + 5 * DAY)))
        run.feed(traffic(TUESDAY, days=5, per_hour=45, seed=5))
        run.feed(traffic(TUESDAY + 5 * DAY, days=0.1, per_hour=20, seed=6))
        (known,) = run.core.baselines()
        return known.baselines["payload-volume"].numbers["expected_this_hour"].value

    assert usual_after("campaign") < 22 < 26 < usual_after("maintenance")


def test_what_came_with_an_announced_migration_is_known_after_it() -> None:
    """New network and new client are told once as an info, and are no theft after the plan."""
    run = of(registered(plan("migration", TUESDAY, TUESDAY + HOUR)))
    run.feed(calls(10, 60, **STRANGER))
    (told,) = run.of("spoofed-source")
    assert (told.reason, told.severity, told.source_count) == ("valid_from_new_network", "info", 1)
    run.feed(calls(100, 60, TUESDAY + HOUR, **STRANGER))
    assert not run.loud()
    late = of(registered(plan("migration", TUESDAY - DAY, TUESDAY)))
    late.feed(calls(10, 60, **STRANGER))
    assert late.of("spoofed-source")[0].severity == "high"


def test_words_of_people_are_escaped() -> None:
    """A reason cannot move a terminal's cursor, whoever wrote it."""
    incidents, _ = table(Measure("shadow", "override.1", "a\x1b[2J\nb", LATER))
    (told,) = incidents.take(happening(1, MONDAY))
    assert told.notes == ("shadow: override.1 (a\\u001b[2J\\u000ab; until 2025-09-10T00:00Z)",)


def test_events_at_home_stay_what_they_are() -> None:
    """Plans of one sender leave another alone."""
    inventory = Inventory(
        senders={"acme": Sender("acme"), "beta": Sender("beta")},
        planned=(plan("rotation", TUESDAY, TUESDAY + DAY, sender="beta"),),
    )
    run = of(Config(inventory=inventory))
    run.feed([*ROTATED, event(TUESDAY + SECOND, "beta", source_ip=HOME[0])])
    assert [a.severity.value for a in run.of("signature-failure-spike")] == ["medium"]
