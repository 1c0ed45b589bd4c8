"""The generated parts of the documents, each a function from the code to Markdown."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import click

import callwatch
import models
from alerts.alert import Severity
from alerts.explain import runbook
from alerts.threat import techniques
from detectors import config
from detectors.base import Described
from detectors.engines.metrics import ABOUT, PREFIX
from detectors.plans import COVERS
from detectors.registry import alerting_found
from ingest import inventory
from ingest.importers import mapping, outcomes
from ingest.importers.run import FORMATS
from ingest.profile_facts import LIMIT_DAYS, RULES, Fact
from ingest.profiles import load_profiles
from ingest.topics import TOPICS
from tests.docs import (
    bench,
    bounds,
    cardinality,
    chaos,
    quality,
    scale,
    scenarios,
    schemes,
    soak,
    words,
)

ROOT = Path(__file__).parents[2]
DETECTORS = {one.id: one for one in alerting_found()}


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; `head` names the columns, separated by `|`."""
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    lines += [
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    ]
    return "\n".join(lines)


def prose(detector: Described) -> tuple[str, str, str]:
    """A detector's docstring as Markdown: first sentence, explanation, known gaps."""
    text = inspect.cleandoc(detector.module.__doc__ or "").replace("``", "`")
    text = text.partition("\n\n>>>")[0]
    first, _, rest = text.partition("\n\n")
    body, _, gaps = rest.partition("Known gaps: ")
    return " ".join(first.split()), body.strip(), " ".join(gaps.split())


def detector_part(detector: Described) -> str:
    """Everything that a reader can know about one detector."""
    first, body, gaps = prose(detector)
    memory = "; ".join(
        f"`{' + '.join(one.key)}` {one.row.itemsize} bytes" for one in detector.tables
    )
    return "\n\n".join(
        [
            f"**{first}**",
            body,
            f"**Known gaps.** {gaps[0].upper()}{gaps[1:]}",
            table("reason | means | mapped to", _reasons(detector)),
            table("parameter | default | unit | range | why", _parameters(detector)),
            f"Evidence in the alert: {', '.join(_evidence(detector))}."
            + (f" Memory per key: {memory}." if memory else ""),
        ]
    )


def _reasons(detector: Described) -> Iterable[list[str]]:
    means = meanings(detector.id)
    for reason in detector.reasons:
        ids = techniques(detector.id, reason, Severity.HIGH)[:3]
        link = f"[`{reason}`](runbooks/{detector.id}.md#{reason})"
        yield [link, means.get(reason, "-"), ", ".join(f"`{id_}`" for id_ in ids) or "-"]


def meanings(detector: str) -> dict[str, str]:
    """What each reason means: the first sentence of its runbook."""
    page = (ROOT / runbook(detector, "").rstrip("#")).read_text("utf-8")
    return dict(
        re.findall(r"^## (\w+)\n\n\*\*What it means\.\*\* (.+?\.)(?=\s)", page, re.MULTILINE)
    )


def _parameters(detector: Described) -> Iterable[list[str]]:
    for one in fields(detector.params):
        meta = one.metadata
        limits = f"{number(meta['low'])} to {number(meta['high'])}"
        yield [f"`{one.name}`", number(one.default), meta["unit"] or "-", limits, meta["why"]]


def _evidence(detector: Described) -> Iterable[str]:
    return (f"`{name}`" + (f" ({unit})" if unit else "") for name, unit in detector.evidence)


def number(value: float) -> str:
    """A number as a configuration would have it: no exponent below a quadrillion.

    >>> number(0.003), number(1e6), number(604800.0)
    ('0.003', '1000000', '604800')
    """
    return f"{value:.6f}".rstrip("0").rstrip(".") if value < 1e15 else f"{value:g}"


def detector_table() -> str:
    """One row for each detector: what it sees, what it calls it, an example of the demo."""
    rows = [
        [
            f"[`{name}`](docs/detection.md#{name})",
            prose(one)[0].rstrip("."),
            ", ".join(f"`{reason}`" for reason in one.reasons),
            words.EXAMPLES.get(name, "not part of it"),
        ]
        for name, one in DETECTORS.items()
    ]
    return table("detector | sees | reasons | example in the demo", rows)


def statistics_table() -> str:
    """The files of models/ that hold a statistic, with their first sentences."""
    rows = []
    for module in iter_modules(models.__path__):
        said = inspect.cleandoc(import_module(f"models.{module.name}").__doc__ or "")
        first = re.split(r"(?<=[.])(?=\s)", " ".join(said.split()), maxsplit=1)[0]
        rows.append([f"`models/{module.name}.py`", first.replace("``", "`")])
    return table("file | is", rows)


