"""Figures of callback traffic: a frame in, a figure out; used by the report and the notebooks.

Colours are those of Okabe and Ito, which people with impaired colour vision can tell apart;
severities also differ in shape. Text and axes take one colour, `INK`, so that a report can let it
follow the reader's dark or light theme.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alerts.explain import safe
from detectors.benchmark.frames import hourly

INK: Final = "#7a7f87"  # readable on white and on black
SEEN, USUAL, BAND, REFUSED = "#0072b2", "#e69f00", "#e69f00", "#d55e00"
SEVERITY_LOOKS: Final = {
    "info": ("#56b4e9", "o"),
    "low": ("#009e73", "s"),
    "medium": ("#e69f00", "^"),
    "high": ("#d55e00", "D"),
    "critical": ("#cc79a7", "X"),
}
_CYCLE: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_LOW, _HIGH = 0.05, 0.95


def timeline(events: pd.DataFrame, alerts: pd.DataFrame, *, columns: int = 3) -> Figure:
    """Events per ten minutes of every sender, with its alerts marked by severity."""
    senders = sorted(events["sender"].astype(str).unique())
    rows = max(1, -(-len(senders) // columns))
    figure = Figure(figsize=(4.1 * columns, 1.25 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    minutes = events["received_at"].dt.floor("10min")
    counts = events.groupby([events["sender"].astype(str), minutes]).size()
    span = pd.date_range(minutes.min(), minutes.max(), freq="10min")
    for axes, sender in zip(grid, senders, strict=False):
        seen = counts.loc[sender].reindex(span, fill_value=0)
        axes.fill_between(seen.index, seen.to_numpy(), step="post", color=SEEN, alpha=0.65, lw=0)
        axes.set_title(_name(sender), fontsize=8, loc="left", color=INK, pad=2)
        # On a square root scale a flood of thousands leaves the usual dozens visible.
        axes.set_yscale("function", functions=(_root, np.square))
        axes.set_ylim(0, max(4.0, float(seen.max()) * 1.6))
        _mark_alerts(axes, alerts[alerts["sender"] == sender])
        _tidy(axes)
    for axes in grid[len(senders) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(senders) - columns) : len(senders)]:
        axes.tick_params(labelbottom=True)
    _hours(grid[0])
    figure.supylabel("events in 10 minutes (square root scale)", fontsize=8, color=INK)
    return figure


def baseline(
    events: pd.DataFrame, sender: str, day: pd.Timestamp, axes: Axes | None = None
) -> Axes:
    """Events per hour of a day beside what the days before it had at the same hour."""
    axes = axes or _single()
    per_hour = hourly(_of(events, sender)).set_index("hour")["events"]
    start, end = events["received_at"].min().ceil("h"), day + pd.Timedelta(hours=23)
    per_hour = per_hour.reindex(pd.date_range(start, end, freq="h"), fill_value=0)
    before, seen = per_hour[per_hour.index < day], per_hour[per_hour.index >= day]
    # Working days and weekends differ more than hours do: compare like with like.
    weekday = pd.DatetimeIndex(before.index).day_of_week
    alike = before[(weekday >= 5) == (day.day_of_week >= 5)]
    usual = alike.groupby(pd.DatetimeIndex(alike.index).hour).quantile([_LOW, 0.5, _HIGH]).unstack()
    if len(usual):
        hours = day + pd.to_timedelta(usual.index, unit="h")
        axes.fill_between(hours, usual[_LOW], usual[_HIGH], color=BAND, alpha=0.25, lw=0)
        axes.plot(hours, usual[0.5], color=USUAL, lw=1.2, label="expected")
    axes.plot(seen.index, seen.to_numpy(), color=SEEN, lw=1.4, label="seen")
    axes.set_title("events per hour", fontsize=8, loc="left", color=INK)
    axes.set_ylim(bottom=0)
    _hours(axes)
    return _finish(axes)


def sizes(events: pd.DataFrame, sender: str, day: pd.Timestamp, axes: Axes | None = None) -> Axes:
    """Body sizes by event type: the days before as filled shapes, the day itself as lines."""
    axes = axes or _single()
    mine = _of(events, sender)
    mine = mine[mine["verdict"].astype(str) != "rejected"]
    logs = np.log10(mine["body_bytes"].clip(lower=1).to_numpy(dtype=float))
    if len(logs):
        edges = np.linspace(logs.min() - 0.05, logs.max() + 0.05, 60)
        today = (mine["received_at"] >= day).to_numpy()
        kinds = mine["event_type"].astype(object).fillna("").to_numpy()
        common = mine["event_type"].astype(object).fillna("").value_counts().index[:4]
        for color, kind in zip(_CYCLE, common, strict=False):
            for when, filled in ((~today, True), (today, False)):
                _shape(axes, logs[(kinds == kind) & when], edges, color, filled, str(kind))
    axes.set_title("body size (filled: before; line: the day)", fontsize=8, loc="left", color=INK)
    axes.xaxis.set_major_formatter(lambda value, _place: _bytes(10.0**value))
    axes.set_yticks([])
    return _finish(axes)


def failures(
    events: pd.DataFrame, sender: str, day: pd.Timestamp, axes: Axes | None = None
) -> Axes:
    """Share of refused calls per hour of the day, with the usual share of the days before."""
    axes = axes or _single()
    mine = _of(events, sender)
    before = mine[mine["received_at"] < day]
    usual = float((before["verdict"].astype(str) == "rejected").mean()) if len(before) else 0.0
    share = hourly(mine[mine["received_at"] >= day]).set_index("hour")["refused"]
    share = share.reindex(pd.date_range(day, periods=24, freq="h"))
    axes.bar(share.index, share.fillna(0.0) * 100, width=1 / 26, align="edge", color=REFUSED)
    axes.axhline(usual * 100, color=USUAL, lw=1.2, label=f"usual {usual:.2%}")
    axes.set_title("refused, % of calls", fontsize=8, loc="left", color=INK)
    axes.set_ylim(0, max(2.0, min(105.0, float(share.max() or 0.0) * 120)))
    _hours(axes)
    return _finish(axes)


def sender_card(events: pd.DataFrame, sender: str, day: pd.Timestamp) -> Figure:
    """Baseline, sizes and failures of one sender side by side."""
    figure = Figure(figsize=(12.3, 2.3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    baseline(events, sender, day, left)
    sizes(events, sender, day, middle)
    failures(events, sender, day, right)
    return figure


def reasons_over_time(events: pd.DataFrame, *, every: str = "6h") -> Figure:
    """Refused calls over time, stacked by reason."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    refused = events[events["verdict"].astype(str) == "rejected"]
    table = (
        refused.groupby([refused["received_at"].dt.floor(every), refused["reason"].astype(str)])
        .size()
        .unstack(fill_value=0)
    )
    table = table[table.sum().sort_values(ascending=False).index]
    bottom = np.zeros(len(table))
    width = pd.Timedelta(every) / pd.Timedelta("1D") * 0.9
    for place, reason in enumerate(table.columns):
        axes.bar(
            table.index, table[reason], width=width, bottom=bottom, align="edge",
            color=_CYCLE[place % len(_CYCLE)], hatch="//" if place >= len(_CYCLE) else None,
            label=_name(reason),
        )  # fmt: skip
        bottom += table[reason].to_numpy()
    axes.set_ylabel(f"refused calls in {every}", color=INK)
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    _tidy(axes)
    return figure


