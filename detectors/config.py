"""The configuration: parameters of every detector for every class of senders.

A class of senders shares its parameters: one for each provider profile, one for each sender to whom
an override or own ranges give others than his profile. Precedence: default < profile < override. A
file of it is read by ``detectors.config_file``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from alerts.explain import safe
from detectors import health, health_parts
from detectors.base import Detector
from detectors.errors import ConfigError
from detectors.event import FRESHNESS, POLICIES, SECOND
from detectors.params import Ranges, params_dtype, ranges_of, wrong_numbers
from detectors.plans import plans_of
from detectors.priors import Prior
from detectors.registered import register_of
from detectors.registry import alerting_found, detectors_found, unknown_detector
from detectors.tuning import ALWAYS, NEVER, Measure, planned
from ingest.inventory import Inventory
from ingest.profiles import GENERIC, Profile, load_profiles
from models import schedule
from models.sizes import SIZES
from models.store import StoredModel

FACTS = np.dtype(
    [
        ("freshness", "i2"),
        ("policy", "i2"),
        ("tolerance", "i8"),
        ("horizon", "i8"),
        ("overlap", "i8"),
        ("max_attempts", "i4"),
    ]
)
PRIOR_SHARES = "signature-failure-spike"
"""The detector whose parameters a fitted failure share sets."""
USUAL_OVERLAP_S = 86_400.0
"""Of old and new keys, where a profile says nothing: Stripe's and Svix's 24 h."""
LAYOUT_VERSION = 5
"""Part of the configuration's hash: raise it when a step means something else by a row,
or a snapshot is laid out otherwise."""

_NO_PARAMS: Final = np.zeros(0)

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Override:
    """Parameters of one detector for one sender, until it expires (event time, microseconds)."""

    sender: str
    detector: str
    reason: str
    expires: int
    settings: Mapping[str, float]
    shadow: bool = False
    """Whether what it finds is only marked and counted."""


@dataclass(frozen=True)
class StreamSettings:
    """How the stream of a partition is read."""

    late_hours: float = 24.0
    """How far behind stream time an event of a log may be."""
    ahead_minutes: float = 5.0
    """How far ahead of its broker's time (of the start, for files) an event may be."""
    max_senders: int = 1 << 20
    """Senders kept in one partition; the oldest goes, and is counted."""
    max_deliveries: int = 1 << 22
    """Deliveries and signed units remembered in one partition, for three days."""
    max_exact_deliveries: int = 1 << 17
    """Of these, the newest, of which is known what became of them."""


STREAM_RANGES: Final[Ranges] = {
    "late_hours": (0.01, 24 * 30.0),
    "ahead_minutes": (0.0, 24 * 60.0),
    "max_senders": (16, 1 << 27),
    "max_deliveries": (16, 1 << 30),
    "max_exact_deliveries": (16, 1 << 24),
}


@dataclass(frozen=True)
class SenderClass:
    """Senders that share parameters."""

    profile: Profile
    sender: str | None
    networks: tuple[Network, ...]
    overrides: tuple[Override, ...] = ()
    until: int = NEVER
    """The event time at which its sender goes on in another."""


