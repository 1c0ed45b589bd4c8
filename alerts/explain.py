"""Words for people: safe text, numbers with units, durations, and where the runbook is.

Summaries carry names that attackers choose (senders, endpoints, user agents). Whatever comes
from an event goes through `safe` before it becomes part of a sentence.
"""

import math
import re

RUNBOOKS = "docs/runbooks"
"""Folder of the runbooks, relative to the project: a file per detector, a heading per reason."""

_UNPRINTABLE = re.compile(r"[^ -~]")
_SECONDS = (("d", 86_400), ("h", 3_600), ("min", 60))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def safe(text: str, limit: int = 64) -> str:
    r"""Text that can stand in a line, a terminal or a log: printable, and at most `limit` long.

    Characters of the categories Cc, Cf, Zl, Zp, and all others that Python does not call
    printable, become `\uXXXX`. What is cut off is replaced by one "…". Safe text stays as it is.

    >>> safe("acme\u202e\n\x1b[31mstripe")
    'acme\\u202e\\u000a\\u001b[31mstripe'
    >>> safe("a" * 10, limit=5)
    'aaaa…'
    """
    escaped = escape_unprintable(text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


def escape_unprintable(text: str) -> str:
    r"""The same text with every unprintable character as `\uXXXX` (a pair outside the BMP).

    Inside a JSON string these escapes mean the same characters, so JSON stays equal in meaning.

    >>> escape_unprintable("é\u2028\U000e0041")
    'é\\u2028\\udb40\\udc41'
    """
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char.isprintable():
        return char
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def runbook(detector: str, reason: str) -> str:
    """Where the runbook of a reason is: a path relative to the project, with its heading.

    >>> runbook("replay-burst", "same_signature")
    'docs/runbooks/replay-burst.md#same_signature'
    """
    return f"{RUNBOOKS}/{detector}.md#{reason}"


def format_number(value: float) -> str:
    """Three significant digits, no exponent below a quadrillion, thousands separated.

    >>> [format_number(x) for x in (0, 0.01234, 3.14159, 42.0, 1234567, 1e18)]
    ['0', '0.0123', '3.14', '42', '1,230,000', '1e+18']
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1e15 or abs(value) < 1e-6:
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    if digits <= 0 or rounded == int(rounded):
        return f"{int(rounded):,}"
    return f"{rounded:,.{digits}f}".rstrip("0").rstrip(".")


def format_count(count: int, noun: str) -> str:
    """An exact count with its noun, the plural by adding an s.

    >>> format_count(1, "event"), format_count(12345, "event")
    ('1 event', '12,345 events')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_share(share: float) -> str:
    """A share from 0 to 1 as a percentage.

    >>> format_share(0.4217), format_share(0.0004)
    ('42.2 %', '0.04 %')
    """
    return f"{format_number(share * 100)} %"


def format_bytes(size: float) -> str:
    """A size in bytes with a binary unit.

    >>> format_bytes(900), format_bytes(12_400_000)
    ('900 B', '11.8 MiB')
    """
    for unit in _BINARY[:-1]:
        if abs(size) < 1024:
            return f"{format_number(size)} {unit}"
        size /= 1024
    return f"{format_number(size)} {_BINARY[-1]}"


def format_duration(seconds: float) -> str:
    """A duration in seconds, in its two largest units.

    >>> [format_duration(s) for s in (0.25, 45, 120, 7_500, 97_200, -60)]
    ['0.25 s', '45 s', '2 min', '2 h 5 min', '1 d 3 h', '-1 min']
    """
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 60 or not math.isfinite(seconds):
        return f"{format_number(seconds)} s"
    for at, (unit, size) in enumerate(_SECONDS):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            lower_unit, lower_size = _SECONDS[at + 1] if at + 1 < len(_SECONDS) else ("s", 1)
            lower = rest // lower_size
            return f"{whole} {unit} {lower} {lower_unit}" if lower else f"{whole} {unit}"
    raise AssertionError  # 60 s or more always has a unit


def format_quantity(value: float, unit: str) -> str:
    """A number of the evidence with its unit, as a person would say it.

    >>> format_quantity(12_400_000, "bytes"), format_quantity(0.42, "share")
    ('11.8 MiB', '42 %')
    >>> format_quantity(90, "s"), format_quantity(1234, "events"), format_quantity(3.5, "")
    ('1 min 30 s', '1,230 events', '3.5')
    """
    if unit == "bytes":
        return format_bytes(value)
    if unit == "share":
        return format_share(value)
    if unit == "s":
        return format_duration(value)
    return f"{format_number(value)} {safe(unit, 32)}".rstrip()
