"""TOML with line numbers, so that a fault names its place: `inventory.toml:14: ...`."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import IngestError

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?$")
_PART = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
# One way to read a line: any text may stand in a multi-line string, and is tried in linear time.
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")

Place = tuple[str | int, ...]  # ("senders", "acme", "ranges") or ("planned", 0, "kind")


@dataclass(frozen=True, slots=True)
class TomlText:
    """The data of a TOML file, and the line on which each table and key stands."""

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int]

    def where(self, *place: str | int) -> str:
        """`path:line` of a place, or of the nearest table around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}:{self.lines.get(place, 1)}"


def load_toml(path: Path) -> TomlText:
    """A TOML file; IngestError of one line when it cannot be read or is no TOML."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        msg = f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        raise IngestError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path}: allowed is UTF-8"
        raise IngestError(msg) from None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        number = line.group(1) if line else len(text.splitlines())  # "at end of document"
        msg = f"{path}:{number}: no TOML: {re.sub(r' *[(]at .*[)]', '', str(error))}"
        raise IngestError(msg) from None
    return TomlText(path, data, _lines(text))


def _lines(text: str) -> dict[Place, int]:
    """Places by a scan of the lines; inside multi-line values it may name a line too many."""
    lines: dict[Place, int] = {}
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if (header := _HEADER.match(line)) and (names := _names(header.group(2))):
            table = names
            if header.group(1) == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif (key := _KEY.match(line)) and (names := _names(key.group(1))):
            lines.setdefault((*table, *names), number)
    return lines


def _names(dotted: str) -> tuple[str, ...]:
    try:
        found: Any = tomllib.loads(f"{dotted} = 0")
    except (ValueError, RecursionError):
        return ()
    names = []
    while isinstance(found, dict):
        name, found = next(iter(found.items()))
        names.append(name)
    return tuple(names)
