r"""Structured fields (RFC 8941), as far as message signatures need them.

A dictionary whose members are inner lists of strings, or single items; strings, integers,
tokens, booleans and bytes. Everything else is malformed, and so is whatever is too long.

>>> found = dictionary('sig1=("@method" "date";sf);created=1;keyid="a"')
>>> [str(one) for one in found["sig1"].items]
['"@method"', '"date";sf']
>>> str(found["sig1"])
'("@method" "date";sf);created=1;keyid="a"'
"""

import base64
import re
from dataclasses import dataclass, field
from typing import Final

from .reading import MAX_HEADER, Fault, from_base64

MAX_MEMBERS: Final = 8
MAX_ITEMS: Final = 64
MAX_PARAMETERS: Final = 16

Bare = str | int | bool | bytes


class Token(str):
    """A word without quotes."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A value with parameters."""

    value: Bare
    parameters: dict[str, Bare] = field(default_factory=dict)

    def __str__(self) -> str:
        return written(self.value) + parameters_of(self.parameters)


@dataclass(frozen=True, slots=True)
class InnerList:
    """Values in parentheses, with parameters of the whole."""

    items: tuple[Item, ...]
    parameters: dict[str, Bare] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"({' '.join(map(str, self.items))}){parameters_of(self.parameters)}"


_KEY: Final = re.compile(r"[a-z*][a-z0-9_\-.*]{0,63}")
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_BYTES: Final = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN: Final = re.compile(r"\?([01])")
_BETWEEN: Final = re.compile(r"[ \t]*,[ \t]*")


def dictionary(text: str) -> dict[str, Item | InnerList]:
    """The members of a dictionary; one that is named twice is malformed."""
    if len(text) > MAX_HEADER:
        raise Fault
    text = text.strip(" ")
    found: dict[str, Item | InnerList] = {}
    at = 0
    while at < len(text):
        if found:
            comma = _taken(_BETWEEN, text, at)
            at = comma.end()
        key = _taken(_KEY, text, at)
        at = key.end()
        if key[0] in found or len(found) >= MAX_MEMBERS:
            raise Fault
        member: Item | InnerList
        if text[at : at + 2] == "=(":
            member, at = _inner_list(text, at + 2)
        elif text[at : at + 1] == "=":
            member, at = _item(text, at + 1)
        else:
            parameters, at = _parameters(text, at)
            member = Item(True, parameters)
        found[key[0]] = member
    return found


def written(value: Bare) -> str:
    """A value as it stands in a field."""
    if isinstance(value, bool):
        return f"?{int(value)}"
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, int | Token):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parameters_of(parameters: dict[str, Bare]) -> str:
    """Parameters as they stand behind a value."""
    return "".join(
        f";{name}" if value is True else f";{name}={written(value)}"
        for name, value in parameters.items()
    )


def _taken(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise Fault
    return found


def _inner_list(text: str, at: int) -> tuple[InnerList, int]:
    items: list[Item] = []
    while True:
        while text[at : at + 1] == " ":
            at += 1
        if text[at : at + 1] == ")":
            break
        if len(items) >= MAX_ITEMS:
            raise Fault
        item, at = _item(text, at)
        items.append(item)
        if text[at : at + 1] not in {" ", ")"}:
            raise Fault
    parameters, at = _parameters(text, at + 1)
    return InnerList(tuple(items), parameters), at


def _item(text: str, at: int) -> tuple[Item, int]:
    value, at = _bare(text, at)
    parameters, at = _parameters(text, at)
    return Item(value, parameters), at


def _parameters(text: str, at: int) -> tuple[dict[str, Bare], int]:
    found: dict[str, Bare] = {}
    while text[at : at + 1] == ";":
        at += 1
        while text[at : at + 1] == " ":
            at += 1
        key = _taken(_KEY, text, at)
        at = key.end()
        value: Bare = True
        if text[at : at + 1] == "=":
            value, at = _bare(text, at + 1)
        if key[0] in found or len(found) >= MAX_PARAMETERS:
            raise Fault
        found[key[0]] = value
    return found, at


def _bare(text: str, at: int) -> tuple[Bare, int]:
    first = text[at : at + 1]
    if first == '"':
        string = _taken(_STRING, text, at)
        return re.sub(r"\\(.)", r"\1", string[1]), string.end()
    if first == ":":
        raw = _taken(_BYTES, text, at)
        return from_base64(raw[1]), raw.end()
    if first == "?":
        flag = _taken(_BOOLEAN, text, at)
        return flag[1] == "1", flag.end()
    if first.isdigit() or first == "-":
        number = _taken(_INTEGER, text, at)
        return int(number[0]), number.end()
    token = _taken(_TOKEN, text, at)
    return Token(token[0]), token.end()
