"""`callwatch demo`: a labelled simulated day through the real pipeline."""

import json
from pathlib import Path
from typing import Final

import click

_OUT: Final = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=7,
    show_default=True,
    help="Another seed is another simulated fleet's fortnight.",
)
@click.option("--out", type=_OUT, default=Path("out"), show_default=True, help="Where files go.")
@click.option(
    "--days",
    type=click.IntRange(3, 60),
    default=15,
    show_default=True,
    help="Days of benign history before the labelled day; below 15 baselines are colder.",
)
@click.option("--no-report", is_flag=True, help="Leave out report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def demo(seed: int, out: Path, days: int, no_report: bool, as_json: bool) -> None:
    """Simulate a fleet's day with attacks and traps, detect, and judge the alerts.

    Writes the events, alerts.jsonl, labels.json and report.html to OUT.
    """
    # Imported here: pandas and matplotlib are slow to load, and other commands do without them.
    from rich.console import Console

    from detectors.benchmark.demo import run_demo
    from detectors.benchmark.demo_view import OnTerminal, Plain, Silent, View, verdict_lines
    from detectors.benchmark.errors import BenchmarkError
    from detectors.errors import DetectorError

    console = Console()
    view: View = Silent()
    if not as_json:
        view = OnTerminal(console) if console.is_terminal else Plain(console)
    try:
        run = run_demo(out, seed=seed, history_days=days, with_report=not no_report, view=view)
    except KeyboardInterrupt:
        click.echo(f"interrupted: nothing new was written to {out}", err=True)
        raise SystemExit(130) from None
    except (BenchmarkError, DetectorError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(run.record(), default=str))
        return
    for line in verdict_lines(run.score):
        console.print(line, soft_wrap=True, highlight=False)
    took = ", ".join(f"{name} {value:.1f} s" for name, value in run.seconds.items())
    console.print(f"{took}; see {out}/", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"again: callwatch detect {out}/history.jsonl.gz {out}/day.jsonl "
        f"--inventory {out}/inventory.toml",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


commands: list[click.Command] = [demo]
