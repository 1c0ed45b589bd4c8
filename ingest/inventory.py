"""What is registered and what is planned: senders, endpoints and plans of `inventory.toml`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal, get_args

from .errors import IngestError, InventoryError, shown
from .rfc3339 import parse_time
from .toml_text import Place, TomlText, load_toml

PlanKind = Literal["rotation", "backfill", "campaign", "migration", "maintenance"]
Audience = Literal["user", "server"]


@dataclass(frozen=True, slots=True)
class Sender:
    """A registered sender; `ranges` are networks in CIDR form, `keys` opaque labels."""

    name: str
    provider: str | None = None
    owner: str | None = None
    endpoints: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    mtls: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registered endpoint; `audience` is who calls it: a user's browser or a server."""

    name: str
    owner: str | None = None
    callers: tuple[str, ...] = ()
    trigger: str | None = None
    audience: Audience | None = None
    retries_expected: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Something announced, from `start` until before `end` (aware UTC times)."""

    kind: PlanKind
    sender: str
    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything registered and planned."""

    senders: Mapping[str, Sender] = field(default_factory=dict, hash=False)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict, hash=False)
    planned: tuple[Plan, ...] = ()


def load_inventory(path: Path) -> Inventory:
    """The inventory of a TOML file; InventoryError names all its faults with file and line."""
    try:
        text = load_toml(Path(path))
    except IngestError as error:
        raise InventoryError([str(error)]) from None
    reader = _Reader(text)
    plans = [(number, _plan(row)) for number, row in reader.rows("planned", _PLAN)]
    found = Inventory(
        senders={name: Sender(name, **row) for name, row in reader.tables("senders", _SENDER)},
        endpoints={
            name: Endpoint(name, **row) for name, row in reader.tables("endpoints", _ENDPOINT)
        },
        planned=tuple(plan for _, plan in plans),
    )
    reader.refuse_unknown((), text.data, ("senders", "endpoints", "planned"))
    for number, plan in plans:
        if plan.start >= plan.end:
            reader.fault(("planned", number, "to"), "to: allowed is a time after `from`")
        if plan.sender not in found.senders:
            given = f"given {shown(plan.sender)}"
            reader.fault(("planned", number, "sender"), f"sender: allowed are registered; {given}")
    if reader.faults:
        raise InventoryError([text for _, text in sorted(reader.faults)])
    return found


_Rule = tuple[str, Callable[[Any], Any]]


class _Reader:
    """Reads tables by rules and gathers every fault; what it returns is used only without any."""

    def __init__(self, text: TomlText) -> None:
        self.text = text
        self.faults: list[tuple[int, str]] = []

    def fault(self, place: Place, text: str) -> None:
        where = self.text.where(*place)
        self.faults.append((int(where.rpartition(":")[2]), f"{where}: {text}"))

    def tables(self, kind: str, rules: dict[str, _Rule]) -> list[tuple[str, dict[str, Any]]]:
        tables = self.text.data.get(kind, {})
        if not isinstance(tables, dict):
            self.fault((kind,), f"{kind}: allowed are tables such as [{kind}.name]")
            return []
        named = []
        for name, table in tables.items():
            if not _is_text(name):
                self.fault((kind, name), f"{kind}: allowed are names; given {shown(name)}")
            named.append((name, self.read((kind, name), table, rules)))
        return named

    def rows(self, kind: str, rules: dict[str, _Rule]) -> list[tuple[int, dict[str, Any]]]:
        rows = self.text.data.get(kind, [])
        if not isinstance(rows, list):
            self.fault((kind,), f"{kind}: allowed are rows, each under [[{kind}]]")
            return []
        found = []
        for number, row in enumerate(rows):
            before = len(self.faults)
            values = self.read((kind, number), row, rules)
            for name in rules.keys() - values.keys():
                if not isinstance(row, dict) or name not in row:
                    self.fault((kind, number), f"{name}: is missing")
            if len(self.faults) == before:
                found.append((number, values))
        return found

    def read(self, place: Place, table: object, rules: dict[str, _Rule]) -> dict[str, Any]:
        if not isinstance(table, dict):
            self.fault(place, f"{place[0]}: allowed is a table; given {shown(table)}")
            return {}
        self.refuse_unknown(place, table, tuple(rules))
        values = {}
        for name, (allowed, convert) in rules.items():
            if name not in table:
                continue
            try:
                values[name] = convert(table[name])
            except _ItemError as error:
                self._refuse(place, name, allowed, error.item)
            except (ValueError, TypeError):
                self._refuse(place, name, allowed, table[name])
        return values

    def _refuse(self, place: Place, name: str, allowed: str, given: object) -> None:
        kind, of = place
        whose = f"{kind}.{shown(of)}: " if isinstance(of, str) else ""
        self.fault((*place, name), f"{whose}{name}: allowed: {allowed}; given {shown(given)}")

    def refuse_unknown(self, place: Place, table: dict[str, Any], known: tuple[str, ...]) -> None:
        for name in table.keys() - set(known):
            allowed = ", ".join(known)
            self.fault((*place, name), f"{shown(name)}: is no known key; allowed are {allowed}")


def _plan(row: dict[str, Any]) -> Plan:
    return Plan(row["kind"], row["sender"], row["from"], row["to"], row["reason"])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable()


def _text(value: object) -> object:
    if not _is_text(value):
        raise ValueError
    return value


class _ItemError(ValueError):
    """One item of a list is wrong."""

    def __init__(self, item: object) -> None:
        self.item = item


def _each(value: object, convert: Callable[[object], Any]) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError
    converted = []
    for item in value:
        try:
            converted.append(convert(item))
        except (ValueError, TypeError):
            raise _ItemError(item) from None
    return tuple(converted)


def _texts(value: object) -> tuple[object, ...]:
    return _each(value, _text)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _networks(value: object) -> tuple[str, ...]:
    return _each(value, lambda item: str(ip_network(str(_text(item)))))


def _one_of(words: tuple[str, ...]) -> _Rule:
    def convert(value: object) -> object:
        if value not in words:
            raise ValueError
        return value

    return ", ".join(words), convert


def _time(value: object) -> datetime:
    if isinstance(value, str):
        return parse_time(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError
    return value.astimezone(UTC)


_TEXT: Final[_Rule] = ("text of 1 to 256 printable characters", _text)
_TEXTS: Final[_Rule] = ("a list of texts", _texts)
_BOOL: Final[_Rule] = ("true or false", _flag)
_TIME: Final[_Rule] = ("a time with an offset, such as 2026-11-20T08:30:00Z", _time)
_SENDER: Final = {
    "provider": _TEXT,
    "owner": _TEXT,
    "endpoints": _TEXTS,
    "ranges": ("a list of networks in CIDR form, such as 192.0.2.0/24", _networks),
    "mtls": _BOOL,
    "keys": _TEXTS,
}
_ENDPOINT: Final = {
    "owner": _TEXT,
    "callers": _TEXTS,
    "trigger": _TEXT,
    "audience": _one_of(get_args(Audience)),
    "retries_expected": _BOOL,
}
_PLAN: Final = {
    "kind": _one_of(get_args(PlanKind)),
    "sender": _TEXT,
    "from": _TIME,
    "to": _TIME,
    "reason": _TEXT,
}
