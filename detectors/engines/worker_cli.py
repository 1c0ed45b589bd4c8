"""`callwatch worker`: detect on Kafka until told to stop."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from detectors.config import Config
from detectors.config_file import load_config
from detectors.engines.cores import ConfiguredCores, ConfiguredSources
from detectors.engines.errors import EngineError
from detectors.engines.hooks import check_hooks
from detectors.engines.journal import note
from detectors.engines.state_cache import StateCache
from detectors.engines.throttle import Throttle
from detectors.errors import DetectorError
from detectors.options import profiles_option
from ingest.control import control_key
from ingest.errors import IngestError
from ingest.kafka_config import KafkaConfig, kafka_config
from ingest.topics import KafkaCluster, before, faults

NEEDED: Final = (
    "callwatch.events",
    "callwatch.events.rejected",
    "callwatch.sources",
    "callwatch.alerts",
    "callwatch.state",
)
LAST_SECONDS: Final = 1.0
"""For what is still under way when the worker has stopped."""


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
    verbose: bool,
) -> None:
    """Read callwatch.events, write callwatch.alerts; start as many as there are partitions.

    State is kept in callwatch.state. SIGTERM or Ctrl-C: save it, leave the group, exit code 0.
    """
    set_up_logging(verbose=verbose)
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # that of a worker that was killed
    try:
        check_hooks()
        kafka = kafka_config(bootstrap_servers)
        if kafka.tokens is not None:
            msg = "CALLWATCH_KAFKA_SASL_MECHANISM: allowed for a worker are PLAIN and SCRAM"
            raise EngineError(msg)
        config = load_config(config_file, inventory=inventory, profiles=profiles)
        config.control_key = control_key()
        cache = None if cache_dir is None else StateCache(cache_dir)
        counts = check_topics(kafka, partitions)
    except (IngestError, DetectorError) as error:
        raise click.ClickException(str(error)) from None
    for text in config.expired(time.time_ns() // 1000):
        note("worker.rule_expired", level=logging.WARNING, text=text)
    run_to_the_end(_work(kafka, config, counts, group, checkpoint_every, ready_file, cache))


def check_topics(kafka: KafkaConfig, partitions: int | None) -> dict[str, int]:
    """The partitions of the worker's topics.

    Raises `EngineError` or `TopicError` unless they are as they must be.
    """
    with _told_by_us():
        cluster = KafkaCluster(**kafka.keywords())
        try:
            existing = cluster.existing()
        finally:
            cluster.close()
    if wrong := [fault for fault in faults(existing) if fault.split(":")[0] in NEEDED]:
        raise EngineError("; ".join(wrong))
    given = existing["callwatch.events"].partitions
    if partitions is not None and partitions != given:
        msg = f"callwatch.events: partitions must be {partitions} by --partitions (got {given})"
        raise EngineError(msg)
    return {name: there.partitions for name, there in existing.items()}


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


async def _work(
    kafka: KafkaConfig,
    config: Config,
    counts: dict[str, int],
    group: str,
    every: float,
    ready_file: Path | None,
    cache: StateCache | None,
) -> int:
    from detectors.engines.faust_app import run_worker
    from detectors.engines.faust_settings import WorkerSettings
    from detectors.engines.prepare import prepare

    cores = ConfiguredCores(config, counts["callwatch.events"])
    shared = ConfiguredSources(config, counts["callwatch.events"])
    prepare(config, cores, shared)
    old = before(counts["callwatch.events"])
    settings = WorkerSettings(
        kafka,
        cores,
        shared,
        counts["callwatch.sources"],
        group=group,
        save_seconds=every,
        ready_file=ready_file,
        cache=cache,
        before=old if old in counts else None,
    )
    return await run_worker(settings)


def set_up_logging(*, verbose: bool) -> None:
    """Log lines go to standard error; of libraries only what is wrong."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Throttle())
    logging.getLogger("callwatch").setLevel(level)
    if verbose:
        logging.getLogger("faust").setLevel(logging.INFO)


def run_to_the_end(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run it, and end the process with its exit code, whatever of the Kafka clients hangs.

    While no broker answers, tasks of aiokafka swallow that they are cancelled, and threads of its
    wait for an answer: `asyncio.run` would wait for both, for ever.
    """
    runner = asyncio.Runner()
    threads = ThreadPoolExecutor(thread_name_prefix="callwatch-lookup")  # names of brokers
    runner.get_loop().set_default_executor(threads)
    try:
        code = runner.run(work)
    except BaseException:
        if _winds_up(runner, threads):
            raise
        traceback.print_exc()
        code = 1
    else:
        if _winds_up(runner, threads):
            sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _winds_up(runner: asyncio.Runner, threads: ThreadPoolExecutor) -> bool:
    """Whether all tasks and threads that are left end soon when told to; then it is over."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it is stopping already
    loop = runner.get_loop()
    if tasks := asyncio.all_tasks(loop):
        for each in tasks:
            each.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_SECONDS))
    threads.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + LAST_SECONDS
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    waited_for = [each for each in others if not each.daemon]
    for one in waited_for:
        one.join(max(deadline - time.monotonic(), 0.0))
    if asyncio.all_tasks(loop) or any(each.is_alive() for each in waited_for):
        return False
    runner.close()
    return True


commands: list[click.Command] = [worker]
