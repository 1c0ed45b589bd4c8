"""Times on the wire are RFC 3339 with an offset; in Python they are aware UTC datetimes.

Digits after the microsecond are cut off, never rounded, so that every reader of an event arrives
at the same int64 of microseconds.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
ALLOWED: Final = "RFC 3339 with an offset, such as 2026-11-20T08:30:00.123456Z"

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_time(text: str) -> datetime:
    """An RFC 3339 time in UTC, truncated to microseconds; ValueError when it is none.

    >>> parse_time("2026-11-20T09:30:00.1234569+01:00").isoformat()
    '2026-11-20T08:30:00.123456+00:00'
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(ALLOWED)
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    try:
        zone = UTC
        if sign is not None:
            offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
            zone = timezone(offset if sign == "+" else -offset)
        micros = int((fraction or "0").ljust(6, "0")[:6])
        given = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), micros, zone
        )
        return given.astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of February; year 0; year 1 east of Greenwich
        raise ValueError(ALLOWED) from None


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with six digits after the second.

    >>> format_time(parse_time("2026-11-20T09:30:00+01:00"))
    '2026-11-20T08:30:00.000000Z'
    """
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_us(time: datetime) -> int:
    """Microseconds since 1970, exact.

    >>> to_us(parse_time("1970-01-01T00:00:01.000002Z"))
    1000002
    """
    return (time - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The UTC time that lies `us` microseconds after 1970.

    >>> from_us(1000002).isoformat()
    '1970-01-01T00:00:01.000002+00:00'
    """
    return _EPOCH + timedelta(microseconds=us)