class Config:
    """Everything that detection depends on beside the events.

    ``settings`` are parameters by detector, as a configuration file has them under ``[detectors]``;
    ConfigError names those that there are none of, or that are out of their range.
    """

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, float]] | None = None,
        *,
        stream: StreamSettings | None = None,
        overrides: tuple[Override, ...] = (),
        inventory: Inventory | None = None,
        profiles: Mapping[str, Profile] | None = None,
        disabled: frozenset[str] = frozenset(),
        shadow: frozenset[str] = frozenset(),
        allows: tuple[Measure, ...] = (),
        priors: Mapping[str, Prior] | None = None,
        control_key: bytes | None = None,
        models: Mapping[str, StoredModel] | None = None,
    ) -> None:
        self.stream = stream or StreamSettings()
        self.settings = _checked(settings or {}, self.stream, overrides)
        self.control_key = control_key
        """Under which control records are signed: a secret, and no part of the hash."""
        self.disabled = disabled
        self.priors = dict(priors or {})
        self.overrides = overrides
        self.inventory = inventory or Inventory()
        self.register = register_of(self.inventory)
        self.profiles = profiles or load_profiles()
        self.models = dict(models or {})
        """Learned models by detector; without one a learned detector does not run."""
        enabled = [
            found
            for found in detectors_found()
            if found.id not in disabled and (not found.is_learned or found.id in self.models)
        ]
        self.detectors: tuple[Detector, ...] = tuple(d for d in enabled if not d.is_shared)
        self.shared: tuple[Detector, ...] = tuple(d for d in enabled if d.is_shared)
        watches = health.ID not in disabled
        self.health = health_parts.Params(**self.settings.get(health.ID, {})) if watches else None
        self._params: dict[str, tuple[Detector, NDArray[Any]]] = {}
        self._classes: list[SenderClass] = []
        self._of_provider: dict[str | None, int] = {}
        self._of_sender: dict[str, dict[str | None, tuple[tuple[int, int], ...]]] = {}
        self._make_classes()
        self.facts = _facts(self._classes)
        self.schedules = _schedules(self._classes)
        self.networks = [c.networks for c in self._classes]
        self.plans = plans_of(self.inventory.planned)
        self.shadow = shadow
        self.allows = allows
        self.measures = self._measures()
        self._learned = {
            d.id: np.array([self.models[d.id].record], d.module.MODEL)
            for d in enabled
            if d.is_learned
        }

    def _make_classes(self) -> None:
        for name in sorted(self.profiles):
            profile = self.profiles[name]
            self._of_provider[name] = len(self._classes)
            self._classes.append(SenderClass(profile, None, _networks(profile.ranges)))
        self._of_provider[None] = self._of_provider[GENERIC]
        overrides: dict[str, list[Override]] = {}
        for override in self.overrides:
            if override.settings:
                overrides.setdefault(override.sender, []).append(override)
        for sender in sorted(overrides.keys() | self.inventory.senders.keys()):
            registered = self.inventory.senders.get(sender)
            fixed = registered.provider if registered else None
            own = _networks(registered.ranges) if registered else ()
            mine = overrides.get(sender, [])
            is_fixed = fixed in self.profiles
            providers = [fixed] if is_fixed else sorted(self.profiles)
            of: dict[str | None, tuple[tuple[int, int], ...]] = {
                p: self._steps(sender, p, own, mine) for p in providers if p is not None
            }
            if not is_fixed and all(of[p] == ((NEVER, self._of_provider[p]),) for p in of):
                continue  # goes by the provider of each event, as those that nobody named
            self._of_sender[sender] = {**of, None: of.get(GENERIC, next(iter(of.values())))}

    def _steps(
        self, sender: str, provider: str, own: tuple[Network, ...], mine: list[Override]
    ) -> tuple[tuple[int, int], ...]:
        """Return (until, class) pairs: each time an override expires another class begins."""
        which = self._of_provider[provider]
        usual = self._classes[which]
        steps = []
        for until in (*sorted({o.expires for o in mine}), NEVER):
            live = tuple(o for o in mine if o.expires >= until)
            one = SenderClass(usual.profile, sender, own or usual.networks, live, until)
            if not live and one.networks == usual.networks and _policy(one) == _policy(usual):
                steps.append((until, which))
            else:
                steps.append((until, len(self._classes)))
                self._classes.append(one)
        return tuple(steps)

    def _measures(self) -> tuple[Measure, ...]:
        """Return everything that changes what is told, and nothing that is computed."""
        found = [planned(sender, plan) for sender, of in self.plans.items() for plan in of]
        found += [
            Measure("shadow", f"detectors.{name}", "on trial", NEVER, covers={name: None})
            for name in sorted(self.shadow)
        ]
        found += [
            Measure(
                "shadow", f"override.{n}", o.reason, o.expires, ALWAYS, o.sender, {o.detector: None}
            )
            for n, o in enumerate(self.overrides, start=1)
            if o.shadow
        ]
        return (*found, *self.allows)

    def expired(self, now: int) -> list[str]:
        """Say which rows of the file have no effect any more at a time."""
        rows = [
            (f"override.{n}", o.expires, o.reason) for n, o in enumerate(self.overrides, start=1)
        ]
        rows += [(one.name, one.expires, one.reason) for one in self.allows]
        return [
            f"{name} ({safe(reason, 100)}) has expired at {to_rfc3339(expires)[:16]}Z: remove it"
            for name, expires, reason in rows
            if expires <= now
        ]

    def who(self, sender: str, provider: str | None, t: int) -> int:
        """Return the class of parameters of an event."""
        named = self._of_sender.get(sender)
        if named is not None:
            for until, which in named.get(provider) or named[None]:
                if t < until:
                    return which
        which_or_none = self._of_provider.get(provider)
        return self._of_provider[None] if which_or_none is None else which_or_none

    def is_named(self, sender: str) -> bool:
        """Tell whether a sender may have a class of its own; all others go by their provider."""
        return sender in self._of_sender

    @property
    def named(self) -> Iterable[str]:
        """All of whom that is true."""
        return self._of_sender

    def is_steady(self, sender: str, provider: str | None) -> bool:
        """Tell whether ``who`` gives the same answer at all times."""
        named = self._of_sender.get(sender)
        return named is None or len(named.get(provider) or named[None]) == 1

    def provider(self, who: int) -> str:
        """Return the name of a class's profile."""
        return self._classes[who].profile.name

    @property
    def profile_of_class(self) -> list[Profile]:
        """The profile of each class."""
        return [one.profile for one in self._classes]

    def params(self, detector: Detector) -> NDArray[Any]:
        """Return the detector's parameters as one record for each class.

        All cores of a configuration share them, so nobody can write to them.
        """
        made, table = self._params.get(detector.id, (None, _NO_PARAMS))
        if made is not detector:
            table = self._params_of(detector)
            table.flags.writeable = False
            self._params[detector.id] = detector, table
        return table

    def _params_of(self, detector: Detector) -> NDArray[Any]:
        profiles, of = _profiles(self._classes)
        rows = np.zeros(len(profiles), params_dtype(detector))
        for row, profile in zip(rows, profiles, strict=True):
            prior = self.priors.get(profile.name, Prior())
            for name, value in self._numbers(detector, prior).items():
                row[name] = value
            if "sizes" in (rows.dtype.names or ()):
                row["sizes"] = prior.record()
        table: NDArray[Any] = rows[of]
        for which, members in enumerate(self._classes):
            for override in members.overrides:
                if override.detector == detector.id:
                    for name, value in override.settings.items():
                        table[name][which] = value
        table["schedule"] = self.schedules
        return table

    def _numbers(self, detector: Detector, prior: Prior) -> dict[str, float]:
        """Return a detector's parameters for senders of whom no override speaks."""
        defaults: dict[str, Any] = {f.name: f.default for f in fields(detector.params)}
        fitted = prior.params() if detector.id == PRIOR_SHARES else {}
        given = defaults | fitted | self.settings.get(detector.id, {})
        return {name: float(given[name]) for name in defaults}

    def model(self, detector: Detector) -> tuple[NDArray[Any], ...]:
        """Return what a walk takes for a learned model: nothing for a detector without one."""
        return (self._learned[detector.id],) if detector.is_learned else ()

    def _values(self, detector: Detector) -> list[Any]:
        """Return a detector's parameters of all classes, for the hashes."""
        table = self.params(detector)
        names = table.dtype.names or ()
        found = [[table[name].tolist() for name in names if name not in ("schedule", "sizes")]]
        if "sizes" in names:
            found += [table["sizes"][name].tolist() for name in SIZES.names or ()]
        return found

    def _common(self, detector: Detector) -> list[Any]:
        """Return what rows of a detector were made with, whoever's they are, for the hash."""
        has_sizes = "sizes" in (params_dtype(detector).names or ())

        def values(prior: Prior) -> list[Any]:
            record = prior.record()
            sizes = [record[name].tolist() for name in SIZES.names or ()] if has_sizes else []
            return [self._numbers(detector, prior), sizes]

        usual = values(Prior())
        fitted = [[name, values(prior)] for name, prior in sorted(self.priors.items())]
        return [usual, [one for one in fitted if one[1] != usual]]

    @cached_property
    def classes(self) -> bytes:
        """What a state says of the classes of parameters that its rows name by number, as JSON.

        Of each, in their order, the name of its profile, and until when a sender is in it. Before
        them stands a hash of which sender is given which: where all of it is the same, so is the
        number of every event's class.
        """
        told = [[one.profile.name, one.until] for one in self._classes]
        named = [[n, sorted(of.items(), key=str)] for n, of in sorted(self._of_sender.items())]
        return json.dumps([_digest([told, named]), told], separators=(",", ":")).encode()

    @cached_property
    def hash(self) -> str:
        """12 hex digits of everything that alerts depend on beside the events."""
        measures = [measure.identity() for measure in self.measures]
        read = [
            [name, fact, of.as_of]
            for name, profile in sorted(self.profiles.items())
            for fact, of in sorted(profile.facts.items())
        ]
        parts = [self.state_hash, measures, self.register.identity(), read]
        parts += [[d.id, self._values(d)] for d in (*self.detectors, *self.shared)]
        parts += [[d.id, self.models[d.id].hash] for d in self.detectors if d.is_learned]
        parts += [self.schedules[name].tolist() for name in self.schedules.dtype.names or ()]
        parts += [self.facts.tolist(), [[str(n) for n in ns] for ns in self.networks]]
        return _digest([*parts, self.classes.decode()])

    @cached_property
    def state_hash(self) -> str:
        """12 hex digits of what a state must fit: layout, detectors, and parameters for everybody.

        Not of plans, allowlists, shadow mode and model files: they change what is told (a plan
        also what is learned), not what a row means. Nor of what is said of a sender or a provider:
        networks, facts, schedules and overrides are looked up for each event, and a row goes on
        when an event names another provider than the one before, or comes after an override's end.
        All that rows hold of it is the number of a class, which a restore looks up anew
        (``detectors.renumber``). So announcing something, registering a sender, or training costs
        nobody his baselines: a learned detector that a state has no rows of begins with empty ones.
        """
        fixed = [d for d in (*self.detectors, *self.shared) if not d.is_learned]
        parts: list[Any] = [LAYOUT_VERSION, [[d.id, self._common(d)] for d in fixed]]
        parts += [[f"{getattr(self.stream, f.name)}" for f in fields(self.stream)]]
        parts += [self.health and asdict(self.health)]
        return _digest(parts)


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _networks(ranges: tuple[str, ...] | list[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in ranges)


def _facts(classes: list[SenderClass]) -> NDArray[Any]:
    facts = np.zeros(len(classes), FACTS)
    for record, members in zip(facts, classes, strict=True):
        profile = members.profile
        record["freshness"] = FRESHNESS[profile.freshness]
        record["policy"] = POLICIES[_policy(members)]
        record["tolerance"] = int((profile.tolerance_s or 0) * SECOND)
        # what a person has sent again is as legitimate as what the provider repeats by itself
        repeats_s = max(profile.horizon_s or 0, profile.resend_s or 0)
        record["horizon"] = int(repeats_s * SECOND)
        overlap = profile.rotation_overlap_s
        record["overlap"] = int((USUAL_OVERLAP_S if overlap is None else overlap) * SECOND)
        record["max_attempts"] = profile.max_attempts or 0
    return facts


def _policy(members: SenderClass) -> str:
    """Return what is said of the addresses of a class."""
    if members.networks:
        return "published" if members.sender is not None else members.profile.source_policy
    # a list that is published, and not known here, says nothing of an address
    policy = members.profile.source_policy
    return "unknown" if policy == "published" else policy


def _profiles(classes: list[SenderClass]) -> tuple[list[Profile], list[int]]:
    """Return the profiles of classes, each once, and which of them each class has."""
    found = {members.profile.name: members.profile for members in classes}
    places = {name: place for place, name in enumerate(found)}
    return list(found.values()), [places[members.profile.name] for members in classes]


def _schedules(classes: list[SenderClass]) -> NDArray[Any]:
    profiles, of = _profiles(classes)
    made = np.zeros(len(profiles), schedule.SCHEDULE)
    for record, profile in zip(made, profiles, strict=True):
        schedule.fill(
            record,
            profile.gaps_s,
            jitter=profile.jitter,
            timeout_s=profile.timeout_s,
            lasts_s=profile.horizon_s,
            bounds_s=profile.gap_range_s,
            max_attempts=profile.max_attempts,
        )
    found: NDArray[Any] = made[of]
    return found


def _checked(
    settings: Mapping[str, Mapping[str, Any]],
    stream: StreamSettings,
    overrides: Iterable[Override],
) -> dict[str, dict[str, float]]:
    """Return parameters as numbers; ConfigError lists all faults of what Python gave."""
    if not isinstance(settings, Mapping):
        msg = f"settings must be parameters by detector (got {settings!r})"
        raise ConfigError(msg)
    known = {one.id: one for one in alerting_found()}
    tables = [(name, name, given) for name, given in settings.items()]
    tables += [(one.detector, "override.settings", one.settings) for one in overrides]
    faults = []
    for name, where, given in tables:
        if name not in known:
            faults.append(unknown_detector(name))
        elif not isinstance(given, Mapping):
            faults.append(f"{where} must be a table (got {given!r})")
        else:
            wrong = wrong_numbers(ranges_of(known[name]), given, where)
            faults += [message for _, message in wrong]
    faults += [message for _, message in wrong_numbers(STREAM_RANGES, asdict(stream), "stream")]
    if faults:
        raise ConfigError("\n".join(sorted(faults)))
    return {
        name: {key: float(value) for key, value in given.items()}
        for name, given in settings.items()
    }
