"""`callwatch topics repartition`, beside `create` and `check`: it reads records as workers do."""

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click

from detectors.errors import DetectorError
from ingest.cli import bootstrap_option, topics
from ingest.errors import IngestError
from ingest.kafka_config import kafka_keywords


@topics.command()
@bootstrap_option
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    help="Of callwatch.events and callwatch.state from then on; to be given, but for --give-up.",
)
@click.option(
    "--group",
    default="callwatch-worker",
    show_default=True,
    help="Consumer group of the workers.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="For which nobody can publish, at most, until all is told and the workers are stopped.",
)
@click.option(
    "--hold",
    type=click.FloatRange(min=0),
    default=90.0,
    show_default=True,
    metavar="SECONDS",
    help="For which nobody can publish after that; less where all receivers are stopped.",
)
@click.option(
    "--give-up",
    is_flag=True,
    help="Open callwatch.events and delete what was copied; before the switch only.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def repartition(
    *,
    bootstrap_servers: str | None,
    partitions: int | None,
    group: str,
    patience: float,
    hold: float,
    give_up: bool,
    yes: bool,
) -> None:
    """Change the number of partitions: no baseline and no event of a receiver is lost.

    Receivers and workers go on, until it asks to stop the workers, and no alert is told again. Only
    callwatch's own receivers can wait and lose no event: stop other producers before. After an
    interruption the same command goes on.
    """
    if partitions is None and not give_up:
        msg = "--partitions: how many there are to be; none is given"
        raise click.UsageError(msg)
    from detectors.engines.repartition import Repartition
    from detectors.engines.repartition_cluster import RepartitionCluster

    with _one_line():
        keywords = kafka_keywords(bootstrap_servers)
        with closing(RepartitionCluster(keywords)) as cluster:
            work = Repartition(
                cluster, keywords, group, partitions or 1, _say, patience=patience, hold=hold
            )
            for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: it must not stay closed
                signal.signal(number, signal.default_int_handler)
            if give_up:
                click.echo(work.give_up())
                return
            for place, step in enumerate(work.outlook(), 1):
                click.echo(f"{place}. {step}")
            if not yes:
                click.confirm("Do it?", abort=True)
            done = work.run()
    if done.damaged:
        _say(f"passed over: {done.damaged:,} offsets of damaged batches, which workers had told of")
    click.echo(
        f"{partitions} partitions: {done.records:,} records copied in {done.seconds:.0f} s, closed "
        f"for {done.closed_seconds:.0f} s. Start the workers: each rebuilds its partitions' states "
        "from the copy (state.rebuilt), and goes on with what has come since"
    )


def _say(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _one_line() -> Iterator[None]:
    """What goes wrong is told in one line, without the options of a client."""
    try:
        yield
    except (IngestError, DetectorError) as error:
        raise click.ClickException(str(error)) from None


commands: list[click.Command] = [topics]
