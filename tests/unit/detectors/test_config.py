"""The configuration: every fault at its line, precedence, expiry, and the hash."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alerts.alert import from_rfc3339
from detectors.config import Config, Override, StreamSettings
from detectors.config_file import load_config
from detectors.core import Core
from detectors.errors import ConfigError
from detectors.event import POLICIES
from detectors.registry import detectors_found
from ingest.inventory import Inventory, Sender, load_inventory
from ingest.profiles import load_profiles
from models.store import StoredModel
from tests.unit.detectors.streams import DAY, MONDAY

PARAMETERS = [(d.id, f.name, f.metadata) for d in detectors_found() for f in fields(d.params)]
UNTIL = MONDAY + 10 * DAY


def refused(tmp_path: Path, text: str) -> list[str]:
    """Return the faults of a configuration as ``line: text``."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines), lines
    return [line.removeprefix(f"{path}:") for line in lines]


def params(config: Config, sender: str, provider: str | None, t: int, name: str) -> float:
    """Return a parameter of payload-volume as it applies to one event."""
    detector = next(d for d in config.detectors if d.id == "payload-volume")
    return float(config.params(detector)[config.who(sender, provider, t)][name])


def test_all_faults_come_at_once_each_at_its_line(tmp_path: Path) -> None:
    """Every fault of a file is named in one go, with its own line, also where names repeat."""
    found = refused(
        tmp_path,
        """\
[stream]
late_hours = 24
max_senders = 1
colour = "red"

[detectors.replay-burst]
close_after_s = 3600
threshold = "high"

[detectors.spoofed-source]
close_after_s = -1
surprise = nan
cold_calls = true

[detectors.no-such]
x = 1

[[override]]
sender = "a"
detector = "payload-volume"
reason = "fine"
expires = 2026-01-01
set = { size_ratio = 20.0 }

[[override]]
sender = ""
detector = "payload-volume"
reason = "wrong"
expires = "tomorrow"
set = { size_ratio = 2e9, other = 1 }

[[override]]
detector = "nothing"

[extra]
""",
    )
    assert [int(line.partition(":")[0]) for line in found] == [
        3, 4, 8, 11, 12, 13, 15, 26, 29, 30, 30, 32, 32, 32, 32, 33, 35,
    ]  # fmt: skip
    assert found[0] == "3: stream.max_senders must be a number from 16 to 1.34218e+08 (got 1)"
    assert (
        found[3] == "11: spoofed-source.close_after_s must be a number from 60 to 604800 (got -1)"
    )
    first = detectors_found()[0].id
    assert found[6].startswith(f"15: unknown detector 'no-such'; allowed: {first}, ")


@pytest.mark.parametrize(
    "text",
    [
        "override = 5",
        "[override]\nsender = 'a'",
        "override = [1]",
        "stream = 1",
        "detectors = 1",
        "[detectors]\nreplay-burst = 1",
        "[detectors.replay-burst]\nenabled = 1",
        "[[override]]\nsender='a'\ndetector=['x']\nreason='r'\nexpires=2026-01-01\nset={}",
        "[[override]]\nsender='a'\ndetector='replay-burst'\nreason='r'\nexpires=2026-01-01\nset=5",
        "[[override]]\nsender=1\ndetector={}\nreason='r'\nexpires=07:32:00\nset=[]",
        "not toml",
        "[detectors.replay-burst]\nthreshold = inf",
        "[detectors.replay-burst]\nthreshold = " + "9" * 400,
        "x = " + "[" * 2000,
    ],
)
def test_nothing_that_a_file_can_hold_is_more_than_a_fault(tmp_path: Path, text: str) -> None:
    """Whatever stands where something else belongs is a fault of one line, never a crash."""
    assert refused(tmp_path, text)


