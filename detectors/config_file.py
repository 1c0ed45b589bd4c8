"""The configuration from a TOML file; all faults are reported at once, each with file and line.

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

from collections.abc import Callable
from datetime import UTC, date, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from detectors import health
from detectors.config import STREAM_RANGES, Config, Override, StreamSettings
from detectors.errors import ConfigError
from detectors.event import SECOND
from detectors.learned import find_model
from detectors.params import Ranges, ranges_of, wrong_numbers
from detectors.priors import Prior, load_priors
from detectors.registry import alerting_found, unknown_detector
from detectors.tuning import ALWAYS, Measure
from ingest.errors import IngestError, ProfileError
from ingest.inventory import Inventory, load_inventory
from ingest.profiles import Profile, load_profiles
from ingest.toml_text import Place, TomlText, load_toml
from models.store import StoredModel

T = TypeVar("T")


def load_config(
    path: Path | str | None = None,
    *,
    inventory: Inventory | Path | str | None = None,
    profiles: Path | None = None,
) -> Config:
    """Read a TOML file (None: the defaults); ConfigError lists all faults, one a line.

    ``inventory`` may be its file too; InventoryError lists the faults of that one.
    ``profiles`` is a file or folder of the user's own provider profiles; without it, the one that
    the TOML file names (beside itself, where the path is relative).
    """
    if isinstance(inventory, str | Path):
        inventory = load_inventory(Path(inventory))
    if path is None:
        return Config(inventory=inventory, profiles=_own_profiles(profiles))
    try:
        text = load_toml(Path(path))
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
                self.fault(place, unknown_detector(name))
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
            settings[name] = self.numbers(ranges_of(self.detectors[name]), table, name, place)
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
        numbers = self.numbers(STREAM_RANGES, given, "stream", ("stream",))
        values: dict[str, Any] = {
            key: int(number) if key.startswith("max_") else number
            for key, number in numbers.items()
        }
        return StreamSettings(**values)

    def numbers(
        self, ranges: Ranges, given: dict[str, Any], where: str, place: Place
    ) -> dict[str, float]:
        """Return the given numbers, those without a fault."""
        wrong = dict(wrong_numbers(ranges, given, where))
        for key, message in wrong.items():
            self.fault((*place, key), message)
        return {key: float(value) for key, value in given.items() if key not in wrong}

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
            ranges = ranges_of(self.detectors[name])
            settings = self.numbers(ranges, given, "override.set", where)
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
            self.fault((*place, "detector"), unknown_detector(name))
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
