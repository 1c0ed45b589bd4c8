"""`callwatch route`: alerts from Kafka to a file or to standard output."""

import logging
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from alerts.alert import Alert, Severity
from alerts.contact import Contact
from alerts.delivery import Deliverer
from alerts.errors import AlertsError, RouteError
from alerts.explain import safe
from alerts.formats import format_names, load_format
from alerts.ready_file import kept_new
from alerts.router import RouteOptions, run
from alerts.sinks import Sink, SinkClosedError
from alerts.sinks.file import FileSink
from alerts.sinks.stdout import StdoutSink
from ingest.errors import IngestError
from ingest.kafka_cluster import insist_on
from ingest.kafka_config import DEFAULT_SERVERS, KafkaConfig, kafka_config
from ingest.kafka_fault import fault_line
from ingest.kafka_transport import reachable

TOPIC = "callwatch.alerts"
GROUP = "callwatch-router"
CONNECT_MS = 5_000


@click.command()
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT,...",
    help=f"Kafka; default CALLWATCH_KAFKA_BOOTSTRAP_SERVERS, else {DEFAULT_SERVERS}.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Append one line per update here; its folder is there.",
)
@click.option("--stdout", is_flag=True, help="Write one line per update to standard output.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(format_names()),
    default="native",
    show_default=True,
)
@click.option(
    "--min-severity",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.INFO.value,
    show_default=True,
    help="Pass over alerts below; a later update that rises above is sent.",
)
@click.option("--fsync", is_flag=True, help="Have each batch on the disk before it is committed.")
@click.option("--from-beginning", is_flag=True, help="Send all that the topic holds again.")
@click.option("--shadow", is_flag=True, help="Send what shadow mode found, too.")
@click.option(
    "--until-idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End when nothing came for so long; default: run until stopped.",
)
@click.option("--group", default=GROUP, show_default=True, help="Each group gets every alert once.")
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Is there while this router runs, and touched in every round, for probes.",
)
def route(
    bootstrap_servers: str | None,
    out: Path | None,
    stdout: bool,
    format_name: str,
    min_severity: str,
    fsync: bool,
    from_beginning: bool,
    shadow: bool,
    until_idle: float | None,
    group: str,
    ready_file: Path | None,
) -> None:
    """Bring alerts from callwatch.alerts to a file or to standard output.

    Positions are committed after an alert was delivered: after a crash some come twice, none is
    lost. SIGTERM and Ctrl-C finish the batch in hand.
    """
    if out is None and not stdout:
        msg = "say where alerts go: --out FILE, --stdout, or both"
        raise click.UsageError(msg)
    encode = load_format(format_name)
    options = RouteOptions(Severity(min_severity), until_idle, from_beginning, shadow)
    try:
        with ExitStack() as stack:
            sinks: list[Sink] = [FileSink(out, encode, fsync=fsync)] if out else []
            sinks += [StdoutSink(encode)] if stdout else []
            for sink in sinks:
                stack.callback(sink.close)
            stop = stack.enter_context(_stop_on_signals())
            touch = stack.enter_context(kept_new(ready_file))
            _route(kafka_config(bootstrap_servers), group, sinks, options, stop, touch)
    except (AlertsError, IngestError) as error:
        raise click.ClickException(str(error)) from None


def _route(
    config: KafkaConfig,
    group: str,
    sinks: list[Sink],
    options: RouteOptions,
    stop: "_Stop",
    touch: Callable[[], None],
) -> None:
    from kafka.errors import CommitFailedError, KafkaError, KafkaTimeoutError

    servers, keywords = config.bootstrap_servers, config.keywords()
    contact = Contact(
        lambda: reachable(servers, keywords),
        lambda: fault_line(KafkaTimeoutError(), servers, keywords),
        _say,
        time.monotonic,
    )

    def alive(came: bool) -> None:
        if contact.holds(came=came):
            touch()

    deliverers = [Deliverer(sink, wait=stop.wait, on_rejected=_rejected) for sink in sinks]
    try:
        with _connected(config, group) as consumer:
            counts = run(
                consumer,
                deliverers,
                options,
                stopping=stop,
                clock=time.monotonic,
                report=_say,
                alive=alive,
                commit_errors=(CommitFailedError,),
            )
    except SinkClosedError:
        return  # the reader of a pipe has seen enough: no error, and nobody to tell
    except KafkaError as error:
        line = fault_line(error, servers, keywords, group)
        raise RouteError(line) from None
    _say(_summary(counts, deliverers))


@contextmanager
def _connected(config: KafkaConfig, group: str) -> Iterator[Any]:
    """A consumer of the alerts topic; raises `RouteError` within a few seconds if there is none.

    It leaves its group at the end, without committing anything on the way out.
    """
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    # kafka-python logs each failed attempt; the one line that is raised here says it all.
    logging.getLogger("kafka").addHandler(logging.NullHandler())
    try:
        consumer = KafkaConsumer(
            **config.keywords(),
            client_id="callwatch-router",
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # a new group must not miss what came before its start
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=CONNECT_MS,
        )
    except (KafkaError, OSError, ValueError) as error:
        line = fault_line(error, config.bootstrap_servers, config.keywords())
        raise RouteError(line) from None
    try:
        if not consumer.partitions_for_topic(TOPIC):
            insist_on(TOPIC, **config.keywords())
        consumer.subscribe(topics=[TOPIC])
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=CONNECT_MS)


class _Stop:
    """A flag for signal handlers. No threading.Event: setting one while the interrupted main thread
    is inside its `wait` can hang for ever.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def wait(self, seconds: float) -> bool:
        """Wait, in slices, until the time is over or a stop was asked for; says which."""
        end = time.monotonic() + seconds
        while not self.asked and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return self.asked


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """A flag that SIGTERM or Ctrl-C sets; a second signal acts as it always does."""
    stop = _Stop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def asked(_number: int, _frame: object) -> None:
        stop.asked = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in numbers:
        signal.signal(number, asked)
    try:
        yield stop
    finally:
        restore()


def _rejected(alert: Alert, why: str) -> None:
    _say(f"alert {alert.id} refused: {safe(why, 200)}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _summary(counts: Counter[str], deliverers: list[Deliverer]) -> str:
    read = f"{counts['consumed']} read, {counts['invalid']} invalid, {counts['below']} below"
    read += f", {counts['folded']} folded into others" if counts["folded"] else ""
    read += f", {counts['shadow']} in shadow mode" if counts["shadow"] else ""
    sent = [
        f"{one.sink.name}: {one.counters['delivered']} delivered, "
        f"{one.counters['rejected']} refused, {one.counters['retried']} retries"
        for one in deliverers
    ]
    return "; ".join([f"route: {read}", *sent])


commands: list[click.Command] = [route]
