"""``callwatch detect``: find alerts in files of events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import click

from alerts.alert import Alert, Severity, to_rfc3339
from alerts.explain import format_count, safe
from alerts.pipeline import fold
from detectors.cli_parts import (
    BadLines,
    Progress,
    by_detector,
    json_option,
    now_option,
    until_option,
)
from detectors.config import Config
from detectors.config_file import load_config
from detectors.engines.local import BadLine, LocalResult, run_local
from detectors.errors import DetectorError, StateError
from detectors.options import profiles_option
from detectors.shared import Partitions
from ingest.control import control_key, read_controls
from ingest.errors import IngestError
from ingest.schema import MAX_EVENT_BYTES
from ingest.sources import read_pieces

SHOWN_ALERTS = 50


@click.command()
@click.argument("events", nargs=-1, required=True, metavar="EVENTS...")
@click.option(
    "--alerts",
    "out",
    type=click.Path(dir_okay=False),
    help="Write alerts here, one line per update; - is standard output.",
)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML)."
)
@click.option("--inventory", type=click.Path(path_type=Path), help="Registered senders (TOML).")
@profiles_option
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Go on from this state, and keep it here at the end.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Split senders as Kafka does; not with --state.",
)
@click.option(
    "--control",
    "controls",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Verdicts of analysts (`callwatch verdict --out`), merged at their time.",
)
@now_option
@until_option
@click.option(
    "--follow",
    is_flag=True,
    help="Read - as a log that goes on: alerts at once, in the order of reading.",
)
@json_option
@click.option(
    "--fail-on",
    type=click.Choice([s.value for s in Severity]),
    help="Exit with 3 when an alert is so severe.",
)
def detect(
    events: tuple[str, ...],
    out: str | None,
    config_path: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    state: Path | None,
    partitions: int,
    controls: tuple[Path, ...],
    now: int | None,
    until: int | None,
    follow: bool,
    as_json: bool,
    fail_on: str | None,
) -> None:
    """Find alerts in EVENTS: JSON lines, gzip, Parquet; - is standard input.

    A line that is not valid is counted, the first twenty are named with file and line, and the rest
    goes on.
    """
    if state is not None and partitions > 1:
        msg = "--state keeps one partition (got --partitions " + str(partitions) + ")"
        raise click.UsageError(msg)
    if follow and events != ("-",):
        msg = f"--follow reads standard input: allowed EVENTS is - (got {safe(' '.join(events))})"
        raise click.UsageError(msg)
    if follow and (partitions > 1 or now is not None or until is not None):
        msg = "--follow goes by the time of reading: not with --partitions, --now or --until"
        raise click.UsageError(msg)
    if follow and controls:
        msg = "--control is merged by time, which --follow does not have: write the records to -"
        raise click.UsageError(msg)
    _refuse_overwriting(out, state, [*events, *controls, config_path, inventory, profiles])
    try:
        config = load_config(
            config_path,
            inventory=inventory,
            profiles=profiles,
        )
        config.control_key = control_key()
        said = [one for path in controls for one in read_controls(path, config.control_key)]
        known = restored(config, state) if state and state.exists() else None
        with ExitStack() as stack:
            writer = _Writer(out, stack, quiet=as_json)
            report_bad = BadLines()
            if follow:
                writer.open()
                result = _follow(known or Partitions(config), writer, report_bad)
            else:
                result = run_local(
                    read_pieces(events),
                    config,
                    partitions=partitions,
                    now_us=time.time_ns() // 1000 if now is None else now,
                    until_us=until,
                    state=known,
                    controls=said,
                    on_bad=report_bad,
                    on_progress=Progress() if sys.stderr.isatty() else None,
                )
                writer.open()  # not before: what fails leaves the file of an earlier run alone
                writer.write(result.alerts)
            report_bad.close()
        if state is not None and result.state is not None:
            _replace(state, result.state.snapshot())
    except (DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        msg = f"{error.filename or '-'}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    _finish(result, as_json=as_json)
    worst = max((alert.severity for alert in result.alerts if not alert.shadow), default=None)
    if fail_on is not None and worst is not None and worst >= Severity(fail_on):
        raise SystemExit(3)


commands = [detect]


def _refuse_overwriting(out: str | None, state: Path | None, read: Sequence[object]) -> None:
    """Raise UsageError where an output would destroy an input or the other output."""
    outputs = [("--alerts", out), ("--state", state)]
    for name, written in outputs:
        if written is None or written == "-":
            continue
        others = [each for each in read if each not in (None, "-")]
        if name == "--state" and out not in (None, "-"):
            others.append(out)
        for other in others:
            if _same_file(Path(written), Path(str(other))):
                msg = f"{name} {safe(str(written))}: would overwrite what is read or written too"
                raise click.UsageError(msg)


def _same_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def restored(config: Config, state: Path) -> Partitions:
    """Return the state that a file holds; StateError names the file."""
    try:
        return Partitions.restore(config, state.read_bytes())
    except StateError as error:
        msg = (
            f"{state}: {error}; a state goes on with the --config, --inventory and --profiles "
            "it was made with"
        )
        raise StateError(msg) from None


class _Writer:
    """Writes alerts: JSON lines to a file or standard output, else a line for people each."""

    def __init__(self, out: str | None, stack: ExitStack, *, quiet: bool) -> None:
        self.file: BinaryIO | None = None
        self.people = out is None and not quiet
        self.shown = 0
        self._out = out
        self._stack = stack

    def open(self) -> None:
        """Begin the output; an earlier run's file is overwritten."""
        if self._out == "-":
            self.file = sys.stdout.buffer
        elif self._out is not None:
            path = Path(self._out)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self._stack.enter_context(path.open("wb"))

    def write(self, alerts: list[Alert]) -> None:
        if self.file is not None:
            self.file.writelines(alert.to_json() + b"\n" for alert in alerts)
            self.file.flush()
        if self.people:
            for alert in alerts:
                if alert.status == "open" or (
                    alert.status == "updated" and self.shown < SHOWN_ALERTS
                ):
                    click.echo(one_line(alert))
                    self.shown += 1


