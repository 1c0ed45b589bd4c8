"""`callwatch worker`: detect on Kafka until told to stop."""

import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from alerts.explain import safe
from detectors.config_file import load_config
from detectors.engines.cores import ConfiguredCores, ConfiguredSources
from detectors.engines.ending import ended_by_signals, run_to_the_end
from detectors.engines.endpoint import Address, Endpoint
from detectors.engines.errors import EngineError
from detectors.engines.hooks import check_hooks
from detectors.engines.journal import note
from detectors.engines.state_cache import StateCache
from detectors.engines.throttle import Throttle
from detectors.errors import DetectorError
from detectors.options import profiles_option
from ingest.control import control_key
from ingest.errors import IngestError
from ingest.kafka_cluster import KafkaCluster
from ingest.kafka_config import KafkaConfig, kafka_config
from ingest.topics import REPARTITION, before, faults

if TYPE_CHECKING:
    from detectors.engines.faust_settings import WorkerSettings

NEEDED: Final = {
    "callwatch.events": ("READ",),
    "callwatch.events.rejected": ("WRITE",),
    "callwatch.sources": ("READ", "WRITE"),
    "callwatch.alerts": ("WRITE",),
    "callwatch.state": ("READ", "WRITE"),
}
"""The worker's topics, and what it does there."""
STATEFUL: Final = {"callwatch.events", "callwatch.sources", "callwatch.state"}
"""Those whose number of partitions the states depend on."""


@click.command()
@click.option(
    "--bootstrap-servers",
    help="Brokers as host:port, separated by commas; else CALLWATCH_KAFKA_BOOTSTRAP_SERVERS.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Detectors' parameters, TOML; the defaults without.",
)
@click.option(
    "--inventory",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What is registered and planned, TOML.",
)
@profiles_option
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    help="Refuse to start unless the events have so many partitions.",
)
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0.1, max=3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How much is walked again after a crash.",
)
@click.option("--group", default="callwatch-worker", show_default=True, help="Consumer group.")
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Is there while this worker has restored its share of the partitions, for probes.",
)
@click.option(
    "--cache-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep checkpoints in this folder too, of this worker alone, to read less at a restart.",
)
@click.option(
    "--metrics",
    type=Address(),
    metavar="HOST:PORT",
    help="Serve /metrics, /healthz and /readyz there; without a host: on 127.0.0.1.",
)
@click.option("--verbose", is_flag=True, help="Tracebacks, and what the Kafka libraries say.")
def worker(
    *,
    bootstrap_servers: str | None,
    config_file: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    partitions: int | None,
    checkpoint_every: float,
    group: str,
    ready_file: Path | None,
    cache_dir: Path | None,
    metrics: tuple[str, int] | None,
    verbose: bool,
) -> None:
    """Read callwatch.events, write callwatch.alerts; start as many as there are partitions.

    State is kept in callwatch.state. SIGTERM or Ctrl-C: save it, leave the group, exit code 0.
    """
    set_up_logging(verbose=verbose)
    with ended_by_signals():
        settings = _settings(
            bootstrap_servers, config_file, inventory, profiles, partitions,
            checkpoint_every, group, ready_file, cache_dir, metrics,
        )  # fmt: skip
    run_to_the_end(_work(settings))


class _WrongUsage(click.ClickException):
    """What is given is wrong: another start mends nothing, and a supervisor can tell."""

    exit_code = 2