def stream_table() -> str:
    """The settings of the stream: name, default, meaning."""
    (body,) = ast.parse(inspect.getsource(config.StreamSettings)).body
    assert isinstance(body, ast.ClassDef)
    pairs = zip(body.body, body.body[1:], strict=False)
    said = {
        line.target.id: ast.literal_eval(below.value)
        for line, below in pairs
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(below, ast.Expr)
    }
    rows = [
        [f"`{one.name}`", number(float(one.default)), said[one.name]]  # type: ignore[arg-type]
        for one in fields(config.StreamSettings)
    ]
    return table("`[stream]` | default | meaning", rows)


def inventory_table(rules: str, meaning: dict[str, tuple[str, str]]) -> str:
    """The keys of one kind of table of inventory.toml."""
    allowed: dict[str, tuple[str, object]] = getattr(inventory, rules)
    rows = [[f"`{name}`", one[0], *meaning[name]] for name, one in allowed.items()]
    return table("key | allowed | meaning | used in detection", rows)


def plan_table() -> str:
    """What each kind of plan explains."""
    rows = [
        [
            f"`{kind}`",
            "; ".join(
                f"{name}: {', '.join(f'`{reason}`' for reason in sorted(reasons))}"
                for name, reasons in of.items()
                if name in DETECTORS
            ),
        ]
        for kind, of in COVERS.items()
    ]
    return table("kind | explains", rows)


def profile_table() -> str:
    """What is known of each provider, in a line."""
    rows = [
        [
            f"[`{one.name}`](providers.md#{one.name})",
            one.freshness,
            "-" if one.horizon_s is None else span(one.horizon_s),
            "-" if one.tolerance_s is None else span(one.tolerance_s),
            one.source_policy + (f", {len(one.ranges)} networks" if one.ranges else ""),
            min(fact.as_of for fact in one.facts.values()),
        ]
        for one in load_profiles().values()
    ]
    return table("profile | signs | retries for | tolerance | source networks | oldest fact", rows)


