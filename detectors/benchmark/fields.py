"""What may stand behind a key of a scenario file: each kind says what it allows, and reads it.

A step of a scenario is a frozen dataclass whose fields are made by the functions below; the reader
of scenario files takes everything that it checks from there, and so do the docs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from datetime import date
from typing import Any, Final, TypeAlias

from detectors.benchmark.arrivals import DAY, HOUR, MINUTE, SECOND

_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_CLOCK: Final = re.compile(r"(?:(\d+)d )?([01]\d|2[0-3]):([0-5]\d)")
REQUIRED: Final = MISSING

Pair: TypeAlias = tuple[int, int]
Read: TypeAlias = Callable[[Any], Any]


def _field(default: Any, allowed: str, read: Read, what: str) -> Any:
    metadata = {"allowed": allowed, "read": read, "what": what}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def microseconds(text: str) -> int:
    """A length of time in microseconds.

    >>> microseconds("1d2h"), microseconds("0.5s")
    (93600000000, 500000)
    """
    found = _SPAN.fullmatch(text)
    if not text or found is None:
        raise ValueError(text)
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return round(days * DAY + hours * HOUR + minutes * MINUTE + seconds * SECOND)


def length(us: int) -> str:
    """A length of time as a file would write it.

    >>> length(microseconds("1d2h")), length(0)
    ('1d2h', '0s')
    """
    parts = []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        whole, us = divmod(us, size)
        parts += [f"{whole}{unit}"] if whole else []
    return "".join(parts) or "0s"


def offset(text: str) -> int:
    """A moment of the test window, from its first midnight: a time of day, or a length of time.

    >>> offset("1d 06:30") == offset("30h30m")
    True
    """
    found = _CLOCK.fullmatch(text)
    if found is None:
        return microseconds(text)
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return days * DAY + hours * HOUR + minutes * MINUTE


def moment(default: Any = REQUIRED, what: str = "when it begins") -> Any:
    """A moment, or two between which it is drawn."""

    def read(value: Any) -> Pair:
        if isinstance(value, str):
            return offset(value), offset(value)
        low, high = (offset(one) for one in value)
        if low > high:
            raise ValueError(value)
        return low, high

    allowed = 'a moment such as "06:30", "1d 06:30" or "40m", or two in order'
    return _field(default, allowed, read, what)


def duration(default: Any = REQUIRED, what: str = "how long") -> Any:
    """A length of time; a minus turns it round."""

    def read(value: str) -> int:
        return -microseconds(value[1:]) if value.startswith("-") else microseconds(value)

    return _field(default, 'a length of time such as "40m" or "1d12h"', read, what)


def number(default: Any, low: float, high: float, what: str) -> Any:
    """A number in a range."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not low <= value <= high:
            raise ValueError(value)
        return float(value)

    return _field(default, f"a number from {low:g} to {high:g}", read, what)


def count(default: Any = REQUIRED, what: str = "how many", low: int = 1, high: int = 50_000) -> Any:
    """A whole number in a range."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(value)
        return value

    return _field(default, f"a whole number from {low} to {high}", read, what)


def day(default: Any, what: str) -> Any:
    """A date."""

    def read(value: str) -> str:
        return date.fromisoformat(value).isoformat()

    return _field(default, "a date such as 2025-06-18", read, what)


def text(default: Any = REQUIRED, what: str = "a text") -> Any:
    """A short text."""
    return _field(default, "a text of 1 to 256 characters", _text, what)


def texts(default: Any, what: str) -> Any:
    """Several texts."""
    return _field(default, "a list of texts", _texts, what)


def one_of(default: Any, choices: tuple[str, ...], what: str) -> Any:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(value)
        return str(value)

    return _field(default, ", ".join(choices), read, what)


def some_of(default: Any, choices: tuple[str, ...], what: str) -> Any:
    """Some of some words."""

    def read(value: Any) -> tuple[str, ...]:
        if not value or not set(_texts(value)) <= set(choices):
            raise ValueError(value)
        return tuple(value)

    return _field(default, f"a list out of {', '.join(choices)}", read, what)


def one_or_some(choices: tuple[str, ...], what: str) -> Any:
    """One of some words, or a list of them."""

    def read(value: Any) -> tuple[str, ...]:
        given = (value,) if isinstance(value, str) else tuple(value)
        if not given or not set(given) <= set(choices):
            raise ValueError(value)
        return given

    return _field(REQUIRED, f"one or a list of {', '.join(choices)}", read, what)


def sender(what: str = "whose name is on the calls; of several, each seed draws one") -> Any:
    """A sender, or several of which one is drawn."""

    def read(value: Any) -> tuple[str, ...]:
        return (_text(value),) if isinstance(value, str) else _texts(value)

    return _field(REQUIRED, "a sender of the fleet, or a list of them", read, what)


def senders(what: str = "whom it befalls") -> Any:
    """Several senders at once; `all` or `webhooks` name the fleet's."""

    def read(value: Any) -> tuple[str, ...]:
        return (_text(value),) if isinstance(value, str) else _texts(value)

    return _field(REQUIRED, '"all", "webhooks", a sender, or a list of senders', read, what)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        raise ValueError(value)
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(value)
    return tuple(_text(one) for one in value)


def allowed_of(metadata: Mapping[str, Any]) -> str:
    """What a field allows, in words."""
    return str(metadata["allowed"])
