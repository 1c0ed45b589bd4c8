"""States under another inventory: what goes on as before, what changes at once, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alerts.alert import Alert
from detectors.config import Config, Override, StreamSettings
from detectors.core import SENDER, Core
from detectors.errors import StateError
from detectors.event import DAY, HOUR
from detectors.priors import Prior
from detectors.registry import detectors_found
from detectors.snapshot import pack, unpack
from ingest.inventory import Inventory, Sender
from ingest.profiles import Profile, load_profiles
from models.store import StoredModel
from tests.states import merged, packed_again
from tests.unit.detectors.streams import (
    ELSEWHERE,
    HOME,
    MONDAY,
    STRIPE,
    TUESDAY,
    Event,
    Run,
    calls,
    event,
    traffic,
    usual_of,
    warm,
)

LATER = TUESDAY + 100 * DAY
PROFILES = load_profiles()
KNOWN = Sender("omega")
"""Who is named before and after: the first that is named makes all others unregistered."""


def config_of(
    *senders: Sender, overrides: tuple[Override, ...] = (), **profiles: Profile | None
) -> Config:
    """Return a configuration with this inventory; a profile that is None is left out."""
    known = PROFILES | profiles
    return Config(
        inventory=Inventory(senders={one.name: one for one in (KNOWN, *senders)}),
        overrides=overrides,
        profiles={name: one for name, one in known.items() if one is not None},
    )


PATIENT = Override("acme", "sender-silence", "moves", LATER, {"least_s": 5.5 * 3600.0})
OURS = ("192.0.2.0/24", "198.51.100.0/24")
FIRST = replace(PROFILES["generic"], name="aaa", horizon_s=60.0)
CHANGED = {
    "another sender": config_of(Sender("aaa", ranges=OURS)),
    "its ranges": config_of(Sender("acme", ranges=OURS)),
    "its provider": config_of(Sender("acme", "stripe")),
    "an override": config_of(overrides=(PATIENT,)),
    "facts": config_of(
        stripe=replace(
            PROFILES["stripe"], ranges=("203.0.113.0/24",), gaps_s=(9.0,), tolerance_s=7.0
        )
    ),
    "a profile more": config_of(aaa=FIRST),
    "a profile less": config_of(adyen=None),
}


@pytest.mark.parametrize("config", CHANGED.values(), ids=CHANGED)
def test_what_is_said_of_a_sender_or_a_provider_costs_no_state(config: Config) -> None:
    """It changes what alerts say of their configuration, and not what a state must fit."""
    data = Run(calls(40, 60), config=config_of()).core.snapshot()
    core = Core.restore(config, data)
    assert core.incidents.config_hash == config.hash != config_of().hash
    assert config.state_hash == Config().state_hash == config_of().state_hash
    rows, kept = unpack(core.snapshot()).arrays, unpack(data).arrays
    assert rows.keys() == kept.keys()
    for name, array in kept.items():  # nothing else is touched
        for field in array.dtype.names or ():
            if field != "who":
                assert rows[name][field].tobytes() == array[field].tobytes(), (name, field)
        if not array.dtype.names and name != "classes/told":
            assert rows[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize(
    "config",
    [
        Config({"replay-burst": {"threshold": 8.0}}),
        Config({"sender-silence": {"least_s": 5.5 * 3600.0}}),
        Config({"pipeline-health": {"late_s": 60.0}}),
        Config(disabled=frozenset({"replay-burst"})),
        Config(disabled=frozenset({"endpoint-probe"})),
        Config(stream=StreamSettings(max_senders=1000)),
        Config(priors={"stripe": Prior(0.02, 50.0)}),
    ],
)
def test_what_is_said_for_everybody_needs_a_new_state(config: Config) -> None:
    """Parameters, detectors, priors, and how the stream is read: refused, as a state of old is."""
    with pytest.raises(StateError, match=r"^snapshot: made with configuration"):
        Core.restore(config, Core(config_of()).snapshot())


def test_the_order_of_an_inventory_means_nothing() -> None:
    """Sections that were sorted anew are the same configuration."""
    senders = [Sender("acme", "stripe"), Sender("beta", ranges=OURS), Sender("aaa", ranges=OURS)]
    one, other = config_of(*senders), config_of(*reversed(senders))
    assert (one.hash, one.classes) == (other.hash, other.classes)


def test_a_state_that_comes_back_is_the_same_byte_for_byte() -> None:
    """Classes that others moved are moved back; so are those of an override that has ended."""
    ending = Override("acme", "payload-volume", "why", MONDAY + DAY, {"size_ratio": 20.0})
    lasting = Override("beta", "payload-volume", "why", LATER, {"size_ratio": 20.0})
    first = config_of(Sender("acme", ranges=OURS), overrides=(ending, lasting))
    other = config_of(
        Sender("aaa", ranges=OURS), Sender("acme", ranges=OURS), overrides=(ending, lasting),
        aaa=FIRST,
    )  # fmt: skip
    early = traffic(MONDAY, days=0.9)
    run = Run(
        early, traffic(sender="beta", days=3), traffic(sender="gamma", days=3, provider="stripe"),
        config=first,
    )  # fmt: skip
    data = run.core.snapshot()
    moved = Core.restore(other, data)
    who = [core._tables[SENDER].rows["pace"]["who"][:3] for core in (run.core, moved)]
    assert np.all(who[0] < who[1])
    assert Core.restore(first, moved.snapshot()).snapshot() == data
    assert Core.restore(first, data).snapshot() == data


def fleet() -> Iterator[Event]:
    """Yield the usual calls of three senders, and of one that is heard all the time."""
    yield from traffic(days=DAYS, per_hour=40)
    yield from traffic(days=DAYS, per_hour=40, sender="beta", ips=STRIPE, **usual_of("stripe"))
    yield from traffic(days=DAYS, per_hour=40, sender="gamma")
    yield from calls(DAYS * 360, 240.0, MONDAY, sender="others")


DAYS = 8
STOP = MONDAY + DAYS * DAY


def trouble() -> Iterator[Event]:
    """Yield what is to be told of each of the three: forgery, a replay, a silence."""
    yield from calls(200, 240.0, STOP, sender="others")
    for sender in ("acme", "beta", "gamma"):
        yield from calls(
            40, 10, STOP + HOUR, sender=sender, source_ip=ELSEWHERE, rejected="signature_invalid"
        )
        provider = "stripe" if sender == "beta" else "svix"
        yield from calls(8, 60, STOP + 2 * HOUR, sender=sender, provider=provider,
                         signature_fp="ab" * 16, source_ip=ELSEWHERE)  # fmt: skip


def told(alerts: list[Alert], *senders: str) -> list[dict[str, Any]]:
    """Return the alerts about these senders, but for the configuration's hash."""
    return [a.model_dump(exclude={"config"}) for a in alerts if a.sender in senders]


