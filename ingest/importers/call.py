# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What a line of a log says of one request, and why a line may say nothing."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Final

from ..errors import IngestError, shown
from ..rfc3339 import to_us
from ..vocabulary import clean_ip

MAX_LINE: Final = 65_536  # a request line, a referrer and a user agent of 8 KiB, each escaped
MAX_PATH: Final = 2_048
_CLF: Final = re.compile(
    r"([0-3][0-9])/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,6}))? ([+-])([01][0-9]|2[0-3])([0-5][0-9])"
)
_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([01][0-9]|2[0-3]):?([0-5][0-9]))?"
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_ANY: Final = "2026-11-20T08:30:00Z"
_OFTEN: Final = "10/Oct/2000:13:55:36 -0700"
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,12})?")
_LATEST_US: Final = 253_402_300_799_999_999  # the end of the year 9999


class LineError(IngestError):
    """A line that is not what its format says; `code` is a fixed word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class SkippedError(IngestError):
    """A line that is right and is no event; `reason` is a fixed word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Call:
    """One request as a log has it; None where the log does not say.

    unique: what tells this request from all others, where the log has it; else the line does.
    blocked: the edge turned the request away, so the receiver never saw it.
    captures: names for placeholders of the mapping, beside those of the path.
    rest: the first fields at the end of the line that the mapping has no name for.
    """

    time_us: int
    status: int
    source_ip: str | None = None
    method: str | None = None
    path: str | None = None
    host: str | None = None
    user_agent: str | None = None
    forwarded_for: str | None = None
    duration_ms: float | None = None
    body_bytes: int | None = None
    request_bytes: int | None = None
    content_type: str | None = None
    event_type: str | None = None
    asn: int | None = None
    country: str | None = None
    tls_fp: str | None = None
    client_cert_fp: str | None = None
    delivery: bytes | None = None
    signature: bytes | None = None
    unique: str | None = None
    blocked: bool = False
    captures: dict[str, str] = field(default_factory=dict)
    rest: tuple[str, ...] = ()


def clf_time(text: str) -> int:
    """Microseconds of a time of the common log format, whose offset counts.

    >>> clf_time("10/Oct/2000:13:55:36 -0700")
    971211336000000
    """
    return _clf_time(text)


@lru_cache(maxsize=4096)
def _clf_time(text: str) -> int:
    found = _CLF.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        raise _bad_time(text, _OFTEN)
    day, month, year, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)
    micros = int((fraction or "").ljust(6, "0"))
    try:
        local = datetime(
            int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), micros, UTC
        )
    except ValueError:
        raise _bad_time(text, _OFTEN) from None
    return _in_range(to_us(local) - offset // timedelta(microseconds=1), text)


def any_time(value: object, zone: tzinfo | None = None) -> int:
    """Microseconds of a time as JSON logs write it: ISO 8601, common log format, or a number.

    A number counts seconds, milliseconds, microseconds or nanoseconds since 1970: by its size, as
    no log is older than 1973. A text without an offset needs the mapping's `timezone`.

    >>> any_time("2021-05-12T20:33:44.5Z") == any_time(1620851624.5) == any_time("1620851624500")
    True
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_1970(value)
    if not isinstance(value, str):
        raise _bad_time(value, _ANY)
    found = _ISO.fullmatch(value)
    if found is None:
        return clf_time(value)
    day, clock, fraction, zulu, sign, hours, minutes = found.groups()
    at: tzinfo | None = UTC if zulu else zone
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        at = timezone(offset if sign == "+" else -offset)
    if at is None:
        raise _bad_time(value, "a time with an offset, or `timezone` in the mapping")
    micros = int((fraction or "").ljust(6, "0")[:6])
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}").replace(microsecond=micros, tzinfo=at)
        return _in_range(to_us(whole), value)
    except (ValueError, OverflowError):
        raise _bad_time(value, _ANY) from None


def _since_1970(value: float) -> int:
    try:
        for limit, in_us in ((1e11, 10**6), (1e14, 10**3), (1e17, 1)):
            if abs(value) < limit:
                return _in_range(round(value * in_us), value)
        return _in_range(int(value // 1000), value)
    except (ValueError, OverflowError):  # NaN and infinities
        raise _bad_time(value, "a number of seconds since 1970") from None


def _in_range(us: int, given: object) -> int:
    if not 0 <= us <= _LATEST_US:
        raise _bad_time(given, "a time from 1970 to 9999")
    return us


def _bad_time(given: object, allowed: str) -> LineError:
    return LineError(code="bad_time", message=f"time: allowed is {allowed}; given {shown(given)}")


@lru_cache(maxsize=65_536)
def known_ip(text: str) -> str | None:
    """An address in canonical form, or None; a log has the same ones again and again."""
    return clean_ip(text)


def address(value: object) -> str:
    """An address in canonical form; LineError where a log has a host name or nothing there."""
    found = known_ip(value) if isinstance(value, str) else None
    if found is None:
        msg = f"source_ip: allowed is an IPv4 or IPv6 address; given {shown(value)}"
        raise LineError(code="bad_address", message=msg)
    return found


def status_of(value: object) -> int:
    """A status; SkippedError where nothing was answered, LineError where it is no status."""
    if value in ("-", "", "000", "0", 0, None):
        raise SkippedError(reason="no_answer")
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if len(text) != 3 or not (text.isascii() and text.isdigit()) or not 100 <= int(text) <= 599:
        msg = f"status: allowed is 100 to 599; given {shown(value)}"
        raise LineError(code="bad_status", message=msg)
    return int(text)


def number(value: object, most: float = 2.0**40) -> float | None:
    """A number that is not negative; None for `-`, for lists of nginx's upstreams and the like.

    >>> number("0.125"), number("-"), number(True), number("1e400"), number(-1)
    (0.125, None, None, None, None)
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= most else None  # NaN is in no range


def whole(value: object, most: int = 2**40) -> int | None:
    """A whole number that is not negative; None for anything else.

    >>> whole("512"), whole(3.5), whole("-")
    (512, None, None)
    """
    found = number(value, most)
    return int(found) if found is not None and found == int(found) else None


def text(value: Any) -> str | None:
    """A text that says something: neither empty nor the `-` of access logs."""
    return value if isinstance(value, str) and value not in ("", "-") else None


def target(request_target: str) -> tuple[str | None, str]:
    """Host and path of a request target; its query and fragment are forgotten here.

    >>> target("https://Hooks.example.com:443/hooks/stripe?token=1#x")
    ('hooks.example.com', '/hooks/stripe')
    """
    plain = request_target.partition("?")[0].partition("#")[0]
    if plain.startswith("/"):
        return None, plain
    scheme, colon, rest = plain.partition("://")
    if colon and scheme.isalpha():
        host, _, path = rest.partition("/")
        return host_name(host), f"/{path}"
    return None, plain


def host_name(value: object) -> str | None:
    """A host without its port and user, in lower case.

    >>> host_name("Hooks.Example.com:443"), host_name("[2001:db8::1]:8443"), host_name("-")
    ('hooks.example.com', '2001:db8::1', None)
    """
    host = text(value)
    if host is None:
        return None
    host = host.rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0].lower() or None
    return (host.partition(":")[0] if host.count(":") == 1 else host).lower() or None
