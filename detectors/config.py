"""The configuration: TOML in, parameters of every detector for every class of senders out.

A class of senders shares its parameters: one for each provider profile, one for each sender that
the inventory or an override names. Precedence: default < profile < override. All faults are
reported at once, each with file and line.

.. code-block:: toml

    profiles = "providers"

    [detectors.replay-burst]
    threshold = 7.5

    [detectors.behaviour-outlier]
    model = "model.cwm"

    [[override]]
    sender = "acme-stripe"
    detector = "payload-volume"
    reason = "migration of the shop, ticket 4711"
    expires = 2026-12-01
    set = { size_ratio = 20.0 }

    [[allow]]
    sender = "acme-stripe"
    detector = "spoofed-source"
    source = "203.0.113.0/24"
    reason = "pentest, ticket 4712"
    expires = 2026-12-01
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alerts.alert import to_rfc3339
from alerts.explain import safe
from detectors import health, health_parts
from detectors.base import Described, Detector
from detectors.errors import ConfigError
from detectors.event import FRESHNESS, POLICIES, SECOND
from detectors.learned import find_model
from detectors.params import params_dtype
from detectors.plans import plans_of
from detectors.priors import Prior, load_priors
from detectors.registered import register_of
from detectors.registry import alerting_found, detectors_found
from detectors.tuning import ALWAYS, NEVER, Measure, planned
from ingest.errors import IngestError, ProfileError
from ingest.inventory import Inventory
from ingest.profiles import GENERIC, Profile, load_profiles
from ingest.toml_text import Place, TomlText, load_toml
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
LAYOUT_VERSION = 4
"""Part of the configuration's hash: raise it when a step means something else by a row."""

Network = IPv4Network | IPv6Network
T = TypeVar("T")


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


@dataclass(frozen=True)
class SenderClass:
    """Senders that share parameters."""

    profile: Profile
    sender: str | None
    networks: tuple[Network, ...]
    overrides: tuple[Override, ...] = ()


class Config:
    """Everything that detection depends on beside the events."""

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
        self.control_key = control_key
        """Under which control records are signed: a secret, and no part of the hash."""
        self.stream = stream or StreamSettings()
        self.disabled = disabled
        self.priors = dict(priors or {})
        self.settings = {name: dict(given) for name, given in (settings or {}).items()}
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
        named = {o.sender for o in self.overrides if o.settings} | set(self.inventory.senders)
        for sender in sorted(named):
            registered = self.inventory.senders.get(sender)
            fixed = registered.provider if registered else None
            providers = [fixed] if fixed in self.profiles else sorted(self.profiles)
            of: dict[str | None, tuple[tuple[int, int], ...]] = {
                p: self._steps(sender, self.profiles[p]) for p in providers if p is not None
            }
            self._of_sender[sender] = {**of, None: of.get(GENERIC, next(iter(of.values())))}

    def _steps(self, sender: str, profile: Profile) -> tuple[tuple[int, int], ...]:
        """Return (until, class) pairs: each time an override expires another class begins."""
        registered = self.inventory.senders.get(sender)
        ranges = (registered.ranges if registered else ()) or profile.ranges
        mine = tuple(o for o in self.overrides if o.sender == sender and o.settings)
        steps = []
        for until in (*sorted({o.expires for o in mine}), NEVER):
            live = tuple(o for o in mine if o.expires >= until)
            steps.append((until, len(self._classes)))
            self._classes.append(SenderClass(profile, sender, _networks(ranges), live))
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
        """Return the detector's parameters as one record for each class."""
        names = [f.name for f in fields(detector.params)]
        table = np.zeros(len(self._classes), params_dtype(detector))
        defaults = {f.name: f.default for f in fields(detector.params)}
        for which, members in enumerate(self._classes):
            prior = self.priors.get(members.profile.name, Prior())
            fitted = prior.params() if detector.id == PRIOR_SHARES else {}
            values = defaults | fitted | dict(self.settings.get(detector.id, {}))
            for override in members.overrides:
                if override.detector == detector.id:
                    values |= override.settings
            for name in names:
                table[name][which] = values[name]
            if "sizes" in (table.dtype.names or ()):
                table["sizes"][which] = prior.record()
        table["schedule"] = self.schedules
        return table

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

    @cached_property
    def hash(self) -> str:
        """12 hex digits of everything that alerts depend on beside the events."""
        measures = [measure.identity() for measure in self.measures]
        read = [
            [name, fact, of.as_of]
            for name, profile in sorted(self.profiles.items())
            for fact, of in sorted(profile.facts.items())
        ]
        learned = [
            [d.id, self.models[d.id].hash, self._values(d)] for d in self.detectors if d.is_learned
        ]
        return _digest([self.state_hash, measures, self.register.identity(), read, learned])

    @cached_property
    def state_hash(self) -> str:
        """12 hex digits of what a state must fit: not of plans, allowlists, shadow, model files.

        They change what is told (a plan also what is learned), not what a row means. So announcing
        something, holding something back, or training costs nobody his baselines: a learned
        detector that a state has no rows of begins with empty ones.
        """
        fixed = [d for d in (*self.detectors, *self.shared) if not d.is_learned]
        parts: list[Any] = [LAYOUT_VERSION, [d.id for d in fixed]]
        for d in fixed:
            parts += self._values(d)
        parts += [self.schedules[name].tolist() for name in self.schedules.dtype.names or ()]
        parts += [self.facts.tolist(), [[str(n) for n in ns] for ns in self.networks]]
        parts += [[(n, sorted(of.items(), key=str)) for n, of in sorted(self._of_sender.items())]]
        parts += [sorted(map(str, self._of_provider))]
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
        fixed = members.networks and members.sender is not None
        # a list that is published, and not known here, says nothing of an address
        untold = profile.source_policy == "published" and not members.networks
        policy = "published" if fixed else "unknown" if untold else profile.source_policy
        record["policy"] = POLICIES[policy]
        record["tolerance"] = int((profile.tolerance_s or 0) * SECOND)
        # what a person has sent again is as legitimate as what the provider repeats by itself
        repeats_s = max(profile.horizon_s or 0, profile.resend_s or 0)
        record["horizon"] = int(repeats_s * SECOND)
        overlap = profile.rotation_overlap_s
        record["overlap"] = int((USUAL_OVERLAP_S if overlap is None else overlap) * SECOND)
        record["max_attempts"] = profile.max_attempts or 0
    return facts


