"""Provider facts as data: how a provider signs, retries, rotates and where it calls from.

Each fact names the day it was read, where, and how sure it is (``ingest.profile_facts``). A profile
says nothing that its provider does not say: an unknown fact is left out, and an event without a
known provider uses `generic`. A user's file adds a profile, replaces one, or changes single facts
of one that ships::

    extends = "stripe"

    [tolerance_s]
    value = 60
    as_of = 2026-11-20
    source = "our receiver's setting"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from .errors import IngestError, ProfileError, shown
from .profile_facts import (
    BASES,
    RULES,
    Fact,
    Freshness,
    Remark,
    Schedule,
    SourcePolicy,
    day_text,
    text_of,
)
from .toml_text import Place, TomlText, load_toml

GENERIC: Final = "generic"
_FOLDER: Final = Path(__file__).with_name("profiles")
_NAME: Final = 64  # as `provider` of an event


@dataclass(frozen=True, slots=True)
class Profile:
    """What a provider says of its callbacks; None, "" and "unknown" where it says nothing.

    The fields mean what ``ingest.profile_facts.RULES`` says; `facts` tells of each where it is
    from. `own` = it comes from a user's file, in whole or in part.
    """

    name: str
    freshness: Freshness = "unknown"
    signature_header: str = ""
    algorithm: str = ""
    signed: str = ""
    tolerance_s: float | None = None
    rotation_overlap_s: float | None = None
    key_id_visible: bool | None = None
    delivery_id: str = ""
    id_stable_on_retry: bool | None = None
    retry_marker: str = ""
    schedule: Schedule | None = None
    gaps_s: tuple[float, ...] = ()
    gap_range_s: tuple[float, ...] = ()
    jitter: float | None = None
    max_attempts: int | None = None
    horizon_s: float | None = None
    resend_s: float | None = None
    timeout_s: float | None = None
    retries_after_success: bool | None = None
    disables_after: str = ""
    source_policy: SourcePolicy = "unknown"
    ranges: tuple[str, ...] = ()
    ranges_url: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict, hash=False)
    remarks: tuple[Remark, ...] = ()
    own: bool = False


def load_profiles(extra: Path | None = None) -> dict[str, Profile]:
    """All profiles by name: those that ship, and those of a user's file or folder over them.

    ProfileError names all faults of all files, one a line.
    """
    shipped = _shipped()
    if extra is None:
        return dict(shipped)
    if extra.is_dir():
        paths = sorted(extra.glob("*.toml"))
        if not paths:
            msg = f"{extra}: holds no profile; allowed is a folder of *.toml, or such a file"
            raise ProfileError(msg)
    else:
        paths = [extra]
    return dict(shipped) | _load(paths, shipped)


def profile_for(profiles: Mapping[str, Profile], provider: str | None) -> Profile:
    """The profile of an event's provider; `generic` where it is null or unknown.

    >>> profile_for(load_profiles(), "no-such-provider").name
    'generic'
    """
    return profiles.get(provider or GENERIC, profiles[GENERIC])


@cache
def _shipped() -> Mapping[str, Profile]:
    return _load(sorted(_FOLDER.glob("*.toml")), None)


def _load(paths: list[Path], shipped: Mapping[str, Profile] | None) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    faults: list[str] = []
    files: dict[str, Path] = {}
    for path in paths:
        try:
            reader = _Reader(load_toml(path), shipped)
        except IngestError as error:
            faults.append(str(error))
            continue
        profile = reader.read()
        if (other := files.setdefault(profile.name, path)) is not path:
            reader.fault(("name",), f"name: {shown(profile.name)} is that of {other} too")
        found[profile.name] = profile
        faults += [text for _, text in sorted(reader.faults)]
    if faults:
        raise ProfileError("\n".join(faults))
    return found


class _Reader:
    """Reads one file and gathers its faults; what it returns is used only without any."""

    def __init__(self, text: TomlText, shipped: Mapping[str, Profile] | None) -> None:
        self.text = text
        self.shipped = shipped
        self.faults: list[tuple[int, str]] = []

    def fault(self, place: Place, text: str) -> None:
        where = self.text.where(*place)
        self.faults.append((int(where.rpartition(":")[2]), f"{where}: {text}"))

    def read(self) -> Profile:
        given = self.text.data
        known = ("name", "extends", "remark", *RULES)
        for key in given.keys() - set(known):
            self.fault((key,), f"{shown(key)}: is no known key; allowed are {', '.join(known)}")
        base = self.base(given.get("extends"))
        values: dict[str, Any] = {}
        facts: dict[str, Fact] = {}
        for name in RULES:
            if name in given:
                self.fact(name, given[name], values, facts)
        made = replace(
            base,
            name=self.name(given.get("name", self.text.path.stem)),
            own=self.shipped is not None,
            facts=dict(base.facts) | facts,
            remarks=base.remarks + self.remarks(given.get("remark", [])),
            **values,
        )
        self.must_agree(made)
        return made

    def name(self, given: object) -> str:
        try:
            return text_of(given, _NAME)
        except ValueError:
            allowed = f"one line of 1 to {_NAME} printable characters"
            self.fault(("name",), f"name: allowed: {allowed}; given {shown(given)}")
            return ""

    def base(self, given: object) -> Profile:
        if given is None:
            return Profile("")
        names = tuple(self.shipped or ())
        if isinstance(given, str) and given in names:
            return (self.shipped or {})[given]
        self.fault(("extends",), f"extends: allowed: {', '.join(names)}; given {shown(given)}")
        return Profile("")

    def fact(
        self, name: str, given: object, values: dict[str, Any], facts: dict[str, Fact]
    ) -> None:
        table = self.table((name,), name, given, ("value", "as_of", "source", "basis", "note"))
        if table is None:
            return
        if "value" not in table:
            self.fault((name,), f"{name}.value: is missing")
        else:
            try:
                values[name] = RULES[name].take(table["value"])
            except ValueError:
                text = f"{name}: allowed: {RULES[name].allowed}; given {shown(table['value'])}"
                self.fault((name, "value"), text)
        found = self.origin((name,), name, table)
        if found is not None:
            facts[name] = found

    def remarks(self, given: object) -> tuple[Remark, ...]:
        if not isinstance(given, list):
            self.fault(("remark",), "remark: allowed are rows, each under [[remark]]")
            return ()
        found = []
        for nth, row in enumerate(given):
            place: Place = ("remark", nth)
            table = self.table(place, "remark", row, ("text", "as_of", "source", "basis", "note"))
            if table is None:
                continue
            text = self.words(place, "remark", table, "text")
            origin = self.origin(place, "remark", table)
            if origin is not None:
                found.append(Remark(text, origin))
        return tuple(found)

    def table(
        self, place: Place, name: str, given: object, known: tuple[str, ...]
    ) -> dict[str, Any] | None:
        if not isinstance(given, dict):
            allowed = f"a table of {', '.join(known)}"
            self.fault(place, f"{name}: allowed is {allowed}; given {shown(given)}")
            return None
        for key in given.keys() - set(known):
            allowed = ", ".join(known)
            text = f"{name}.{shown(key)}: is no known key; allowed are {allowed}"
            self.fault((*place, key), text)
        return given

    def origin(self, place: Place, name: str, table: dict[str, Any]) -> Fact | None:
        before = len(self.faults)
        as_of = ""
        if "as_of" not in table:
            self.fault(place, f"{name}.as_of: is missing; every fact names its day and source")
        else:
            try:
                as_of = day_text(table["as_of"])
            except ValueError:
                allowed = "YYYY-MM-DD, YYYY-MM or YYYY"
                text = f"{name}.as_of: allowed: {allowed}; given {shown(table['as_of'])}"
                self.fault((*place, "as_of"), text)
        source = self.words(place, name, table, "source")
        basis = table.get("basis", "stated")
        if basis not in BASES:
            text = f"{name}.basis: allowed: {', '.join(BASES)}; given {shown(basis)}"
            self.fault((*place, "basis"), text)
        note = self.words(place, name, table, "note") if "note" in table else ""
        return Fact(as_of, source, basis, note) if len(self.faults) == before else None

    def words(self, place: Place, name: str, table: dict[str, Any], key: str) -> str:
        if key not in table:
            self.fault(place, f"{name}.{key}: is missing; every fact names its day and source")
            return ""
        try:
            return text_of(table[key])
        except ValueError:
            allowed = "one line of 1 to 400 printable characters"
            text = f"{name}.{key}: allowed: {allowed}; given {shown(table[key])}"
            self.fault((*place, key), text)
            return ""

    def must_agree(self, made: Profile) -> None:
        """A schedule that ends after its horizon, or has more gaps than retries, is a mistake."""
        total, horizon = sum(made.gaps_s), made.horizon_s
        if horizon is not None and total > horizon:
            where = "gaps_s" if "gaps_s" in self.text.data else "horizon_s"
            text = f"gaps_s: {total:g} s in all, more than horizon_s, {horizon:g} s"
            self.fault((where,), text)
        if made.max_attempts is not None and len(made.gaps_s) >= made.max_attempts:
            where = "gaps_s" if "gaps_s" in self.text.data else "max_attempts"
            text = f"gaps_s: {len(made.gaps_s)} gaps, and max_attempts is {made.max_attempts}"
            self.fault((where,), text)