def _settings(
    bootstrap_servers: str | None,
    config_file: Path | None,
    inventory: Path | None,
    profiles: Path | None,
    partitions: int | None,
    checkpoint_every: float,
    group: str,
    ready_file: Path | None,
    cache_dir: Path | None,
    metrics: tuple[str, int] | None,
) -> "WorkerSettings":
    """Look at all that is given, and compile: what may fail fails before the worker joins."""
    try:
        if ready_file is not None:
            make_ready(ready_file)
        check_hooks()
        kafka = kafka_config(bootstrap_servers)
        if kafka.tokens is not None:
            msg = "CALLWATCH_KAFKA_SASL_MECHANISM: allowed for a worker are PLAIN and SCRAM"
            raise EngineError(msg)
        config = load_config(config_file, inventory=inventory, profiles=profiles)
        config.control_key = control_key()
    except (IngestError, DetectorError) as error:
        raise _WrongUsage(str(error)) from None
    try:
        cache = None if cache_dir is None else StateCache(cache_dir)
        endpoint = None if metrics is None else Endpoint(*metrics)
        counts = check_topics(kafka, partitions, group)
    except (IngestError, DetectorError) as error:
        raise click.ClickException(str(error)) from None
    for text in config.expired(time.time_ns() // 1000):
        note("worker.rule_expired", level=logging.WARNING, text=text)
    from detectors.engines.faust_settings import WorkerSettings
    from detectors.engines.prepare import prepare

    cores = ConfiguredCores(config, counts["callwatch.events"])
    shared = ConfiguredSources(config, counts["callwatch.events"])
    prepare(config, cores, shared)
    old = before(counts["callwatch.events"])
    return WorkerSettings(
        kafka,
        cores,
        shared,
        counts["callwatch.sources"],
        group=group,
        save_seconds=checkpoint_every,
        ready_file=ready_file,
        cache=cache,
        partitions={name: counts[name] if name in STATEFUL else None for name in NEEDED},
        endpoint=endpoint,
        before=old if old in counts else None,
        takes_controls=config.control_key is not None,
    )


def make_ready(file: Path) -> None:
    """Remove the file of a worker that was killed, and see that a new one can be made.

    Raises `EngineError`: found out when the partitions are restored it would end the worker then.
    """
    try:
        file.unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        msg = (
            f"--ready-file {safe(str(file), 200)}: allowed is a path in a folder that is there and "
            f"can be written ({error.strerror or error})"
        )
        raise EngineError(msg) from None


def check_topics(kafka: KafkaConfig, partitions: int | None, group: str) -> dict[str, int]:
    """The partitions of the worker's topics.

    Raises `EngineError` or `TopicError` unless they are as they must be, and may be used.
    """
    names = list(NEEDED)
    older: dict[str, int] = {}
    with _told_by_us():
        cluster = KafkaCluster(**kafka.keywords())
        try:
            existing = cluster.existing([*names, REPARTITION])
            # While it only copies, workers go on: then nothing is wrong with their own topics.
            found = faults(existing, names)
            wrong = [fault for fault in found if not fault.startswith(REPARTITION)]
            if not wrong:
                cluster.insist(NEEDED, group)
                older = cluster.partitions([before(existing["callwatch.events"].partitions)])
        finally:
            cluster.close()
    if wrong:
        msg = f"kafka {','.join(kafka.bootstrap_servers)}: {'; '.join(wrong)}"
        raise EngineError(msg)
    given = existing["callwatch.events"].partitions
    if partitions is not None and partitions != given:
        msg = f"callwatch.events: partitions must be {partitions} by --partitions (got {given})"
        raise EngineError(msg)
    return {name: existing[name].partitions for name in names} | older


@contextmanager
def _told_by_us() -> Iterator[None]:
    """What fails meanwhile is told in one line of ours: the library's own are for --verbose."""
    library, own = logging.getLogger("kafka"), logging.getLogger("callwatch")
    before = library.level
    if not own.isEnabledFor(logging.DEBUG):
        library.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        library.setLevel(before)


async def _work(settings: "WorkerSettings") -> int:
    from detectors.engines.faust_app import run_worker

    return await run_worker(settings)


def set_up_logging(*, verbose: bool) -> None:
    """Log lines go to standard error; of libraries only what is wrong."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Throttle(tracebacks=verbose))
    logging.getLogger("callwatch").setLevel(level)
    if verbose:
        logging.getLogger("faust").setLevel(logging.INFO)


commands: list[click.Command] = [worker]