def one_line(alert: Alert) -> str:
    """Return an alert as a line for people; nothing in it can move a terminal's cursor."""
    at = to_rfc3339(alert.updated_at)[:19]
    head = f"{at} {alert.severity.value:8} {alert.status.value:7} {alert.detector} {alert.reason}"
    head += " (shadow)" if alert.shadow else ""
    return f"{head}: {safe(alert.summary, 300)}"


def _finish(result: LocalResult, *, as_json: bool) -> None:
    latest = list(fold(result.alerts).values())
    rejected = {
        name.removeprefix("rejected."): n
        for name, n in sorted(result.counts.items())
        if name.startswith("rejected.")
    }
    held = {
        name.removeprefix("suppressed."): n
        for name, n in sorted(result.counts.items())
        if name.startswith("suppressed.")
    }
    if as_json:
        record = {
            "read": result.read,
            "accepted": result.accepted,
            "duplicates": result.counts.get("duplicates", 0),
            "reports": result.counts.get("reports", 0),
            "controls": result.counts.get("controls", 0),
            "newer_schema": result.counts.get("newer_schema", 0),
            "rejected": rejected,
            "alerts": by_detector(alert for alert in latest if not alert.shadow),
            "shadow": by_detector(alert for alert in latest if alert.shadow),
            "suppressed": held,
            "warnings": [safe(text, 300) for text in result.warnings],
            "seconds": round(result.seconds, 3),
        }
        click.echo(json.dumps(record))
        return
    for text in result.warnings:
        click.echo(f"warning: {safe(text, 300)}", err=True)
    told = sum(not alert.shadow for alert in latest)
    bad = f", {sum(rejected.values()):,} rejected" if rejected else ""
    again = result.counts.get("duplicates", 0)
    repeated = f", {again:,} published twice" if again else ""
    if reports := result.counts.get("reports", 0):
        repeated += f", {reports:,} receivers' reports"
    if newer := result.counts.get("newer_schema", 0):
        repeated += f", {newer:,} of a newer schema"
    apart = f", {len(latest) - told:,} in shadow mode" if told < len(latest) else ""
    apart += f", {sum(held.values()):,} states held back" if held else ""
    click.echo(
        f"{result.read:,} read, {result.accepted:,} scored{bad}{repeated}, "
        f"{format_count(told, 'incident')}{apart} in {result.seconds:.1f} s",
        err=True,
    )


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(data)
    draft.replace(path)


def _follow(state: Partitions, writer: _Writer, bad: BadLines) -> LocalResult:
    """Read standard input as a log: the broker's time is the time of reading."""
    expired = state.config.expired(time.time_ns() // 1000)
    result = LocalResult(state=state, warnings=expired)
    started = time.perf_counter()
    latest: dict[str, Alert] = {}
    try:
        for numbers, values in _line_groups(sys.stdin.buffer):
            times = [time.time_ns() // 1000] * len(values)
            outcome = state.feed_log(0, values, numbers, times)
            for fault in outcome.rejected:
                bad(BadLine(f"-:{fault.offset}", fault.code, fault.message))
            alerts = state.correlator.take(outcome.alerts)
            latest.update((alert.id, alert) for alert in alerts)
            result.read += len(values)
            writer.write(alerts)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    result.alerts = list(latest.values())
    result.counts = dict(state.cores[0].counters)
    result.seconds = time.perf_counter() - started
    return result


def _line_groups(stream: Any) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield lines with their numbers, as they come; blank ones are left out, endless ones cut."""
    rest, line = b"", 1
    while data := stream.read1(1 << 20):
        *whole, rest = (rest + data).split(b"\n")
        rest = rest[: MAX_EVENT_BYTES + 1]
        numbers = [line + i for i, value in enumerate(whole) if value.strip()]
        if numbers:
            yield numbers, [value.rstrip(b"\r") for value in whole if value.strip()]
        line += len(whole)
    if rest.strip():
        yield [line], [rest]
