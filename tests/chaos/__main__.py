"""`make chaos`: crashes, stops, rescales and damage change no alert and no row; shown on a Kafka.

Writes out/chaos.json and prints a table; exit code 1 where something differs.
"""

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import click

from detectors.config_file import load_config
from detectors.core import Core
from tests.chaos.brokers import chaos_broker
from tests.chaos.cases import CASES
from tests.chaos.play import Result, play
from tests.chaos.stream import Pace, stream
from tests.integration.pipeline import existing_topics
from tests.kafka.broker import BrokerUnavailableError

OUT = Path("out/chaos.json")


@click.command()
@click.option("--events", type=click.IntRange(min=20_000), default=1_000_000, show_default=True)
@click.option("--cases", default=",".join(CASES), show_default=True, help="Separated by commas.")
@click.option("--times", type=click.IntRange(min=1), default=20, help="Kills, and stops.")
@click.option("--seed", type=int, default=6, show_default=True)
@click.option("--rate", type=click.FloatRange(min=100), default=2_500.0, help="Without bursts.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=OUT)
@click.option("--logs", type=click.Path(path_type=Path, file_okay=False), help="Keep them there.")
def main(
    *, events: int, cases: str, times: int, seed: int, rate: float, out: Path, logs: Path | None
) -> None:
    """Play the cases one after the other; results of cases that are not played are kept."""
    wanted = cases.split(",")
    if unknown := [each for each in wanted if each not in CASES]:
        msg = f"cases: allowed are {', '.join(CASES)} (given: {', '.join(unknown)})"
        raise click.UsageError(msg)
    config = load_config(None)
    Core(config, 0).feed_log([b"{}"], [0], [0])  # compiles: not while a case is measured
    made = stream(events, seed)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        kept = logs or Path(folder)
        try:
            with chaos_broker(Path(folder) / "kafka") as (servers, broker):
                if there := existing_topics(servers):
                    msg = f"{servers} has {', '.join(there)}, which this would delete"
                    raise click.ClickException(msg)
                for case in wanted:
                    if case == "broker" and broker is None:
                        click.echo("broker: left out, this one cannot be restarted from here")
                        continue
                    result = play(
                        case, servers, kept / case, config, made,
                        times=times, seed=seed, pace=Pace(rate), broker=broker,
                    )  # fmt: skip
                    _tell(result)
                    found.append(result)
                    _write(out, found)
        except BrokerUnavailableError as error:
            raise click.ClickException(str(error)) from None
    sys.exit(1 if any(each.differences for each in found) else 0)


def _tell(result: Result) -> None:
    click.echo(
        f"{'DIFFERS' if result.differences else 'same':8} {result.case:8} "
        f"{result.events:>9,} events {result.alerts:>5} alerts {result.repeats:>5} repeated "
        f"{result.seconds:>6.0f} s"
    )
    for name, each in result.measured.items():
        click.echo(
            f"    {name}: median {each['median']:g} s, max {each['max']:g} s of {each['count']}"
        )
    for text in result.notes:
        click.echo(f"    {text}")
    for text in result.differences[:20]:
        click.echo(f"    differs: {text}")
    if len(result.differences) > 20:
        click.echo(f"    and {len(result.differences) - 20} more")


def _write(out: Path, found: list[Result]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(out.read_text("utf-8"))["cases"] if out.exists() else []
    kept = {each["case"]: each for each in before} | {each.case: each.to_json() for each in found}
    machine = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    ordered = [kept[case] for case in CASES if case in kept]
    out.write_text(json.dumps({"machine": machine, "cases": ordered}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
