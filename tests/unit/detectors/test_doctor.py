"""`callwatch doctor`: what it finds, how bad it says that is, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import callwatch
from alerts.alert import from_rfc3339
from detectors import doctor, doctor_machine
from detectors.config import Config, Override
from detectors.doctor import Grade, Trouble, examine, overlaps
from detectors.doctor_machine import of_broker, of_cache, of_machine
from detectors.tuning import Measure
from ingest.errors import TopicError
from ingest.inventory import Endpoint, Inventory, Plan, Sender
from ingest.profiles import Profile, load_profiles
from ingest.topics import NAMES, TOPICS, Existing

NOW = datetime(2026, 11, 21, tzinfo=UTC)
FACT = '[{0}]\nvalue = {1}\nas_of = "{2}"\nsource = "our contract"\n'


def fresh() -> dict[str, Profile]:
    """Return the shipped profiles as if all facts had been read today."""
    return {
        name: replace(
            profile, facts={f: replace(one, as_of="2026-11-21") for f, one in profile.facts.items()}
        )
        for name, profile in load_profiles().items()
    }


def found(config: Config, *, now: datetime = NOW) -> list[tuple[str, str, str]]:
    """Return what the files of a set-up with an inventory show: grade, subject, start of text."""
    troubles = examine(config, now, with_inventory=True)
    return [(str(one.grade), one.subject, one.text) for one in troubles]


def of(inventory: Inventory, **others: Any) -> Config:
    """Return a configuration with an inventory, where profiles are as fresh as can be."""
    return Config(inventory=inventory, **({"profiles": fresh()} | others))


def acme(**fields: Any) -> dict[str, Sender]:
    """Return one registered sender."""
    return {"acme": Sender("acme", **({"provider": "stripe"} | fields))}


def test_a_good_set_up_has_nothing_wrong() -> None:
    """Registered senders and endpoints, fresh facts, all detectors on: no finding at all."""
    inventory = Inventory(
        acme(endpoints=("/hooks/stripe",), ranges=("3.18.12.63/32",)),
        {"/hooks/stripe": Endpoint("/hooks/stripe", callers=("acme",))},
        (Plan("campaign", "acme", NOW, NOW.replace(year=2027), "sale"),),
    )
    overrides = (Override("acme", "replay-burst", "x", from_rfc3339("2027-01-01T00:00:00Z"), {}),)
    assert found(of(inventory, overrides=overrides)) == []


def test_old_facts_of_providers_in_use_are_warnings() -> None:
    """Ranges are old after 90 days, schedules after 365; of other providers nothing is told."""
    shipped = load_profiles()
    ranges_only = {"ranges": shipped["stripe"].facts["ranges"]}
    config = of(
        Inventory(acme()),
        profiles=shipped | {"stripe": replace(shipped["stripe"], facts=ranges_only)},
    )
    assert found(config, now=datetime(2026, 4, 3, tzinfo=UTC)) == []
    ((grade, subject, text),) = found(config, now=datetime(2026, 4, 4, tzinfo=UTC))
    assert (grade, subject) == ("warning", "profile stripe")
    assert text.startswith("ranges as of 2026-01-03, 91 days ago (limit 90): read again")
    config = of(Inventory(acme()), profiles=shipped)
    later = found(config, now=datetime(2027, 11, 21, tzinfo=UTC))
    assert any("schedule, horizon_s, resend_s" in text for _, _, text in later)
    assert {subject for _, subject, _ in later} == {"profile stripe"}


def test_without_an_inventory_old_facts_are_worth_knowing() -> None:
    """Where nobody says which providers matter, an old list of one of them is no warning."""
    troubles = examine(Config(), NOW, with_inventory=False)
    assert {one.grade for one in troubles} == {Grade.INFO}
    assert "profile github" in {one.subject for one in troubles}


def test_a_day_that_is_to_come_was_never_read() -> None:
    """A fact from the future is named, whatever its age limit."""
    profiles = fresh()
    facts = dict(profiles["stripe"].facts)
    facts["ranges"] = replace(facts["ranges"], as_of="2027-01")
    profiles["stripe"] = replace(profiles["stripe"], facts=facts)
    ((_, subject, text),) = found(of(Inventory(acme()), profiles=profiles))
    assert (subject, text[:40]) == ("profile stripe", "ranges: as_of is in the future: read the")


def test_a_published_list_that_is_missing_is_told() -> None:
    """Zoom publishes its networks, and its profile does not hold them."""
    ((grade, subject, text),) = found(of(Inventory(acme(provider="zoom"))))
    assert (grade, subject) == ("warning", "profile zoom")
    assert "the profile does not hold them" in text


def test_an_unknown_provider_is_named_with_what_may_be_meant() -> None:
    """A typing error in the inventory makes a sender generic, and says so."""
    senders = acme(provider="strpe") | {"b": Sender("b"), "c": Sender("c")}
    assert found(of(Inventory(senders))) == [
        ("warning", "senders.acme",
         "provider 'strpe' has no profile, generic is used; is 'stripe' meant?"),
        ("info", "inventory", "b, c: no provider is named; each event's own claim decides"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ranges", "grade", "text"),
    [
        (("10.1.0.0/16", "192.168.1.0/24"), "warning", "10.1.0.0/16, 192.168.1.0/24: private or"),
        (("fd00::/64",), "warning", "fd00::/64: private or reserved"),
        (("3.0.0.0/8",), "warning", "3.0.0.0/8: so wide that strangers are inside"),
        (("2600::/12",), "warning", "2600::/12: so wide that strangers are inside"),
        (("3.18.12.0/24", "3.18.12.63/32"), "info", "3.18.12.63/32 in 3.18.12.0/24: leave the in"),
    ],
)
def test_networks_that_cannot_be_meant(ranges: tuple[str, ...], grade: str, text: str) -> None:
    """Private, much too wide and nested networks of a sender are told."""
    ((given, subject, told),) = found(of(Inventory(acme(ranges=ranges))))
    assert (given, subject) == (grade, "senders.acme, ranges")
    assert told.startswith(text)


def test_a_network_of_two_senders_is_told() -> None:
    """One may pass for the other; of the same provider that is usual and only worth knowing."""
    two = acme(ranges=("198.18.0.0/15", "3.18.12.0/24")) | {
        "beta": Sender("beta", "github", ranges=("3.18.12.64/26",)),
    }
    told = [one for one in found(of(Inventory(two))) if one[1] == "inventory, ranges"]
    text = "3.18.12.64/26 in 3.18.12.0/24 belongs to several: acme, beta; "
    assert told == [("warning", "inventory, ranges", text + "one may then pass for the other")]
    same = acme(ranges=("3.18.12.0/24",)) | {
        "beta": Sender("beta", "stripe", ranges=("3.18.12.0/24",))
    }
    ((grade, _, text),) = found(of(Inventory(same)))
    assert (grade, text[:40]) == ("info", "3.18.12.0/24 belongs to several: acme, b")


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(28, 32), st.sampled_from("ab"))))
def test_overlaps_are_those_that_every_pair_would_show(
    rows: list[tuple[int, int, str]],
) -> None:
    """Whoever lies in a network of another mark is told, and nobody else."""
    marked = [(ip_network((n, bits), strict=False), mark) for n, bits, mark in rows]
    told = set(overlaps(marked))
    inner = {b for _, b in told}
    for place, (network, mark) in enumerate(marked):
        inside = any(
            other != mark and network.subnet_of(around)  # type: ignore[arg-type]
            and (network != around or before < place)
            for before, (around, other) in enumerate(marked)
        )  # fmt: skip
        if inside:
            assert network in inner
    for around, network in told:
        assert network.subnet_of(around)  # type: ignore[arg-type]


def test_endpoints_that_nobody_registered() -> None:
    """What senders may call must be an endpoint; what an endpoint names must be a sender."""
    inventory = Inventory(
        acme(endpoints=("/hooks/stripe", "/hooks/strip")),
        {
            "/hooks/stripe": Endpoint("/hooks/stripe", callers=("acme", "acne")),
            "/hooks/none": Endpoint("/hooks/none"),
        },
    )
    assert found(of(inventory)) == [
        ("warning", "inventory, endpoints",
         "/hooks/strip: senders may call it, and [endpoints] does not have it"),
        ("warning", "endpoints./hooks/stripe",
         "callers: acne: no such sender is registered; is 'acme' meant?"),
        ("info", "endpoints./hooks/none", "no registered sender calls it"),
    ]  # fmt: skip


def test_what_is_over_is_told() -> None:
    """Ended overrides, allowlists and plans have no effect, and hide what is in force."""
    past = datetime(2026, 10, 1, tzinfo=UTC)
    inventory = Inventory(acme(), {}, (Plan("backfill", "acme", past, past, "old"),))
    rows = (
        Override("acme", "replay-burst", "x", from_rfc3339("2026-11-21T00:00:00Z"), {}),
        Override("acne", "replay-burst", "x", from_rfc3339("2026-11-22T00:00:00Z"), {}),
    )
    allows = (
        Measure("allow", "allow.1", "pentest", from_rfc3339("2026-11-20T00:00:00Z")),
        Measure("allow", "allow.2", "pentest", from_rfc3339("2026-11-22T00:00:00Z")),
    )
    assert found(of(inventory, overrides=rows, allows=allows)) == [
        ("warning", "override.1 of acme, replay-burst",
         "expired at 2026-11-21T00:00Z: remove it, or give a new end"),
        ("warning", "override.2 of acne, replay-burst",
         "acne is not in the inventory; is 'acme' meant?"),
        ("warning", "allow.1", "expired at 2026-11-20T00:00Z: remove it, or give a new end"),
        ("info", "planned backfill of acme", "is over since 2026-10-01T00:00Z: remove it"),
    ]  # fmt: skip


def test_what_is_meant_is_guessed_for_the_first_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of unknown names are all told, and ten of each kind compared with the known."""
    compared: list[str] = []
    guess = doctor.get_close_matches

    def matches(name: str, known: list[str], *, n: int) -> list[str]:
        compared.append(name)
        return guess(name, known, n=n)

    monkeypatch.setattr(doctor, "get_close_matches", matches)
    senders = {f"customer-{n}": Sender(f"customer-{n}", provider=f"strip{n}") for n in range(30)}
    callers = {f"/{n}": Endpoint(f"/{n}", callers=(f"custmer-{n}",)) for n in range(30)}
    end = from_rfc3339("2026-11-22T00:00:00Z")
    rows = [Override(f"kustomer-{n % 25}", "replay-burst", "x", end, {}) for n in range(50)]
    told = found(of(Inventory(senders, callers), overrides=tuple(rows)))
    assert sum("kustomer" in text and "not in the inventory" in text for _, _, text in told) == 50
    assert sum("has no profile" in text for _, _, text in told) == 30
    assert sum("no such sender is registered" in text for _, _, text in told) == 30
    assert sum(" meant?" in text for _, _, text in told) == 20 + 10 + 10
    assert len(compared) == len(set(compared)) == 3 * doctor.GUESSED


