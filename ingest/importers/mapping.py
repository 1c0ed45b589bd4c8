# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""The mapping file: which path is which endpoint and sender, and what a status means.

Unknown keys are errors, and all faults are told at once with file and line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta, timezone, tzinfo
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import IngestError, shown
from ..toml_text import Place, TomlText, load_toml
from ..vocabulary import Kind, SourceIpFrom, clean_text
from . import paths
from .call import host_name
from .combined import EXTRA, refuse_unknown
from .json_lines import FIELDS
from .outcomes import outcomes_of

Network = IPv4Network | IPv6Network


class MappingError(IngestError):
    """A mapping file is wrong; `faults` holds one line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults

    def __reduce__(self) -> tuple[type["MappingError"], tuple[list[str]]]:
        return MappingError, (self.faults,)


@dataclass(frozen=True, slots=True)
class Where:
    """Which requests: paths, methods and hosts; an empty tuple means all."""

    match: paths.Match
    methods: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def takes_host(self, host: str | None) -> bool:
        """Whether a host is one of those named; `*.example.com` names all below."""
        return takes(self.hosts, host)


@dataclass(frozen=True, slots=True)
class Route:
    """Requests that are callbacks, and what of."""

    where: Where
    endpoint: str
    sender: str
    kind: Kind = Kind.WEBHOOK
    provider: str | None = None
    accepted: str = "unverified"
    event_type: str | None = None
    status: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapping:
    """All that a mapping file says."""

    routes: tuple[Route, ...]
    ignore: tuple[Where, ...] = ()
    receiver: str | None = None
    hosts: tuple[str, ...] = ()
    status: dict[str, str] = field(default_factory=dict)
    unmatched: str = "ignore"
    size: str = "none"
    source_ip_from: SourceIpFrom = SourceIpFrom.SOCKET
    trusted_proxies: tuple[Network, ...] = ()
    timezone: tzinfo | None = None
    extra: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


def takes(hosts: tuple[str, ...], host: str | None) -> bool:
    """Whether a host is among those allowed; none named = all."""
    if not hosts:
        return True
    return host is not None and any(
        host.endswith(one[1:]) if one.startswith("*.") else host == one for one in hosts
    )


def load_mapping(path: Path, format_name: str) -> Mapping:
    """The mapping of a file; MappingError names all its faults with file and line."""
    try:
        text = load_toml(Path(path))
    except IngestError as error:
        raise MappingError([str(error)]) from None
    reader = _Reader(text)
    top = reader.read((), text.data, {**TOP, "route": _ROWS, "ignore": _ROWS})
    routes = [reader.route(n, row, format_name) for n, row in enumerate(top.pop("route", []))]
    ignored = [reader.where(("ignore", n), row) for n, row in enumerate(top.pop("ignore", []))]
    if not routes:
        reader.fault((), "route: is missing; each [[route]] says which paths are callbacks")
    if reader.faults:
        raise MappingError([text for _, text in sorted(reader.faults)])
    return Mapping(
        routes=tuple(one for one in routes if one is not None),
        ignore=tuple(one for one in ignored if one is not None),
        **top,
    )


_Rule = tuple[str, Callable[[Any], Any]]


class _Reader:
    """Reads tables by rules and gathers every fault; what it returns is used only without any."""

    def __init__(self, text: TomlText) -> None:
        self.text = text
        self.faults: list[tuple[int, str]] = []

    def fault(self, place: Place, text: str) -> None:
        where = self.text.where(*place)
        self.faults.append((int(where.rpartition(":")[2]), f"{where}: {text}"))

    def read(self, place: Place, table: dict[str, Any], rules: dict[str, _Rule]) -> dict[str, Any]:
        for name in table.keys() - rules.keys():
            allowed = ", ".join(rules)
            self.fault((*place, name), f"{shown(name)}: is no known key; allowed are {allowed}")
        values = {}
        for name, (allowed, convert) in rules.items():
            if name not in table:
                continue
            try:
                values[name] = convert(table[name])
            except (ValueError, TypeError, AttributeError) as error:
                told = str(error) if isinstance(error, _ToldError) or not allowed else allowed
                given = "" if "; given " in told else f"; given {shown(table[name])}"
                self.fault((*place, name), f"{name}: allowed: {told}{given}")
        return values

    def where(self, place: Place, row: dict[str, Any]) -> Where | None:
        found = self.read(place, row, WHERE)
        match = self.match(place, row, found, needed=True)
        return match and Where(match, found.get("methods", ()), found.get("hosts", ()))

    def match(
        self, place: Place, row: dict[str, Any], found: dict[str, Any], *, needed: bool
    ) -> paths.Match | None:
        given = [name for name in ("path", "prefix", "regex") if name in row]
        if len(given) > 1:
            both = " and ".join(given)
            self.fault(
                (*place, given[1]), f"allowed is one of path, prefix and regex; given {both}"
            )
        elif not given and needed:
            self.fault(place, "path: is missing; allowed is one of path, prefix and regex")
        elif not given:
            return lambda _: {}
        return found.get(given[0]) if given else None

    def route(self, number: int, row: dict[str, Any], format_name: str) -> Route | None:
        place: Place = ("route", number)
        found = self.read(place, row, {**WHERE, **ROUTE})
        match = self.match(place, row, found, needed=format_name != "github")
        endpoint = found.get("endpoint") or row.get("path")
        sender = found.get("sender")
        pattern = str(row.get("path") or row.get("regex") or "")
        if sender is None and ("{sender}" in pattern or "(?P<sender>" in pattern):
            sender = "{sender}"
        if endpoint is None:
            self.fault(place, "endpoint: is missing; it names what the paths have in common")
        if sender is None and "sender" not in row:
            self.fault(place, "sender: is missing; a name, or {sender} as a segment of the path")
        if match is None or endpoint is None or sender is None:
            return None
        known = {*_captured(pattern), *_GITHUB} if format_name == "github" else _captured(pattern)
        for name in ("sender", "event_type"):
            for used in paths.placeholders(str(found.get(name) or "")):
                if used not in known:
                    self.fault(
                        (*place, name),
                        f"{name}: allowed: placeholders of the path; given {{{used}}}",
                    )
        return Route(
            where=Where(match, found.get("methods", ()), found.get("hosts", ())),
            endpoint=endpoint,
            sender=sender,
            **{
                name: found[name]
                for name in ("kind", "provider", "accepted", "event_type", "status")
                if name in found
            },
        )


class _ToldError(ValueError):
    """A fault that says itself what is allowed."""


_GITHUB: Final = ("event", "repository_id", "installation_id")


def _captured(pattern: str) -> set[str]:
    names = set(pattern.split("(?P<")[1:])
    return {name.partition(">")[0] for name in names} | {
        part[1:-1] for part in pattern.split("/") if part.startswith("{") and part.endswith("}")
    }


def _text(limit: int) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if clean_text(value, limit) != value:
            raise ValueError
        return str(value)

    return convert


def _named_text(value: Any) -> str:
    made = _text(128)(value)
    try:
        paths.placeholders(made)
    except ValueError as error:
        raise _ToldError(str(error)) from None
    return made


def _list_of(convert: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def all_of(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(convert(one) for one in value)

    return all_of


def _host(value: Any) -> str:
    wild = isinstance(value, str) and value.startswith("*.")
    name = host_name(value[2:] if wild else value)
    if name is None or "*" in name:
        raise ValueError
    return f"*.{name}" if wild else name


def _method(value: Any) -> str:
    if not (isinstance(value, str) and value.isascii() and value.isalpha() and len(value) <= 32):
        raise ValueError
    return value.upper()


def _one_of(*words: str) -> _Rule:
    def convert(value: Any) -> Any:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return ", ".join(words), convert


def _telling(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A conversion whose own words say what is allowed."""

    def told(value: Any) -> Any:
        try:
            return convert(value)
        except AttributeError:
            msg = "a text"
            raise _ToldError(msg) from None
        except (ValueError, TypeError) as error:
            raise _ToldError(str(error)) from None

    return told