def test_all_faults_of_parameters_in_python_come_at_once() -> None:
    """A notebook that names a detector or parameter wrong is told, as a file is."""
    wrong: Any = {
        "replay-brust": {"threshold": 7.5},
        "replay-burst": {"treshold": 7.5, "threshold": 0, "close_after_s": float("nan")},
        "stale-key": 5,
    }
    until = Override("acme", "payload-volume", "a test", UNTIL, {"size_ratio": -1.0})
    with pytest.raises(ConfigError) as caught:
        Config(wrong, overrides=(until,), stream=StreamSettings(max_exact_deliveries=1 << 25))
    told = str(caught.value).splitlines()
    assert [line.split("; ")[0].split(" (got")[0] for line in told] == [
        "override.settings.size_ratio must be a number from 1.5 to 1000",
        "replay-burst.close_after_s must be a number from 60 to 604800",
        "replay-burst.threshold must be a number from 1 to 100",
        "stale-key must be a table",
        "stream.max_exact_deliveries must be a number from 16 to 1.67772e+07",
        "unknown detector 'replay-brust'",
        "unknown key replay-burst.treshold",
    ]


@pytest.mark.parametrize("number", [300, np.float32(300), np.int64(300), Fraction(300)])
def test_a_number_is_one_whatever_its_type(number: Any) -> None:
    """What Python gives as any real number is what a file would have said, hashes included."""
    given, wanted = (Config({"pipeline-health": {"silent_s": one}}) for one in (number, 300.0))
    assert (given.hash, given.state_hash) == (wanted.hash, wanted.state_hash)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and one that is not UTF-8 are configuration faults of one line."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_override_wins_over_setting_wins_over_default_until_it_expires(tmp_path: Path) -> None:
    """Precedence is default < file < override; an override ends by the time of the event."""
    path = tmp_path / "c.toml"
    path.write_text(
        """
[detectors.payload-volume]
count_ratio = 5
[[override]]
sender = "acme"
detector = "payload-volume"
reason = "migration"
expires = 2025-06-12
set = { size_ratio = 20, count_ratio = 9 }
[[override]]
sender = "acme"
detector = "payload-volume"
reason = "more of it"
expires = 2025-06-14T12:00:00+02:00
set = { size_ratio = 30 }
"""
    )
    config = load_config(path)
    at = from_rfc3339
    steps = [
        ("2025-06-11T23:59:59Z", 30.0, 9.0),
        ("2025-06-12T00:00:00Z", 30.0, 5.0),
        ("2025-06-14T09:59:59Z", 30.0, 5.0),
        ("2025-06-14T10:00:00Z", 8.0, 5.0),
    ]
    for provider in ("stripe", None, "unheard-of"):
        for time, size, count in steps:
            assert params(config, "acme", provider, at(time), "size_ratio") == size
            assert params(config, "acme", provider, at(time), "count_ratio") == count
    assert params(config, "beta", "stripe", at(steps[0][0]), "size_ratio") == 8.0


@pytest.mark.parametrize(("detector", "name", "meta"), PARAMETERS)
def test_the_hash_changes_with_every_parameter(detector: str, name: str, meta: object) -> None:
    """Another value of any parameter is another configuration, also in an override."""
    models = {
        d.id: StoredModel(d.module.example_model()) for d in detectors_found() if d.is_learned
    }
    default = {(d, n): f for d, n, f in PARAMETERS}[detector, name]
    other = default["low"] + 0.75 * (default["high"] - default["low"])
    override = Override("acme", detector, "why", UNTIL, {name: other})
    hashes = {
        Config(models=models).hash,
        Config({detector: {name: other}}, models=models).hash,
        Config(overrides=(override,), models=models).hash,
    }
    assert len(hashes) == 3