def test_a_detector_that_is_off_or_on_trial_is_told() -> None:
    """Nobody wonders in a year why replays were never seen."""
    off, trial = frozenset({"replay-burst"}), frozenset({"spoofed-source"})
    config = of(Inventory(acme()), disabled=off, shadow=trial)
    assert [(grade, subject, text[:18]) for grade, subject, text in found(config)] == [
        ("warning", "detectors.replay-burst", "is switched off: n"),
        ("warning", "detectors.spoofed-source", "is in shadow mode,"),
    ]


def test_names_of_strangers_cannot_paint_the_terminal() -> None:
    """Names from files are escaped and cut in a line for people."""
    line = str(Trouble(Grade.INFO, "senders.\x1b[2J", "x" * 1000))
    assert "\x1b" not in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, []),
        ({"python": (3, 10)}, [("error", "Python")]),
        ({"python": (3, 14)}, [("info", "Python")]),
        ({"has": lambda name: name != "crc32c"}, [("warning", "package crc32c")]),
        ({"environ": {"NUMBA_DISABLE_JIT": "1"}}, [("warning", "NUMBA_DISABLE_JIT")]),
        ({"environ": {"NUMBA_DISABLE_JIT": "0"}}, []),
    ],
)
def test_the_machine(
    arguments: dict[str, Any],
    told: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Python, the packages that are easily forgotten, and a switch that was left on."""
    monkeypatch.setenv("CALLWATCH_CACHE_DIR", str(tmp_path))
    usual: dict[str, Any] = {"environ": {}, "python": (3, 11), "has": lambda name: True}
    given = usual | arguments
    troubles = of_machine(given.pop("environ"), **given)
    assert [(str(one.grade), one.subject) for one in troubles] == told


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be writable, for its owner alone; one that does not exist yet is fine."""
    assert list(of_cache(tmp_path / "new" / "folder")) == []
    (tmp_path / "file").write_text("")
    (blocked,) = of_cache(tmp_path / "file" / "folder")
    assert "is not writable" in blocked.text or "cannot be looked at" in blocked.text
    tmp_path.chmod(0o777)
    (open_to_all,) = of_cache(tmp_path)
    assert (open_to_all.grade, "what they write is run" in open_to_all.text) == (Grade.ERROR, True)
    tmp_path.chmod(0o770)
    assert [one.grade for one in of_cache(tmp_path)] == [Grade.WARNING]
    tmp_path.chmod(0o700)
    monkeypatch.setattr(doctor_machine.os, "access", lambda *_: False)
    assert ["is not writable" in one.text for one in of_cache(tmp_path)] == [True]


class _Cluster:
    """A cluster in memory."""

    def __init__(self, existing: Mapping[str, Existing]) -> None:
        self._existing = dict(existing)

    def existing(self, names: Sequence[str] = NAMES) -> dict[str, Existing]:
        return {name: there for name, there in self._existing.items() if name in names}


def test_a_broker_and_its_topics() -> None:
    """A good broker has nothing wrong; missing topics, wrong settings and no broker are errors."""
    good = {one.name: Existing(6, one.settings) for one in TOPICS}
    servers = {"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "a:9092"}

    def look(existing: Mapping[str, Existing], environ: Mapping[str, str] = servers) -> list[str]:
        troubles = of_broker(None, environ, connect=lambda **_: _Cluster(existing))
        return [str(one) for one in troubles]

    assert look(good) == []
    (missing,) = look({name: one for name, one in good.items() if name != "callwatch.state"})
    assert missing.startswith("error   topic callwatch.state: is missing; `callwatch topics create")
    (wrong,) = look(good, {"CALLWATCH_KAFKA_SECURITY_PROTOCOL": "SASL"})
    assert wrong.startswith("error   kafka: CALLWATCH_KAFKA_SECURITY_PROTOCOL must be one of")

    def nobody(**_: Any) -> _Cluster:
        msg = "kafka a:9092: no broker answers"
        raise TopicError(msg)

    (silent,) = of_broker("a:9092", {}, connect=nobody)
    assert str(silent) == "error   kafka: kafka a:9092: no broker answers"


def run(*arguments: object) -> int:
    """Run the command in this process; return its exit code."""
    try:
        return callwatch.main(["doctor", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine of which nothing is to be said."""
    monkeypatch.setenv("CALLWATCH_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("NUMBA_DISABLE_JIT", "CALLWATCH_KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("detectors.doctor_cli.of_machine", lambda _: [])


def test_the_command_tells_and_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line a finding, the worst first; 3 only where --fail-on asks for it."""
    inventory = tmp_path / "inventory.toml"
    inventory.write_text('[senders.acme]\nprovider = "strpe"\n[senders.b]\n')
    given = ("--inventory", inventory, "--now", "2026-11-21")
    assert run(*given) == 0
    out, err = capsys.readouterr()
    assert [line[:8] for line in out.splitlines()] == ["warning ", "info    "]
    assert err == "looked at profiles, configuration, machine, inventory: 1 warning, 1 info\n"
    assert run(*given, "--fail-on", "warning") == 3
    assert run(*given, "--fail-on", "error") == 0


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads one object, with all grades counted."""
    assert run("--json", "--now", "2026-01-10T00:00:00+02:00") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["looked_at"] == ["profiles", "configuration", "machine"]
    assert record["counts"].keys() == {"error", "warning", "info"}
    assert len(record["findings"]) == sum(record["counts"].values())
    assert {one["subject"] for one in record["findings"]} >= {"profile github"}


def test_files_that_cannot_be_used_are_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All faults of all three files are told, with their lines, and the rest goes on."""
    (tmp_path / "c.toml").write_text("[stream]\nlate_hours = -1\n[detectors.x]\n")
    (tmp_path / "i.toml").write_text("[senders.a]\nranges = 1\n")
    (tmp_path / "p.toml").write_text("colour = 1\n" + FACT.format("jitter", 2, "2026"))
    given = ("--config", tmp_path / "c.toml", "--inventory", tmp_path / "i.toml")
    assert run(*given, "--profiles", tmp_path / "p.toml", "--fail-on", "error") == 3
    lines = capsys.readouterr().out.splitlines()
    errors = [line for line in lines if line.startswith("error ")]
    places = [line.partition(f"{tmp_path}/")[2][:8] for line in errors]
    assert places == ["i.toml:2", "p.toml:1", "p.toml:3", "c.toml:2", "c.toml:3"]
    assert any(line.startswith("info    profile github") for line in lines)


def test_profiles_of_ones_own_always_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who gives a profile uses it: its old facts are warnings without any inventory."""
    (tmp_path / "shop.toml").write_text(FACT.format("ranges", '["10.0.0.0/8"]', "2025-01-01"))
    assert run("--profiles", tmp_path, "--now", "2026-11-21") == 0
    warned = [one for one in capsys.readouterr().out.splitlines() if one.startswith("warning")]
    assert [one.split(":")[0] for one in warned] == [
        "warning profile shop", "warning profile shop, ranges", "warning profile shop, ranges",
    ]  # fmt: skip


def test_a_day_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no day is wrong usage, in one line that says what is allowed."""
    assert run("--now", "tomorrow") == 2
    assert "must be a date such as 2026-11-21 (got 'tomorrow')" in capsys.readouterr().err


def test_the_shipped_profiles_are_as_the_doctor_wants_them() -> None:
    """No list that ships is private, nested or too wide, whatever its age."""
    for name, profile in load_profiles().items():
        assert list(doctor.of_networks(name, profile.ranges)) == []
    used = set(load_profiles())
    told = list(doctor.of_profiles(load_profiles(), used, date(2026, 11, 21)))
    assert {one.grade for one in told} == {Grade.WARNING}