def provider_facts() -> str:
    """Every fact of every profile with its day, source and certainty."""
    parts = []
    for name, one in load_profiles().items():
        path = ROOT / "ingest" / "profiles" / f"{name}.toml"
        parts += [f"### {name}", path.read_text("utf-8").partition("\n")[0].lstrip("# ")]
        rows = [
            [f"`{field}`", fact_value(field, getattr(one, field)), *_origin(one.facts[field])]
            for field in RULES
            if field in one.facts
        ]
        parts.append(table("fact | is | note | source | as of", rows))
        parts += [
            f"- {remark.text} ({source}, {day})"
            for remark in one.remarks
            for _, source, day in [_origin(remark.fact)]
        ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ").replace(" |\n- ", " |\n\n- ")


def _origin(fact: Fact) -> list[str]:
    where = f"<{fact.source}>" if fact.source.startswith("https://") else fact.source
    if fact.source.startswith("https://") and ", " in fact.source:
        address, _, rest = fact.source.partition(", ")
        where = f"<{address}>, {rest}"
    basis = "" if fact.basis == "stated" else f"**{fact.basis}**: "
    return [fact.note or "-", basis + where, fact.as_of]


def fact_value(name: str, value: object) -> str:
    """A fact as a person reads it."""
    if name.endswith("_s"):
        values = value if isinstance(value, tuple) else (value,)
        return ", ".join(span(one) for one in values)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{value}`"


def span(seconds: float) -> str:
    """Seconds in the largest unit that leaves no fraction.

    >>> span(272105), span(5400), span(86400.0), span(0)
    ('272,105 s', '90 min', '1 d', '0 s')
    """
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.15g} s"


def fact_kinds() -> str:
    """The kinds of facts: what each means, what it takes, and after how long it is old."""
    rows = [
        [f"`{name}`", rule.means, rule.allowed, f"{LIMIT_DAYS[rule.kind]} days"]
        for name, rule in RULES.items()
    ]
    return table("fact | means | allowed | old after", rows)


def metric_table() -> str:
    """What a worker tells at its metrics port."""
    return table(
        "metric | labels | says",
        (
            (
                f"`{PREFIX}{name}{'_total' if about.counts else ''}`",
                ", ".join(f"`{label}`" for label in about.labels) or "-",
                about.text,
            )
            for name, about in ABOUT.items()
        ),
    )


def topic_table() -> str:
    """The topics with their settings."""
    rows = [
        [
            f"`{one.name}`",
            *words.TOPICS[one.name],
            "`--partitions`" if one.spread else "1",
            ", ".join(f"`{name}={value}`" for name, value in one.settings.items()),
        ]
        for one in TOPICS
    ]
    return table("topic | key | value | partitions | settings", rows)


def command_table() -> str:
    """Every command in a line."""
    rows = []
    for name, command in commands():
        if not isinstance(command, click.Group):
            help_ = re.split(r"\.(?=\s|$)", inspect.cleandoc(command.help or ""))[0]
            rows.append([f"[`callwatch {name}`](docs/cli.md#callwatch-{name.replace(' ', '-')})",
                         " ".join(help_.split())])  # fmt: skip
    return table("command | does", rows)


def command_reference() -> str:
    """Every command with all of its arguments and options."""
    parts = []
    for name, command in commands():
        if isinstance(command, click.Group):
            continue
        parts.append(f"### callwatch {name}")
        parts.append(inspect.cleandoc(command.help or ""))
        context = click.Context(command, info_name=f"callwatch {name}")
        records = [one.get_help_record(context) for one in command.params]
        rows = [[f"`{one[0]}`", " ".join(one[1].split())] for one in records if one is not None]
        parts.append(table("option | meaning", rows))
    return "\n\n".join(parts)


def commands() -> Iterable[tuple[str, click.Command]]:
    """Every command and sub-command with the words that call it."""
    context = click.Context(callwatch.cli)
    for name in callwatch.cli.list_commands(context):
        command = callwatch.cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())


def mapping_keys() -> str:
    """The keys of a mapping file: of the file, of routes, and of what is left out."""
    rules = {
        "": mapping.TOP,
        "[[route]]": {**mapping.WHERE, **mapping.ROUTE},
        "[[ignore]]": mapping.WHERE,
    }
    rows = [
        [where or "file", f"`{name}`", words.MAPPING[name]]
        for where, names in rules.items()
        for name in names
    ]
    return table("in | key | meaning", rows)


def mapping_statuses() -> str:
    """What each status means by default."""
    kinds = list(outcomes.DEFAULTS)
    keys = sorted({key for kind in kinds for key in outcomes.DEFAULTS[kind]})
    rows = [
        [f"`{key}`", *(f"`{outcomes.DEFAULTS[kind].get(key, 'as its class')}`" for kind in kinds)]
        for key in keys
    ]
    said = table("status | webhook | redirect", rows).replace("`as its class`", "as its class")
    meaning = [f"`{word}`: {means}." for word, means in outcomes.MEANING.items()]
    return f"{said}\n\n{' '.join(meaning)}"


PARTS: dict[str, Callable[[], str]] = {
    **{name: partial(detector_part, one) for name, one in DETECTORS.items()},
    "detectors": detector_table,
    "statistics": statistics_table,
    "stream": stream_table,
    "senders": partial(inventory_table, "_SENDER", words.SENDER),
    "endpoints": partial(inventory_table, "_ENDPOINT", words.ENDPOINT),
    "planned": partial(inventory_table, "_PLAN", words.PLAN),
    "plans": plan_table,
    "environment": lambda: table("variable | who reads it | meaning", words.environment()),
    "profiles": profile_table,
    "providers": provider_facts,
    "facts": fact_kinds,
    "schemes": partial(schemes.signed, table),
    "scheme-keys": partial(schemes.keys, table),
    "topics": topic_table,
    "metrics": metric_table,
    "commands": command_table,
    "command-reference": command_reference,
    "mapping-keys": mapping_keys,
    "mapping-statuses": mapping_statuses,
    "mapping-formats": lambda: table(
        "format | reads", ([f"`{name}`", says] for name, says in FORMATS.items())
    ),
    "size": partial(scale.told, 0),
    "size-million": partial(scale.told, 1),
    "quality": lambda: quality.tables(ROOT / quality.KEPT, table),
    "cardinality": lambda: cardinality.told(ROOT / cardinality.KEPT, table),
    "bounds-sizes": lambda: bounds.sizes(ROOT / bounds.KEPT, table),
    "bounds-spikes": lambda: bounds.spikes(ROOT / bounds.KEPT, table),
    "scenario-keys": partial(scenarios.keys, table),
    "chaos": lambda: chaos.cases(ROOT / chaos.KEPT, table),
    "soak": lambda: soak.figures(ROOT / soak.KEPT, table),
    "bench": partial(bench.figures, ROOT / bench.KEPT),
}