def _zone(value: Any) -> tzinfo:
    if not isinstance(value, str):
        raise TypeError
    if value[:1] in ("+", "-") and len(value) == 6 and value[3] == ":":
        hours, minutes = int(value[1:3]), int(value[4:])
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if value[0] == "-" else offset)
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError from None


def _extra(value: Any) -> tuple[str, ...]:
    names = _list_of(str)(value)
    if (fault := refuse_unknown(names)) is not None:
        raise _ToldError(fault.removeprefix("extra: allowed are "))
    return names


def _fields(value: Any) -> dict[str, str]:
    for name, key in value.items():
        if name not in FIELDS or not isinstance(key, str) or not key:
            msg = f"keys of the log for {', '.join(FIELDS)}; given {shown(name)} = {shown(key)}"
            raise _ToldError(msg)
    return dict(value)


def _rows(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise TypeError
    return value


_ROWS: Final[_Rule] = ("rows, each under [[route]] or [[ignore]]", _rows)
_HOSTS: Final[_Rule] = (
    "a list of hosts, such as hooks.example.com or *.example.com",
    _list_of(_host),
)
TOP: Final[dict[str, _Rule]] = {
    "receiver": ("text of 1 to 128 characters: service/version@instance", _text(128)),
    "hosts": _HOSTS,
    "status": ("", _telling(outcomes_of)),
    "unmatched": _one_of("ignore", "rejected"),
    "size": _one_of("none", "request"),
    "source_ip_from": (", ".join(SourceIpFrom), SourceIpFrom),
    "trusted_proxies": ("a list of networks in CIDR form", _list_of(ip_network)),
    "timezone": ("an offset such as +01:00, or a name such as Europe/Berlin", _zone),
    "extra": (f"a list of {', '.join(EXTRA)}", _extra),
    "fields": (f"a table with the keys of the log for {', '.join(FIELDS)}", _fields),
}
WHERE: Final[dict[str, _Rule]] = {
    "path": ("", _telling(paths.template)),
    "prefix": ("", _telling(paths.prefix)),
    "regex": ("", _telling(paths.regex)),
    "methods": ("a list of methods, such as POST", _list_of(_method)),
    "hosts": _HOSTS,
}
ROUTE: Final[dict[str, _Rule]] = {
    "endpoint": ("text of 1 to 256 characters", _text(256)),
    "sender": ("text of 1 to 128 characters, with placeholders of the path", _named_text),
    "kind": (", ".join(Kind), Kind),
    "provider": ("text of 1 to 64 characters: the name of a profile", _text(64)),
    "accepted": _one_of("verified", "unverified"),
    "event_type": ("text of 1 to 128 characters, with placeholders of the path", _named_text),
    "status": ("", _telling(outcomes_of)),
}
