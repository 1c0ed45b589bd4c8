"""`callwatch evaluate`: scenarios through the detectors, judged."""

import json
from pathlib import Path
from typing import Final

import click

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_ANY: Final = click.Path(path_type=Path)
BUILT_IN: Final = Path(__file__).resolve().parents[2] / "tests" / "scenarios"


@click.command()
@click.argument("scenarios", nargs=-1, type=_ANY)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Runs of each scenario; another seed is another fortnight, time and sender.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0, 2**31),
    default=1,
    show_default=True,
    help="The seeds are this one and those that follow.",
)
@click.option("--config", type=_FILE, help="Detectors' settings to evaluate.")
@click.option("--inventory", type=_FILE, help="Instead of the simulated fleet's own.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=2,
    show_default=True,
    help="Processes; the result is the same for any number.",
)
@click.option(
    "--budgets", type=_FILE, help="End with 3 where a scenario is worse than this file allows."
)
@click.option("--lower", is_flag=True, help="Write what has become better into --budgets.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def evaluate(
    scenarios: tuple[Path, ...],
    seeds: int,
    first_seed: int,
    config: Path | None,
    inventory: Path | None,
    jobs: int,
    budgets: Path | None,
    lower: bool,
    as_json: bool,
) -> int:
    """Play scenarios through the detectors and say what was found, missed and made up.

    SCENARIOS are TOML files, or folders of them; without any, those of the repository.
    """
    from detectors.benchmark import budgets as kept
    from detectors.benchmark import evaluate as bench
    from detectors.benchmark.errors import BenchmarkError
    from detectors.benchmark.evaluate_view import lines_of
    from detectors.benchmark.scenario_file import load_scenarios
    from detectors.errors import DetectorError
    from ingest.errors import IngestError

    if lower and (budgets is None or (seeds, first_seed) != (kept.SEEDS, 1)):
        msg = f"--lower needs --budgets, and --seeds {kept.SEEDS} from --first-seed 1"
        raise click.UsageError(msg)
    if not scenarios and not BUILT_IN.is_dir():
        msg = "no scenarios: callwatch is not run from its repository; name files or folders"
        raise click.UsageError(msg)
    so_far = None
    try:
        loaded = load_scenarios(scenarios or (BUILT_IN,))
        allowed = kept.load_budgets(budgets) if budgets is not None else {}
        numbers = range(first_seed, first_seed + seeds)
        for so_far in bench.evaluate(
            loaded, numbers, config=config, inventory=inventory, jobs=jobs
        ):
            click.echo(f"{so_far.done} of {so_far.of} parts played", err=True)
    except (BenchmarkError, DetectorError, IngestError) as error:
        raise click.ClickException(str(error)) from error
    assert so_far is not None
    result = so_far.result
    if as_json:
        click.echo(json.dumps(bench.record(result)))
    else:
        for line in lines_of(result):
            click.echo(line)
    if budgets is None:
        return 0
    if lower:
        budgets.write_text(kept.lowered(result, allowed), "utf-8")
        allowed = kept.load_budgets(budgets)
    over = kept.overspent(result, allowed)
    for line in over:
        click.echo(f"over budget: {line}", err=True)
    return 3 if over else 0


commands: list[click.Command] = [evaluate]