def _schedules(classes: list[SenderClass]) -> NDArray[Any]:
    made: dict[str, Any] = {}
    for profile in {members.profile.name: members.profile for members in classes}.values():
        record = made[profile.name] = np.zeros((), schedule.SCHEDULE)
        schedule.fill(
            record,
            profile.gaps_s,
            jitter=profile.jitter,
            timeout_s=profile.timeout_s,
            lasts_s=profile.horizon_s,
            bounds_s=profile.gap_range_s,
            max_attempts=profile.max_attempts,
        )
    names = {name: place for place, name in enumerate(made)}
    records = np.array(list(made.values()), schedule.SCHEDULE)
    return records[[names[members.profile.name] for members in classes]]


def load_config(
    path: Path | None = None,
    *,
    inventory: Inventory | None = None,
    profiles: Path | None = None,
) -> Config:
    """Read a TOML file (None: the defaults); ConfigError lists all faults, one a line.

    ``profiles`` is a file or folder of the user's own provider profiles; without it, the one that
    the TOML file names (beside itself, where the path is relative).
    """
    if path is None:
        return Config(inventory=inventory, profiles=_own_profiles(profiles))
    try:
        text = load_toml(path)
    except IngestError as error:
        raise ConfigError(str(error)) from None
    reader = _Reader(text)
    config = reader.read(inventory, profiles)
    if reader.faults:
        raise ConfigError("\n".join(text for _, text in sorted(reader.faults)))
    assert config is not None
    return config


def _own_profiles(path: Path | None) -> dict[str, Profile]:
    try:
        return load_profiles(path)
    except ProfileError as error:
        raise ConfigError(str(error)) from None


