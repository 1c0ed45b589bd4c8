"""The keys of scenario files, as tables; and which senders the fleet has."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING
from typing import Any

from detectors.benchmark.fields import allowed_of, length
from detectors.benchmark.fleet import FLEET
from detectors.benchmark.scenario import Allow, Expect, Head, Plan, Quiet, Variant
from detectors.benchmark.steps import STEPS, Step, keys_of

Table = Callable[[str, Any], str]
TABLES = (
    ("At the top", "", Head),
    ("A sender like another one", "[[fleet.sender]]", Variant),
    ("What must be found", "[[expect]]", Expect),
    ("What may come along", "[[allow]]", Allow),
    ("What must stay quiet", "[[quiet]]", Quiet),
    ("What was announced", "[[planned]]", Plan),
)


def keys(table: Table) -> str:
    """Every table of a scenario file, and every word that `do` may have."""
    parts = ["`[fleet]` may name with `only` the senders that take part; else all of them do."]
    for title, header, kind in TABLES:
        parts += [f"### {title}{f': `{header}`' if header else ''}", table(HEAD, rows(kind))]
    parts.append("### What happens: `[[step]]`")
    common = set(keys_of(Step))
    do = ("`do`", "a word of those below", "needed", "what happens")
    parts.append(table(HEAD, [do, *rows(Step)]))
    for word, kind in STEPS.items():
        what = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0]
        own = [row for row in rows(kind) if row[0].strip("`") not in common]
        parts += [f'#### `do = "{word}"`', what, *([table(HEAD, own)] if own else [])]
    parts += ["### The fleet", table("sender | what | provider | calls a day", fleet())]
    return "\n\n".join(parts)


HEAD = "key | allowed | unless given | meaning"


def rows(kind: type) -> list[tuple[str, str, str, str]]:
    """One row for each key of a table."""
    return [
        (f"`{name}`", allowed_of(one.metadata), shown(one), one.metadata["what"])
        for name, one in keys_of(kind).items()
    ]


def shown(one: Any) -> str:
    """A default as a file would give it."""
    default = one.default
    if default is MISSING:
        return "needed"
    if default in (None, "", ()):
        return "-"
    parts = default if isinstance(default, tuple) else (default,)
    timed = "such as" in allowed_of(one.metadata) and isinstance(parts[0], int)
    return ", ".join(length(part) if timed else str(part) for part in parts)


def fleet() -> list[tuple[str, str, str, str]]:
    """The built-in senders."""
    return [(f"`{s.name}`", s.what, s.provider or "-", f"{s.daily:g}") for s in FLEET]