@pytest.fixture(scope="module")
def kept() -> bytes:
    """The state of the fleet."""
    return Run(fleet(), config=config_of()).core.snapshot()


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        ("another sender", ""),
        ("its ranges", "acme"),
        ("its provider", "acme"),
        ("an override", "acme"),
        ("facts", "beta"),
        ("a profile more", ""),
        ("a profile less", ""),
    ],
)
def test_whoever_is_not_concerned_is_told_of_as_ever(
    kept: bytes, change: str, concerned: str
) -> None:
    """Ids and contents of alerts are the same; so are those of timers that no event came before."""
    usual, run = Run(config=config_of()), Run(config=CHANGED[change])
    stream = list(trouble())
    for one in (usual, run):
        one.core = Core.restore(one.core.config, kept)
        one.feed(stream)
    others = {"acme", "beta", "gamma"} - {concerned}
    expected = told(usual.alerts, *others)
    assert {a["detector"] for a in expected} >= {
        "sender-silence", "signature-failure-spike", "spoofed-source", "replay-burst",
    }  # fmt: skip
    assert told(run.alerts, *others) == expected


def test_a_timer_judges_by_the_inventory_that_is_in_force(kept: bytes) -> None:
    """Before the sender has called again: by its new parameters, and under its new provider."""

    def silence(config: Config) -> Alert:
        run = Run(config=config)
        run.core = Core.restore(config, kept)
        run.feed(calls(200, 240.0, STOP, sender="others"))
        found = [a for a in run.alerts if (a.detector, a.sender) == ("sender-silence", "acme")]
        return found[0]

    usual = silence(config_of())
    assert usual.provider == "generic"
    assert usual.opened_at < STOP + HOUR
    assert silence(config_of(overrides=(PATIENT,))).opened_at > STOP + 5 * HOUR
    registered = silence(config_of(Sender("acme", "stripe")))
    assert (registered.provider, registered.opened_at) == ("stripe", usual.opened_at)
    ended = replace(PATIENT, expires=MONDAY + DAY)
    assert silence(config_of(overrides=(ended,))).opened_at == usual.opened_at


def test_who_is_taken_out_goes_by_what_was_known_until_its_next_event() -> None:
    """A row holds no other provider than the one that the inventory fixed."""
    fixed = Run(traffic(days=1, provider="github"), config=config_of(Sender("acme", "stripe")))
    core = Core.restore(config_of(), fixed.core.snapshot())
    (known,) = [one.provider for one in core.baselines()]
    assert known == "stripe"
    run = Run(config=config_of())
    run.core = core
    run.feed([event(MONDAY + 2 * DAY, provider="github")])
    assert [one.provider for one in core.baselines()] == ["github"]
    lost = Core.restore(config_of(github=None), core.snapshot())
    assert [one.provider for one in lost.baselines()] == ["generic"]


