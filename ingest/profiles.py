"""Provider facts as data: how a provider signs, retries, rotates and where it calls from.

Each fact names the day it was read and where. A profile says nothing that its provider does not
say: an unknown fact stays unknown, and an event without a known provider uses `generic`.
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from .errors import ProfileError, shown

Freshness = Literal["per_attempt", "body_only", "nonce", "unknown"]
SourcePolicy = Literal["published", "discouraged", "changing", "paid_only", "none", "unknown"]

GENERIC: Final = "generic"
_FOLDER: Final = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True)
class Fact:
    """Where a fact was read, and when (YYYY-MM-DD, YYYY-MM or YYYY)."""

    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a provider says of its callbacks; None and "unknown" where it says nothing.

    freshness: what a repeated signature means. `per_attempt` = every attempt is signed anew, so a
        repeat is a replay; `body_only` = retries carry the same signature; `nonce` = a signed
        single-use token.
    id_stable_on_retry: the delivery id stays the same over all attempts.
    max_attempts: attempts that the provider makes by itself, the first one included.
    gaps_s: seconds between attempts, in order; empty = not published.
    jitter: relative spread of the gaps (0.2 = 20 % to either side).
    horizon_s: seconds after the first attempt in which repeats are legitimate.
    timeout_s: seconds that the provider waits for an answer.
    tolerance_s: allowed age of the signed timestamp in seconds; None = no timestamp is signed.
    rotation_overlap_s: seconds for which an old key stays in use after a rotation.
    source_policy, ranges: whether source networks are published, and which.
    """

    name: str
    freshness: Freshness = "unknown"
    id_stable_on_retry: bool | None = None
    max_attempts: int | None = None
    gaps_s: tuple[float, ...] = ()
    jitter: float = 0.0
    horizon_s: float | None = None
    timeout_s: float | None = None
    tolerance_s: float | None = None
    rotation_overlap_s: float | None = None
    source_policy: SourcePolicy = "unknown"
    ranges: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)


def load_profiles(extra_dir: Path | None = None) -> dict[str, Profile]:
    """All profiles by name: those of this package, overridden by the files in `extra_dir`."""
    found = dict(_built_in())
    if extra_dir is not None:
        if not extra_dir.is_dir():
            msg = f"{extra_dir}: is no folder; allowed is a folder of profiles (*.toml)"
            raise ProfileError(msg)
        found |= _load_folder(extra_dir)
    return found


def profile_for(profiles: Mapping[str, Profile], provider: str | None) -> Profile:
    """The profile of an event's provider; `generic` where it is null or unknown.

    >>> profile_for(load_profiles(), "no-such-provider").name
    'generic'
    """
    return profiles.get(provider or GENERIC, profiles[GENERIC])


@cache
def _built_in() -> dict[str, Profile]:
    return _load_folder(_FOLDER)


def _load_folder(folder: Path) -> dict[str, Profile]:
    return {path.stem: _load(path) for path in sorted(folder.glob("*.toml"))}


def _load(path: Path) -> Profile:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{path}: {error}"
        raise ProfileError(msg) from None
    values: dict[str, Any] = {"name": path.stem}
    values |= {name: _checked(path, name, value) for name, value in found.items()}
    for name in values.get("facts", ()):
        if name not in found:
            msg = f"{path}: facts.{name}: allowed are the fields that the file sets"
            raise ProfileError(msg)
    missing = sorted(found.keys() - {"name", "facts"} - values.get("facts", {}).keys())
    if missing:
        msg = f"{path}: facts.{missing[0]}: is missing; every field names as_of and source"
        raise ProfileError(msg)
    return Profile(**values)


def _checked(path: Path, name: str, value: object) -> object:
    if name == "facts":
        return _facts(path, value)
    if name == "name" and value == path.stem:
        return value
    if name not in _RULES:
        known = ", ".join(("name", *_RULES, "facts"))
        msg = f"{path}: {shown(name)}: is no known field; allowed are {known}"
        raise ProfileError(msg)
    allowed, holds = _RULES[name]
    if not holds(value):
        msg = f"{path}: {name}: allowed: {allowed}; given {shown(value)}"
        raise ProfileError(msg)
    if isinstance(value, list):
        return tuple(float(item) if isinstance(item, int) else item for item in value)
    return float(cast("float", value)) if holds is _is_seconds else value


def _facts(path: Path, tables: object) -> Mapping[str, Fact]:
    found = {}
    for name, table in tables.items() if isinstance(tables, dict) else [("", tables)]:
        match table:
            case {"as_of": str(as_of), "source": str(source), **rest} if not rest:
                found[name] = Fact(as_of, source)
            case _:
                msg = f"{path}: facts.{name}: allowed: as_of and source, both text"
                raise ProfileError(msg)
    return found


def _is_seconds(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= cast("float", value) < math.inf


def _is_network(value: object) -> bool:
    try:
        ip_network(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_list_of(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(holds(item) for item in value)


def _is_attempts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_RULES: Final[dict[str, tuple[str, Callable[[object], bool]]]] = {
    "freshness": (", ".join(get_args(Freshness)), lambda value: value in get_args(Freshness)),
    "id_stable_on_retry": ("true or false", lambda value: isinstance(value, bool)),
    "max_attempts": ("an integer of at least 1", _is_attempts),
    "gaps_s": ("a list of seconds", _is_list_of(_is_seconds)),
    "jitter": (
        "a number from 0 to below 1",
        lambda value: _is_seconds(value) and cast("float", value) < 1,
    ),
    "horizon_s": ("seconds", _is_seconds),
    "timeout_s": ("seconds", _is_seconds),
    "tolerance_s": ("seconds", _is_seconds),
    "rotation_overlap_s": ("seconds", _is_seconds),
    "source_policy": (
        ", ".join(get_args(SourcePolicy)),
        lambda value: value in get_args(SourcePolicy),
    ),
    "ranges": ("a list of networks in CIDR form", _is_list_of(_is_network)),
}
