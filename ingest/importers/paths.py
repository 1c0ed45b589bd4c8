r"""Which paths a route means: a template, a prefix, or a regular expression of a safe kind.

>>> template("/hooks/{sender}")("/hooks/acme%2Dstripe")
{'sender': 'acme-stripe'}
>>> template("/hooks/{sender}")("/hooks/a/b"), prefix("/hooks/")("/hooks/a/b")
(None, {})
>>> regex(r"/(?P<sender>[a-z]{1,20})-hook/v\d+")("/acme-hook/v2")
{'sender': 'acme'}

Paths are written by strangers, so a pattern must not take for ever on some of them. A repetition
may only follow a single character or class, so none is inside another, and all of them together
may match a path in at most a million ways.

>>> regex("(a+)+")
Traceback (most recent call last):
ValueError: a repetition after a group, which can take for ever
>>> regex(r".*x.*y.*z.*")
Traceback (most recent call last):
ValueError: repetitions that can match in more than 1,000,000 ways
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from .call import MAX_PATH

Match = Callable[[str], dict[str, str] | None]
"""Given a path: what its placeholders hold, or None where it does not match."""

MAX_WAYS: Final = 1_000_000
MOST_TEXT: Final = 256
_REGEX_PATH: Final = 1_000
"""Longer paths match no regular expression: so an unbounded repetition has as many ways."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_ATOM: Final = re.compile(r"\\[dDwWsS]|\\[^A-Za-z0-9]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}*+?|]")
_REPEAT: Final = re.compile(r"[*+?]|\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")
_OPEN: Final = re.compile(r"\((?:\?:|\?P<([a-z][a-z0-9_]{0,31})>)?(?!\?)")


def template(text: str) -> Match:
    """A template: `{name}` is one whole segment of the path, everything else is itself."""
    if not text.startswith("/") or len(text) > MOST_TEXT or "?" in text:
        msg = f"a path that begins with / and has up to {MOST_TEXT} characters, without a query"
        raise ValueError(msg)
    wanted: list[tuple[str, bool]] = []
    for part in text.split("/"):
        name = PLACEHOLDER.fullmatch(part)
        if name is None and ("{" in part or "}" in part):
            msg = "placeholders that are whole segments, such as /hooks/{sender}"
            raise ValueError(msg)
        wanted.append((_named(name[1]), True) if name else (part, False))
    names = [value for value, is_name in wanted if is_name]
    if len(names) != len(set(names)):
        msg = "placeholders of different names"
        raise ValueError(msg)

    def match(path: str) -> dict[str, str] | None:
        given = path.split("/")
        if len(given) != len(wanted):
            return None
        found = {}
        for (value, is_name), raw in zip(wanted, given, strict=True):
            part = unquote(raw)
            if is_name and part:
                found[value] = part
            elif is_name or part != value:
                return None
        return found

    return match


def prefix(text: str) -> Match:
    """Every path that begins so."""
    if not text.startswith("/") or len(text) > MOST_TEXT or "?" in text:
        msg = f"a path that begins with / and has up to {MOST_TEXT} characters, without a query"
        raise ValueError(msg)
    return lambda path: {} if unquote(path[:MAX_PATH]).startswith(text) else None


def regex(text: str) -> Match:
    """A regular expression that matches whole paths; ValueError says why one is refused."""
    if len(text) > MOST_TEXT:
        msg = f"up to {MOST_TEXT} characters"
        raise ValueError(msg)
    _refuse_slow(text)
    try:
        pattern = re.compile(text)
    except re.error as error:
        msg = f"a regular expression: {error.msg}"
        raise ValueError(msg) from None

    def match(path: str) -> dict[str, str] | None:
        if len(path) > _REGEX_PATH:
            return None
        found = pattern.fullmatch(unquote(path))
        if found is None:
            return None
        return {name: value for name, value in found.groupdict().items() if value}

    return match


def placeholders(text: str) -> list[str]:
    """The names in braces of a text; ValueError where one is no name.

    >>> placeholders("github-{repository_id}")
    ['repository_id']
    """
    names = [_named(name) for name in PLACEHOLDER.findall(text)]
    if "{" in (rest := PLACEHOLDER.sub("", text)) or "}" in rest:
        msg = "placeholders such as {sender}"
        raise ValueError(msg)
    return names


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        msg = "placeholders of lower-case letters, digits and _, such as {sender}"
        raise ValueError(msg)
    return name


def _refuse_slow(text: str) -> None:
    at, ways, after_group = 0, 1, False
    while at < len(text):
        if (repeat := _REPEAT.match(text, at)) is not None:
            if at == 0 or text[at - 1] in "(|":
                msg = "a repetition of something"
                raise ValueError(msg)
            if after_group and repeat[0] != "?":
                msg = "a repetition after a group, which can take for ever"
                raise ValueError(msg)
            ways *= _ways(repeat)
            at, after_group = repeat.end(), False
            if text[at : at + 1] in ("*", "+", "{"):
                msg = "one repetition at a time"
                raise ValueError(msg)
            at += text[at : at + 1] == "?"  # lazy: the same ways in another order
            continue
        if (opening := _OPEN.match(text, at)) is not None:
            at, after_group = opening.end(), False
            continue
        if text[at] in ")|":
            after_group = text[at] == ")"
            ways *= 2 if text[at] == "|" else 1
            at += 1
            continue
        atom = _ATOM.match(text, at)
        if atom is None:
            msg = f"characters, classes, groups and repetitions, and nothing like {text[at:][:4]!r}"
            raise ValueError(msg)
        at, after_group = atom.end(), False
    if ways > MAX_WAYS:
        msg = f"repetitions that can match in more than {MAX_WAYS:,} ways"
        raise ValueError(msg)


def _ways(repeat: re.Match[str]) -> int:
    if repeat[0] == "?":
        return 2
    if repeat[0] in ("*", "+") or (repeat[2] and not repeat[3]):
        return _REGEX_PATH
    least = int(repeat[1])
    return max(int(repeat[3] or least) - least, 0) + 1
