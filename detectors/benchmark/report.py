"""The demo's report: one HTML page with figures and tables, every foreign word escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

import pandas as pd

from alerts.alert import Alert, Quantity
from alerts.explain import safe
from detectors.benchmark import plots
from detectors.benchmark.frames import alerts_frame, latest_states, numbers
from detectors.benchmark.labels import Kind, Label
from detectors.benchmark.report_page import PAGE, POLICY, STYLE
from detectors.benchmark.score import Judged, Score
from detectors.benchmark.svg import inline
from detectors.benchmark.traffic import UNKNOWN

_SHAPES: Final = {"info": "●", "low": "■", "medium": "▲", "high": "◆", "critical": "✖"}
_LONG: Final = 400


def report(
    events: pd.DataFrame,
    states: Iterable[Alert],
    score: Score,
    day: pd.Timestamp,
    *,
    facts: Mapping[str, str],
) -> str:
    """The page.

    Args:
        events: history and labelled day (`frames.simulated_events`).
        states: every state of every alert.
        score: the alerts judged against the labels.
        day: the midnight at which the labelled day begins.
        facts: what else a reader should know of the run (seed, configuration, times).
    """
    states = list(states)
    alerts = alerts_frame(states)
    attacks = [one for one in score.judged if one.label.kind is Kind.ATTACK]
    traps = [one for one in score.judged if one.label.kind is Kind.TRAP]
    title = f"callwatch: a labelled day, {day:%A %d %B %Y}"
    sections = [
        _section(
            "Attacks",
            "What had to be found, under which name and by when.",
            _table(
                ("", "label", "sender", "what happened", "expected", "seen as", "after"),
                [_attack_row(one) for one in attacks],
            ),
        ),
        _section(
            "Traps",
            "Harmless things that look like attacks. Quiet: no alert of low severity or above but "
            "those allowed, and none at all from the detectors that the trap is about.",
            _table(
                ("", "label", "sender", "what happened", "allowed", "set off"),
                [_trap_row(one) for one in traps],
            ),
        ),
        _section("Alerts", _alerts_lead(score), _alerts_table(states, score)),
        _timeline(events, alerts, day),
        _baselines(events, score, day),
    ]
    return PAGE.format(
        policy=POLICY,
        title=_text(title),
        lead="A simulated fleet after its benign history, seen by the detectors of real traffic.",
        style=STYLE,
        figures=_figures(events, score, attacks, traps, day),
        sections="\n".join(sections),
        footer=" · ".join(f"{_text(name)}: {_text(value)}" for name, value in facts.items()),
    )


def _figures(
    events: pd.DataFrame,
    score: Score,
    attacks: Sequence[Judged],
    traps: Sequence[Judged],
    day: pd.Timestamp,
) -> str:
    today = int((events["received_at"] >= day).sum())
    shown = [
        (f"{sum(one.good for one in attacks)} of {len(attacks)}", "attacks caught in time"),
        (f"{sum(one.good for one in traps)} of {len(traps)}", "traps stayed quiet"),
        (f"{len(score.unexpected)}", "alerts that nobody asked for"),
        (f"{score.sender_days:,.0f}", "sender-days behind these figures"),
        (f"{today:,}", "callbacks on the day"),
        (f"{len(events) - today:,}", "callbacks of history"),
    ]
    return "".join(f"<li><b>{_text(value)}</b>{_text(name)}</li>" for value, name in shown)


def _attack_row(one: Judged) -> list[str]:
    label = one.label
    after = ""
    if one.delay_s is not None:
        after = f"{_ordinal(one.delay_events or 1)} event, {duration(one.delay_s)}"
    return [
        _verdict(one),
        _cell(label.id),
        _cell(label.sender, "name"),
        _cell(label.what, "text"),
        _cell(f"{label.detector}: {' or '.join(label.reasons)}; {_deadline(label)}", "text"),
        _cell(one.by or ""),
        _cell(after, "time"),
    ]


def _trap_row(one: Judged) -> list[str]:
    allowed = "; ".join(
        f"{'any number' if a.at_most is None else a.at_most} {a.detector} up to {a.worst}"
        for a in one.label.allowed
    )
    return [
        _verdict(one),
        _cell(one.label.id),
        _cell(one.label.sender, "name"),
        _cell(one.label.what, "text"),
        _cell(allowed or "nothing"),
        _cell(one.by or ""),
    ]


def _alerts_lead(score: Score) -> str:
    by = ", ".join(f"{n} {name}" for name, n in score.unexpected_by_severity().items())
    return f"One row per incident, its latest state. Alerts that nobody asked for: {by or 'none'}."


def _alerts_table(states: Iterable[Alert], score: Score) -> str:
    false = {one.alert.id for one in score.unexpected}
    rows, classes = [], []
    for one in latest_states(states):
        severity = str(one.severity)
        classes.append(severity)
        rows.append(
            [
                _cell(f"{pd.Timestamp(one.opened_at, unit='us'):%d %b %H:%M:%S}", "time"),
                _cell(f"{_SHAPES[severity]} {severity}", "time"),
                _cell(f"{one.detector}: {one.reason}"),
                _cell(one.sender or "", "name"),
                _cell(one.summary, "text"),
                _quantities(one.expected),
                _quantities(one.observed),
                _cell(f"{one.count:,}"),
                '<td class="bad">not asked for</td>' if one.id in false else "<td>labelled</td>",
            ]
        )
    head = ("opened", "severity", "detector: reason", "sender", "summary", "expected", "observed",
            "events", "")  # fmt: skip
    return _table(head, rows, classes) if rows else "<p>There was no alert.</p>"


def _quantities(quantities: Mapping[str, Quantity]) -> str:
    lines = "<br>".join(_text(numbers({name: one})) for name, one in quantities.items())
    return f'<td class="numbers">{lines}</td>'


def _timeline(events: pd.DataFrame, alerts: pd.DataFrame, day: pd.Timestamp) -> str:
    today = events[(events["received_at"] >= day) & (events["sender"] != UNKNOWN)]
    legend = " ".join(f"{shape} {name}" for name, shape in _SHAPES.items())
    of_day = alerts[alerts["opened_at"] >= day]
    figure = inline(plots.timeline(today, of_day), name="timeline", title="Traffic and alerts")
    return _section(
        "The day, sender by sender",
        f"Callbacks in ten minutes (UTC) with alerts as they were opened: {legend}.",
        f"<figure>{figure}</figure>",
    )


def _baselines(events: pd.DataFrame, score: Score, day: pd.Timestamp) -> str:
    labels: dict[str, list[str]] = {}
    for one in score.judged:
        labels.setdefault(one.label.sender, []).append(f"{one.label.id}, {one.outcome}")
    cards = []
    by_sender = {str(name): part for name, part in events.groupby("sender", observed=True)}
    for place, sender in enumerate(sorted(set(by_sender) - {UNKNOWN})):
        figure = plots.sender_card(by_sender[sender], sender, day)
        note = "; ".join(labels.get(sender, ["nothing staged"]))
        cards.append(
            f"<figure><figcaption><b>{_text(sender)}</b> · {_text(note)}</figcaption>"
            f"{inline(figure, name=f'sender{place}', title=f'Baseline of {safe(sender)}')}</figure>"
        )
    return _section(
        "Baselines",
        "Expected: median of the same hour on like days (working day or weekend) before, band 5 to "
        "95 %. Sizes leave out refused calls.",
        "\n".join(cards),
    )


def _section(title: str, lead: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2><p>{_text(lead)}</p>{body}</section>"


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] | None = None
) -> str:
    names = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    marks = [f' class="{_text(name)}"' for name in classes] if classes else [""] * len(rows)
    lines = [f"<tr{mark}>{''.join(row)}</tr>" for row, mark in zip(rows, marks, strict=True)]
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _verdict(one: Judged) -> str:
    mark, kind = ("✓", "good") if one.good else ("✗", "bad")
    return f'<td class="{kind} name">{mark} {one.outcome}</td>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{_text(text)}</td>' if kind else f"<td>{_text(text)}</td>"


def _text(text: str) -> str:
    """Any text as harmless HTML: names come from whoever called."""
    return escape(safe(str(text), _LONG))


def _deadline(label: Label) -> str:
    parts = []
    if label.deadline_events is not None:
        parts.append(f"{label.deadline_events} events")
    if label.deadline_s is not None:
        parts.append(duration(label.deadline_s))
    level = "" if label.severity == "info" else f", {label.severity} or above"
    return f"within {' and '.join(parts) or 'its window'}{level}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best.

    >>> [duration(x) for x in (0.0, 2.25, 240.0, 5400.0)]
    ['0.0 s', '2.2 s', '4.0 min', '1.5 h']
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