def test_the_hash_is_that_of_what_detection_depends_on() -> None:
    """Stream settings, inventory, expiry and detectors count; reasons and default values do not."""
    plain = Config()

    def with_override(reason: str, expires: int) -> str:
        override = Override("acme", "replay-burst", reason, expires, {"threshold": 7.0})
        return Config(overrides=(override,)).hash

    inventory = Inventory(senders={"acme": Sender("acme", ranges=("192.0.2.0/24",))})
    different = {
        plain.hash,
        Config(stream=StreamSettings(late_hours=12)).hash,
        Config(stream=StreamSettings(ahead_minutes=1)).hash,
        Config(stream=StreamSettings(max_senders=1000)).hash,
        Config(stream=StreamSettings(max_deliveries=1000)).hash,
        Config(stream=StreamSettings(max_exact_deliveries=1000)).hash,
        Config(disabled=frozenset({"replay-burst"})).hash,
        Config(inventory=inventory).hash,
        with_override("one", UNTIL),
        with_override("one", UNTIL + 1),
    }
    assert len(different) == 10
    assert Config().hash == plain.hash
    assert Config({"replay-burst": {"threshold": 6.9}}).hash == plain.hash
    assert with_override("one", UNTIL) == with_override("another", UNTIL)
    assert len(plain.hash) == 12


PROFILE = 'extends = "github"\n[horizon_s]\nvalue = 60\nas_of = "2026"\nsource = "s"\n'


def facts(config: Config, provider: str, name: str) -> int:
    """Return a fact as steps see it in an event of a provider."""
    return int(config.facts[config.who("any", provider, 0)][name])


def test_profiles_of_ones_own_come_from_the_file_or_the_command_line(tmp_path: Path) -> None:
    """`profiles` is read beside the configuration; a path that is given comes before it."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.toml").write_text(PROFILE)
    (tmp_path / "c.toml").write_text('profiles = "one"\n')
    config = load_config(tmp_path / "c.toml")
    assert {"one", "github"} < config.profiles.keys()
    assert config.hash != Config().hash
    given = load_config(tmp_path / "c.toml", profiles=tmp_path / "two")
    assert "two" in given.profiles
    assert "one" not in given.profiles
    assert load_config(None, profiles=tmp_path / "two" / "two.toml").hash == given.hash


def test_an_inventory_may_be_given_by_its_file(tmp_path: Path) -> None:
    """The path of an inventory makes the configuration that the inventory itself makes."""
    path = tmp_path / "inventory.toml"
    path.write_text('[senders.acme]\nprovider = "stripe"\n')
    config = load_config(None, inventory=path)
    assert config.inventory == load_inventory(path)
    assert load_config(None, inventory=str(path)).hash == config.hash != Config().hash


def test_faults_of_profiles_stand_among_those_of_the_configuration(tmp_path: Path) -> None:
    """All faults of both files come at once, each with its own file and line."""
    (tmp_path / "p.toml").write_text("colour = 1\n")
    (tmp_path / "c.toml").write_text('profiles = "p.toml"\nx = 1\n')
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml")
    assert [line.partition(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{tmp_path / 'p.toml'}:1", f"{tmp_path / 'c.toml'}:2",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"p.toml:1"):
        load_config(None, profiles=tmp_path / "p.toml")
    assert refused(tmp_path, "profiles = 1") == ["1: profiles must be a file or folder (got 1)"]


def test_what_may_be_sent_again_is_within_the_horizon(tmp_path: Path) -> None:
    """A person's resend is as legitimate as a retry: GitHub's three days stay, whatever retries."""
    (tmp_path / "hub.toml").write_text(PROFILE)
    config = load_config(None, profiles=tmp_path)
    assert facts(config, "hub", "horizon") == facts(config, "github", "horizon") == 3 * DAY


def test_a_list_that_is_published_and_not_known_counts_as_none() -> None:
    """Nobody is outside of ranges that the profile does not hold."""
    assert facts(Config(), "zoom", "policy") == POLICIES["unknown"]
    assert facts(Config(), "github", "policy") == POLICIES["published"]
    inventory = Inventory(senders={"any": Sender("any", "zoom", ranges=("192.0.2.0/24",))})
    assert facts(Config(inventory=inventory), "zoom", "policy") == POLICIES["published"]


def test_ranges_of_the_inventory_come_before_those_of_the_profile() -> None:
    """A registered sender's own ranges replace the published ones, and are believed as such."""
    inventory = Inventory(senders={"acme": Sender("acme", "stripe", ranges=("192.0.2.0/24",))})
    config = Config(inventory=inventory)
    mine, other = config.who("acme", "stripe", 0), config.who("beta", "stripe", 0)
    assert [str(n) for n in config.networks[mine]] == ["192.0.2.0/24"]
    assert "3.18.12.63/32" in map(str, config.networks[other])
    assert config.provider(mine) == "stripe"