@pytest.mark.parametrize(
    ("ranges", "reasons"), [(OURS, {"range_drift"}), ((*OURS, "203.0.113.0/24"), set())]
)
def test_ranges_are_held_against_the_next_call(ranges: tuple[str, ...], reasons: set[str]) -> None:
    """A sender of three weeks whose ranges are registered now: what is outside of them is told."""
    run = warm()
    assert {one.provider for one in run.core.baselines()} == {"generic"}
    config = Config(inventory=Inventory(senders={"acme": Sender("acme", ranges=ranges)}))
    run.core = Core.restore(config, run.core.snapshot())
    run.feed(calls(30, 60, source_ip=ELSEWHERE), calls(30, 60, TUESDAY + 30, source_ip=HOME[0]))
    assert {a.reason for a in run.of("spoofed-source")} == reasons


def test_facts_of_a_provider_are_watched_under_another_number() -> None:
    """That its senders called today is kept by its name: old facts are told at midnight."""
    old = {n: replace(f, as_of="2020-01-01") for n, f in PROFILES["stripe"].facts.items()}
    stripe = replace(PROFILES["stripe"], facts=old)
    run = Run(config=config_of(stripe=stripe))
    run.feed(calls(10, 60, MONDAY + HOUR, sender="omega", provider="stripe"))
    assert run.alerts == []
    config = config_of(Sender("aaa", ranges=OURS), stripe=stripe, aaa=FIRST, adyen=None)
    later = Run(config=config)
    later.core = Core.restore(config, run.core.snapshot())
    later.until(MONDAY + DAY + HOUR)
    assert [(a.reason, a.provider) for a in later.alerts] == [("facts_stale", "stripe")]
    gone = Run(config=config_of(stripe=None))
    gone.core = Core.restore(gone.core.config, run.core.snapshot())
    gone.until(MONDAY + DAY + HOUR)
    assert gone.alerts == []


def test_a_learned_model_does_not_stand_in_the_way() -> None:
    """Its rows name classes too, and they may be missing."""
    (outlier,) = [d for d in detectors_found() if d.is_learned]
    models = {outlier.id: StoredModel(outlier.module.example_model())}
    config = Config(models=models, inventory=CHANGED["another sender"].inventory)
    for before in (Config(), Config(models=models)):
        run = Run(traffic(days=1, provider="stripe"), config=before)
        core = Core.restore(config, run.core.snapshot())
        rows = core._tables[SENDER].rows[outlier.id]
        fits = config.who("acme", "stripe", 0)
        assert rows["who"][0] == (fits if before.models else 0)


def test_after_another_inventory_comes_a_whole_checkpoint() -> None:
    """Changes could not tell that the classes have moved; those that follow build on it."""
    for config, is_whole in ((config_of(), False), (CHANGED["another sender"], True)):
        run = Run(traffic(days=1), config=config_of())
        run.core = Core.restore(config, run.core.snapshot())
        copied = run.core.copied(whole=False)
        assert copied.whole == is_whole
        base = run.core.snapshot()
        run.feed(calls(5, 60, MONDAY + DAY))
        change = run.core.copied(whole=False)
        assert not change.whole
        written = b"".join(change.pieces())
        assert packed_again(base, [written]) == run.core.snapshot()
        assert Core.restore(config_of(), merged(base, [written])).stream_time_us is not None


def broken(change: Callable[[Any], Any]) -> bytes:
    """Return a state that says something else of its classes."""
    header, arrays = unpack(Run(traffic(days=1), config=config_of()).core.snapshot())
    given = json.loads(arrays["classes/told"].tobytes())
    text = json.dumps(change(given)).encode()
    return pack(header, arrays | {"classes/told": np.frombuffer(text, np.uint8)})


@pytest.mark.parametrize(
    "change",
    [
        lambda told: [told[0], told[1][:1]],
        lambda told: [told[0], []],
        lambda told: [told[0], [["stripe"] for _ in told[1]]],
        lambda told: [told[0], [[7, 7] for _ in told[1]]],
        lambda told: [told[0], [["stripe", "x"] for _ in told[1]]],
        lambda told: [told[0], [["stripe", True] for _ in told[1]]],
        lambda told: told[1],
        lambda _: None,
        lambda _: {"a": 1, "b": 2},
    ],
)
def test_classes_that_make_no_sense_are_refused(change: Callable[[Any], Any]) -> None:
    """A row is never read by a number of which its state says nothing."""
    for config in (config_of(), CHANGED["a profile more"]):
        with pytest.raises(StateError, match=r"^snapshot: does not fit"):
            Core.restore(config, broken(change))


def test_a_class_that_is_none_is_refused() -> None:
    """A number out of all classes would be read from beside the parameters."""
    for number in (-1, 10_000):
        header, arrays = unpack(Run(traffic(days=1), config=config_of()).core.snapshot())
        for name in ("sender/rows.pace", "sender/rows.sender-silence"):
            rows = arrays[name].copy()
            rows["who"] = number
            with pytest.raises(StateError, match="classes of parameters: allowed are 0 to"):
                Core.restore(config_of(), pack(header, arrays | {name: rows}))
    header, arrays = unpack(Core(config_of()).snapshot())
    del arrays["classes/told"]
    with pytest.raises(StateError, match=r"^snapshot: does not fit"):
        Core.restore(config_of(), pack(header, arrays))