def _mark_alerts(axes: Axes, alerts: pd.DataFrame) -> None:
    top = axes.get_ylim()[1]
    # From mild to grave, each a little higher: alerts of one moment stay apart, the gravest on top.
    for rank, (severity, (color, marker)) in enumerate(SEVERITY_LOOKS.items()):
        group = alerts[alerts["severity"] == severity]
        for opened in group["opened_at"]:
            axes.axvline(opened, color=color, lw=0.8, alpha=0.7)
        axes.plot(
            group["opened_at"],
            [top * (0.55 + 0.09 * rank)] * len(group),
            ls="",
            marker=marker,
            ms=6,
            color=color,
        )


def _shape(
    axes: Axes,
    logs: np.ndarray[tuple[int], np.dtype[np.float64]],
    edges: np.ndarray[tuple[int], np.dtype[np.float64]],
    color: str,
    filled: bool,
    kind: str,
) -> None:
    if not len(logs):
        return
    heights, _ = np.histogram(logs, edges)
    scaled = heights / heights.max()
    if filled:
        axes.stairs(scaled, edges, color=color, alpha=0.35, fill=True, label=_name(kind))
    else:
        axes.stairs(scaled, edges, color=color, lw=1.3)


def _of(events: pd.DataFrame, sender: str) -> pd.DataFrame:
    return events[events["sender"] == sender]


def _single() -> Axes:
    axes: Axes = Figure(figsize=(6, 2.6), layout="constrained").subplots()
    return axes


def _hours(axes: Axes) -> None:
    axes.xaxis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 6)))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]


def _finish(axes: Axes) -> Axes:
    _tidy(axes)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize=7, frameon=False, labelcolor=INK, loc="upper right")
    return axes


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=7, colors=INK, length=2)
    axes.grid(axis="y", color=INK, alpha=0.15, lw=0.5)
    axes.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _name(text: str) -> str:
    # A dollar sign would start a formula; names come from outside.
    return safe(text, 40).replace("$", r"\$")


def _root(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.sqrt(np.maximum(values, 0.0)))


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.0f} GB"
