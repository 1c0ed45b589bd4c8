"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from alerts.alert import Alert, Status, to_rfc3339
from alerts.explain import safe
from detectors.benchmark.frames import latest_states
from detectors.benchmark.labels import Kind
from detectors.benchmark.report import duration
from detectors.benchmark.score import Score

SHOWN: Final = 14
STYLES: Final = {
    "info": "cyan",
    "low": "green",
    "medium": "yellow",
    "high": "bold red",
    "critical": "bold white on red",
}


class View(Protocol):
    """How progress and alerts are shown."""

    def running(self) -> AbstractContextManager[object]:
        """The stretch of time in which something may be shown."""

    def phase(self, name: str, total: int) -> None:
        """A new part of the work begins."""

    def advance(self, count: int) -> None:
        """So many more of the part's events are done."""

    def alerts(self, states: Sequence[Alert]) -> None:
        """Alerts were opened, updated or closed."""


class Silent:
    """Shows nothing: for programs that read the result."""

    def running(self) -> AbstractContextManager[object]:
        """Nothing to prepare."""
        return nullcontext()

    def phase(self, name: str, total: int) -> None:
        """Not shown."""

    def advance(self, count: int) -> None:
        """Not shown."""

    def alerts(self, states: Sequence[Alert]) -> None:
        """Not shown."""


class Plain(Silent):
    """One line for each part of the work and for each alert as it opens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def phase(self, name: str, total: int) -> None:
        """The part's name, with its number of events."""
        self._say(f"{name}: {total:,} events" if total else name)

    def alerts(self, states: Sequence[Alert]) -> None:
        """A line for each that is new."""
        for one in states:
            if one.status is Status.OPEN:
                self._say(alert_line(one))

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True, highlight=False)


class OnTerminal:
    """A progress bar above a table of the latest alerts, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: list[Alert] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("preparing", total=None)
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._draw)

    def running(self) -> AbstractContextManager[object]:
        """The display is live."""
        return self._live

    def phase(self, name: str, total: int) -> None:
        """The bar starts again under a new name."""
        self._progress.reset(self._task, description=name, total=total or None)

    def advance(self, count: int) -> None:
        """The bar moves."""
        self._progress.advance(self._task, count)

    def alerts(self, states: Sequence[Alert]) -> None:
        """The table takes them up."""
        self._states += states

    def _draw(self) -> Group:
        return Group(self._progress, alert_table(latest_states(self._states)[-SHOWN:]))


def alert_line(one: Alert) -> str:
    """An alert in one safe line."""
    return (
        f"{to_rfc3339(one.opened_at)[:19]}Z {one.severity!s:8} {one.detector}: {one.reason} "
        f"[{safe(one.sender or '-', 40)}] {safe(one.summary, 200)}"
    )


def alert_table(alerts: Sequence[Alert]) -> Table:
    """Alerts as a table; every text of theirs is shown literally."""
    table = Table(title="alerts" if alerts else None, expand=True, pad_edge=False)
    for name in ("opened (UTC)", "severity", "detector: reason", "sender"):
        table.add_column(name, no_wrap=True)
    table.add_column("events", justify="right")
    table.add_column("what", ratio=1, overflow="ellipsis", no_wrap=True)
    for one in alerts:
        severity = str(one.severity)
        table.add_row(
            Text(to_rfc3339(one.opened_at)[5:19].replace("T", " ")),
            Text(severity, style=STYLES[severity]),
            Text(f"{one.detector}: {one.reason}"),
            Text(safe(one.sender or "-", 24)),
            Text(f"{one.count:,}"),
            Text(safe(one.summary, 200)),
        )
    return table


def verdict_lines(score: Score) -> list[Text]:
    """What was caught, how fast, what stayed quiet, and what nobody asked for."""
    lines = []
    for one in score.judged:
        label = one.label
        line = Text("  ✓ " if one.good else "  ✗ ", style="green" if one.good else "bold red")
        line.append(f"{one.outcome!s:9} {label.id:4} {label.sender:16} {label.what}", style="none")
        if label.kind is Kind.ATTACK:
            line.append(f"; {label.detector}", style="none")
            if one.delay_s is not None:
                line.append(f" {one.by} at event {one.delay_events}, {duration(one.delay_s)}")
            elif one.by:
                line.append(f" called it {safe(one.by)}")
        elif one.by:
            line.append(f"; {safe(one.by, 80)}")
        lines.append(line)
    attacks = [one for one in score.judged if one.label.kind is Kind.ATTACK]
    traps = [one for one in score.judged if one.label.kind is Kind.TRAP]
    by = ", ".join(f"{n} {name}" for name, n in score.unexpected_by_severity().items()) or "none"
    lines.append(
        Text(
            f"{sum(one.good for one in attacks)} of {len(attacks)} attacks caught in time, "
            f"{sum(one.good for one in traps)} of {len(traps)} traps quiet, {score.alerts} alerts "
            f"in {score.sender_days:,.0f} sender-days, unexpected: {by}",
            style="bold",
        )
    )
    return lines
