"""The result of an evaluation as lines of text: a table for a terminal or a file."""

from typing import Any

from detectors.benchmark.evaluate import Result, record


def lines_of(result: Result) -> list[str]:
    """The table, then the figures over all runs."""
    found = record(result)
    rows = [
        ("scenario", "kind", "good", "in time", "delay events", "delay", "alerts", "info", "what"),
        *(_row(one) for one in found["scenarios"]),
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]) - 1)]
    table = ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]).rstrip() for row in rows]
    return [*table, "", *summary_lines(found)]


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    runs = one["runs"]
    in_time = "-" if one["caught_runs"] is None else f"{one['caught_runs']}/{runs}"
    return (
        one["scenario"],
        one["kind"],
        f"{one['good_runs']}/{runs}",
        in_time,
        " ".join(pair_of(e["delay_events"], "") for e in one["expect"]) or "-",
        " ".join(pair_of(e["delay_s"], "s") for e in one["expect"]) or "-",
        f"{one['alerts_per_incident']:g}",
        str(one["infos"]),
        "; ".join(faults_of(one)),
    )


def pair_of(delay: dict[str, float] | None, unit: str) -> str:
    """Median and 95th percentile, or one of them where they are alike."""
    if delay is None:
        return "-"
    low, high = (_short(delay[name], unit) for name in ("median", "p95"))
    return low if low == high else f"{low}..{high}"


def _short(value: float, unit: str) -> str:
    if unit == "s" and value >= 7200:
        return f"{value / 3600:.1f}h"
    if unit == "s" and value >= 120:
        return f"{value / 60:.0f}min"
    return f"{value:.0f}{unit}"


def faults_of(one: dict[str, Any]) -> list[str]:
    """What went wrong with a scenario, and how often."""
    found = []
    for expect in one["expect"]:
        bad = {name: n for name, n in expect["outcomes"].items() if name != "caught"}
        as_what = f" as {', '.join(expect['misnamed_as'])}" if expect["misnamed_as"] else ""
        found += [f"{expect['detector']} {name} {n}x{as_what if name == 'misnamed' else ''}"
                  for name, n in sorted(bad.items())]  # fmt: skip
    found += [f"forbidden {n}x {name}" for name, n in one["forbidden"].items()]
    return found


def summary_lines(found: dict[str, Any]) -> list[str]:
    """The figures over all runs."""
    low, high = found["false_alerts"]["low"], found["false_alerts"]["high"]
    quiet, loud = found["quiet_runs"], found["quiet_runs_of"]
    beyond = f"of low or above {loud['low']}, of medium or above {loud['medium']}"
    lines = [
        f"everything found in time: {found['attack_runs_in_time']} of {found['attack_runs']} runs",
        f"without a forbidden alert: {quiet} of {found['runs']} runs; {beyond}",
        f"false alerts: {_rate(low)}",
        f"of high or critical: {_rate(high)}",
        f"infos that nobody asked for: {found['infos_per_sender_day']:g} per sender-day",
    ]
    if found["alerts_per_incident"] is not None:
        few, all_ = found["incidents_of_at_most_two"]
        lines.append(
            f"alerts per incident: {found['alerts_per_incident']:g}; at most two in {few} of {all_}"
        )
    if found["recall_at_5_a_day"] is not None:
        lines.append(
            f"found among the five worst alerts of a day: {found['recall_at_5_a_day']:.1%}"
        )
    for pair, counts in found["classes"].items():
        if counts["of"]:
            wrong = ", ".join(f"{what} {n}x" for what, n in counts["confused"].items())
            share = counts["right"] / counts["of"]
            lines.append(
                f"{pair}: named rightly {counts['right']} of {counts['of']} ({share:.1%})"
                + (f"; {wrong}" if wrong else "")
            )
    return lines


def _rate(rate: dict[str, Any]) -> str:
    return (
        f"{rate['count']} in {rate['sender_days']:,.0f} benign sender-days, "
        f"{rate['per_sender_day']:.4f} "
        f"per sender-day (95 % upper bound {rate['upper_95']:.4f})"
    )