class _Reader:
    """Reads a parsed file and gathers faults instead of stopping at the first."""

    def __init__(self, text: TomlText) -> None:
        self.text = text
        self.faults: list[tuple[int, str]] = []
        self.detectors = {d.id: d for d in alerting_found()}

    def read(self, inventory: Inventory | None, profiles: Path | None) -> Config | None:
        """Return the configuration, or None where faults were found."""
        given = self.text.data
        allowed = ("profiles", "priors", "stream", "detectors", "override", "allow")
        for name in given.keys() - set(allowed):
            self.fault((name,), f"unknown key {name!r}; allowed: {', '.join(allowed)}")
        in_force = self.profiles(given.get("profiles"), profiles)
        priors = self.priors(given.get("priors"))
        stream = self.stream(self.table(given, "stream"))
        settings: dict[str, dict[str, float]] = {}
        learned: dict[str, StoredModel] = {}
        off: dict[str, set[str]] = {"enabled": set(), "shadow": set()}
        for name, table in self.table(given, "detectors").items():
            place = ("detectors", name)
            if name not in self.detectors:
                known = ", ".join(sorted(self.detectors))
                self.fault(place, f"unknown detector {name!r}; allowed: {known}")
                continue
            if not isinstance(table, dict):
                self.fault(place, f"{name} must be a table (got {table!r})")
                continue
            table = dict(table)
            for key, usual in (("enabled", True), ("shadow", False)):
                given_ = table.pop(key, usual)
                if not isinstance(given_, bool):
                    msg = f"{name}.{key} must be true or false (got {given_!r})"
                    self.fault((*place, key), msg)
                elif given_ is not usual:
                    off[key].add(name)
            if self.detectors[name].is_learned and "model" in table:
                model = self.model(name, table.pop("model"))
                learned |= {} if model is None else {name: model}
            settings[name] = self.params(self.detectors[name], table, name, place)
        overrides = self.rows(given, "override", self.override)
        allows = self.rows(given, "allow", self.allow)
        if self.faults:
            return None
        return Config(
            settings,
            stream=stream,
            overrides=overrides,
            inventory=inventory,
            profiles=in_force,
            disabled=frozenset(off["enabled"]),
            shadow=frozenset(off["shadow"]),
            allows=allows,
            priors=priors,
            models=learned,
        )

    def priors(self, named: Any) -> dict[str, Prior]:
        """Return the priors of the file that the configuration names."""
        if named is None:
            return {}
        if not isinstance(named, str) or not named or "\0" in named:
            self.fault(("priors",), f"priors must be a file (got {named!r})")
            return {}
        try:
            return load_priors(self.text.path.parent / named)
        except ConfigError as error:  # names its own file
            self.faults.append((0, str(error)))
            return {}

    def model(self, name: str, given: Any) -> StoredModel | None:
        """Return the model that a detector's table names, or None with a fault."""
        place = ("detectors", name, "model")
        if not isinstance(given, str) or not given or "\0" in given:
            self.fault(place, f"{name}.model must be a file (got {given!r})")
            return None
        try:
            return find_model(given, self.text.path.parent)
        except ConfigError as error:
            self.fault(place, f"{name}.model: {error}")
            return None

    def rows(
        self, given: dict[str, Any], name: str, read: Callable[[Any, int], T | None]
    ) -> tuple[T, ...]:
        """Return the rows under ``[[name]]``, those without a fault."""
        rows = given.get(name, [])
        if not isinstance(rows, list):
            self.fault((name,), f"{name} must be rows, each under [[{name}]]")
            return ()
        found = (read(item, nth) for nth, item in enumerate(rows))
        return tuple(one for one in found if one is not None)

    def profiles(self, named: Any, path: Path | None) -> dict[str, Profile] | None:
        """Return the profiles in force; what the command line names comes first."""
        if path is None and named is not None:
            if not isinstance(named, str) or not named or "\0" in named:
                self.fault(("profiles",), f"profiles must be a file or folder (got {named!r})")
                return None
            path = self.text.path.parent / named
        try:
            return load_profiles(path)
        except ProfileError as error:  # its faults name their own files
            self.faults += [(0, line) for line in str(error).splitlines()]
            return None

    def fault(self, place: Place, message: str) -> None:
        """Note a fault with the line of its place."""
        where = self.text.where(*place)
        self.faults.append((int(where.rpartition(":")[2]), f"{where}: {message}"))

    def table(self, given: dict[str, Any], name: str) -> dict[str, Any]:
        """Return a table of the file, empty where it is no table."""
        found = given.get(name, {})
        if isinstance(found, dict):
            return found
        self.fault((name,), f"{name} must be a table (got {found!r})")
        return {}

    def stream(self, given: dict[str, Any]) -> StreamSettings:
        """Return the settings of the stream."""
        ranges = {
            "late_hours": (0.01, 24 * 30.0),
            "ahead_minutes": (0.0, 24 * 60.0),
            "max_senders": (16, 1 << 27),
            "max_deliveries": (16, 1 << 30),
            "max_exact_deliveries": (16, 1 << 24),
        }
        values: dict[str, Any] = {}
        for key, value in given.items():
            place = ("stream", key)
            if key not in ranges:
                self.fault(place, f"unknown key stream.{key}; allowed: {', '.join(ranges)}")
                continue
            low, high = ranges[key]
            number = self.number(f"stream.{key}", place, value, low, high)
            if number is not None:
                values[key] = int(number) if key.startswith("max_") else number
        return StreamSettings(**values)

    def params(
        self, detector: Described, given: dict[str, Any], where: str, place: Place
    ) -> dict[str, float]:
        """Return a detector's given parameters, checked."""
        allowed = {f.name: f.metadata for f in fields(detector.params)}
        values = {}
        for key, value in given.items():
            if key not in allowed:
                known = ", ".join(allowed)
                self.fault((*place, key), f"unknown key {where}.{key}; allowed: {known}")
                continue
            meta = allowed[key]
            low, high = meta["low"], meta["high"]
            number = self.number(f"{where}.{key}", (*place, key), value, low, high)
            if number is not None:
                values[key] = number
        return values

    def number(self, where: str, place: Place, value: Any, low: float, high: float) -> float | None:
        """Return a number in its range, or None with a fault."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and low <= value <= high:  # NaN is in no range
            return float(value)
        self.fault(place, f"{where} must be a number from {low:g} to {high:g} (got {value!r})")
        return None

    def override(self, item: Any, nth: int) -> Override | None:
        """Return one override, or None with faults."""
        place: Place = ("override", nth)
        before = len(self.faults)
        needed = ("sender", "detector", "reason", "expires")
        if not self.row(place, item, needed, ("set", "shadow")):
            return None
        if "set" not in item and "shadow" not in item:
            self.fault(place, "override needs set or shadow")
        shadow = item.get("shadow", False)
        if not isinstance(shadow, bool):
            msg = f"override.shadow must be true or false (got {shadow!r})"
            self.fault((*place, "shadow"), msg)
        name, given = item.get("detector"), item.get("set", {})
        settings: dict[str, float] = {}
        if name == health.ID:
            self.fault((*place, "detector"), f"override.detector: {name} is about no sender")
        if not isinstance(given, dict):
            self.fault((*place, "set"), f"override.set must be a table (got {given!r})")
        elif isinstance(name, str) and name in self.detectors:
            where = (*place, "set")
            settings = self.params(self.detectors[name], given, "override.set", where)
        if len(self.faults) > before:
            return None
        expires = _us(item["expires"])
        return Override(item["sender"], item["detector"], item["reason"], expires, settings, shadow)

    def allow(self, item: Any, nth: int) -> Measure | None:
        """Return one row of the allowlist, or None with faults."""
        place: Place = ("allow", nth)
        before = len(self.faults)
        about = ("sender", "detector", "finding", "source")
        if not self.row(place, item, ("reason", "expires"), about):
            return None
        if not any(key in item for key in about):
            self.fault(place, f"allow needs one of {', '.join(about)}")
        name, finding = item.get("detector"), item.get("finding")
        if finding is not None and isinstance(name, str) and name in self.detectors:
            reasons = self.detectors[name].reasons
            if finding not in reasons:
                msg = f"allow.finding must be one of {', '.join(reasons)} (got {finding!r})"
                self.fault((*place, "finding"), msg)
        elif finding is not None and "detector" not in item:
            self.fault(place, "allow.finding needs allow.detector")
        source = None
        try:
            source = ip_network(item["source"]) if isinstance(item.get("source"), str) else None
        except ValueError:
            msg = f"allow.source must be a network in CIDR form (got {item['source']!r})"
            self.fault((*place, "source"), msg)
        if len(self.faults) > before:
            return None
        reasons_ = None if finding is None else frozenset({finding})
        covers = None if name is None else {name: reasons_}
        expires, title = _us(item["expires"]), f"allow.{nth + 1}"
        return Measure(
            "allow", title, item["reason"], expires, ALWAYS, item.get("sender"), covers, source
        )

    def row(
        self, place: Place, item: Any, needed: tuple[str, ...], others: tuple[str, ...]
    ) -> bool:
        """Check what overrides and allowlists have in common; False where it is no table."""
        what = place[0]
        if not isinstance(item, dict):
            self.fault(place, f"{what} must be a table (got {item!r})")
            return False
        for key in needed:
            if key not in item:
                self.fault(place, f"{what}.{key} is missing")
        for key in item.keys() - {*needed, *others}:
            allowed = ", ".join((*needed, *others))
            self.fault((*place, key), f"unknown key {what}.{key}; allowed: {allowed}")
        for key in ("sender", "detector", "reason", "finding", "source"):
            if key in item and not (isinstance(item[key], str) and item[key].strip()):
                self.fault((*place, key), f"{what}.{key} must be text (got {item[key]!r})")
        name = item.get("detector")
        if isinstance(name, str) and name.strip() and name not in self.detectors:
            known = ", ".join(sorted(self.detectors))
            self.fault((*place, "detector"), f"unknown detector {name!r}; allowed: {known}")
        expires = item.get("expires")
        if expires is not None and not isinstance(expires, date):
            msg = f"{what}.expires must be a date or time (got {expires!r})"
            self.fault((*place, "expires"), msg)
        return True


def _us(when: Any) -> int:
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return int(when.timestamp()) * SECOND