def test_a_registered_provider_is_believed_before_the_event() -> None:
    """Where the inventory names the provider, an event that claims another one changes nothing."""
    config = Config(inventory=Inventory(senders={"acme": Sender("acme", "stripe")}))
    assert {config.who("acme", p, 0) for p in ("stripe", "github", None, "x")} == {
        config.who("acme", "stripe", 0)
    }


def test_there_may_be_more_classes_of_senders_than_16_bits_hold() -> None:
    """A large inventory keeps every sender's own ranges apart, in the rows too."""
    from tests.unit.detectors.streams import Run, event

    names = [f"s{i:04}" for i in range(3300)]
    senders = {name: Sender(name, ranges=("192.0.2.0/24",)) for name in names}
    run = Run(config=Config(inventory=Inventory(senders=senders)))
    run.feed([event(MONDAY, "s3299")])
    who = int(run.core.table(("sender",)).rows["payload-volume"]["who"][0])
    assert who == run.core.config.who("s3299", None, MONDAY) > 2**15


def test_a_sender_without_anything_of_his_own_shares_a_class() -> None:
    """Names, endpoints and providers of an inventory make no class: the profile's is as good."""
    usual = Config()
    senders = {"any": Sender("any", endpoints=("/a",)), "fixed": Sender("fixed", "github")}
    config = Config(inventory=Inventory(senders=senders))
    assert len(config.facts) == len(usual.facts)
    for provider in ("stripe", "github", "never-heard-of", None):
        assert config.who("any", provider, 0) == usual.who("other", provider, 0)
        assert config.who("fixed", provider, 0) == usual.who("other", "github", 0)


def test_a_class_ends_with_the_override_that_made_it() -> None:
    """Until then a sender has a class of his own, afterwards that of everybody."""
    config = Config(
        overrides=(Override("acme", "payload-volume", "busy", UNTIL, {"close_after_s": 60.0}),)
    )
    usual = config.who("other", "stripe", 0)
    assert config.who("acme", "stripe", UNTIL - 1) != usual
    assert config.who("acme", "stripe", UNTIL) == usual
    assert params(config, "acme", "stripe", UNTIL - 1, "close_after_s") == 60.0


def test_ranges_that_only_a_named_sender_is_held_to_make_a_class() -> None:
    """A profile may list ranges and not say that they are all; of a named sender they are."""
    stripe = replace(load_profiles()["stripe"], source_policy="unknown")
    config = Config(
        profiles={**load_profiles(), "stripe": stripe},
        inventory=Inventory(senders={"acme": Sender("acme")}),
    )
    named, usual = (config.who(sender, "stripe", 0) for sender in ("acme", "other"))
    assert config.networks[named] == config.networks[usual]
    policies = [int(config.facts[which]["policy"]) for which in (named, usual)]
    assert policies == [POLICIES["published"], POLICIES["unknown"]]
    assert config.who("acme", "github", 0) == config.who("other", "github", 0)


def test_parameters_are_made_once_and_are_nobodys_to_change() -> None:
    """All cores of a configuration walk with the same records, which are read-only."""
    config = Config()
    first, second = Core(config, 0), Core(config, 1)
    for one, other in zip(first._runners, second._runners, strict=True):
        assert one.params is other.params
        assert one.params is config.params(one.detector)
        assert not one.params.flags.writeable


def test_senders_of_an_inventory_share_parameters_by_the_thousand() -> None:
    """Ten thousand senders that are only named take no more parameters than none."""
    names = [f"s{i}" for i in range(10_000)]
    config = Config(inventory=Inventory(senders={name: Sender(name) for name in names}))
    sizes = [[c.params(d).nbytes for d in c.detectors] for c in (config, Config())]
    assert sizes[0] == sizes[1]
    assert not config.is_named("s7")
