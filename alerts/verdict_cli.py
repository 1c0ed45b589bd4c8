"""`callwatch verdict`: what an analyst says of an alert, as a control record."""

import getpass
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import click
from pydantic import ValidationError

from alerts.alert import Alert, to_rfc3339
from alerts.cli_time import Time
from alerts.errors import AlertError, RouteError
from alerts.explain import safe
from alerts.pipeline import fold
from ingest.control import (
    KEY_VARIABLE,
    VerdictControl,
    control_key,
    control_record,
    dump_control,
    parse_control,
)
from ingest.errors import ControlError, IngestError
from ingest.kafka_cluster import BROKER_TIMEOUT_MS, insist_on
from ingest.kafka_config import KafkaConfig, kafka_config
from ingest.kafka_fault import fault_line
from ingest.partition import partition_for

ALERTS: Final = "callwatch.alerts"
EVENTS: Final = "callwatch.events"
WAIT_MS: Final = 10_000
_CONSUMER: Final[dict[str, Any]] = {"bootstrap_timeout_ms": BROKER_TIMEOUT_MS}
_PRODUCER: Final[dict[str, Any]] = {**_CONSUMER, "acks": "all", "max_block_ms": WAIT_MS}


@click.command()
@click.argument("alert_id", metavar="ALERT_ID")
@click.argument("said", metavar="benign|attack", type=click.Choice(["benign", "attack"]))
@click.option("--reason", required=True, help="Why, for people; it stands in later alerts.")
@click.option("--expires", required=True, type=Time(), help="Event time until which it holds.")
@click.option("--source", help="Only findings from this network (CIDR).")
@click.option("--by", help="Who says it; default: the user's name.")
@click.option(
    "--alerts",
    "alerts_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Look for the alert in this file instead of callwatch.alerts.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append the record to this file, for `detect --control`, instead of callwatch.events.",
)
@click.option(
    "--at",
    type=Time(),
    help="When it is said; default: now, and with --out the time of the alert's last state.",
)
@click.option("--bootstrap-servers", metavar="HOST:PORT,...", help="Kafka.")
def verdict(
    alert_id: str,
    said: Literal["benign", "attack"],
    reason: str,
    expires: int,
    source: str | None,
    by: str | None,
    alerts_file: Path | None,
    out: Path | None,
    at: int | None,
    bootstrap_servers: str | None,
) -> None:
    """Say that an alert is benign, or an attack, with a reason and an end.

    benign closes the incident and holds the same finding of that sender back until the end, unless
    it is graver; attack keeps the incident open, and nothing of it is learned. The record is
    signed under CALLWATCH_CONTROL_KEY, which Kafka needs and a file does not; it takes effect
    where workers hold the same key.
    """
    try:
        key = control_key()
        if key is None and out is None:
            msg = f"{KEY_VARIABLE}: is missing; workers believe signed records only"
            raise ControlError(msg)
        kafka = None if alerts_file and out else kafka_config(bootstrap_servers)
        alert = _find(alert_id, alerts_file, kafka)
        if at is None:
            at = time.time_ns() // 1000 if out is None else alert.updated_at
        control = _verdict(alert, said, reason, expires, source, by, at)
        value = dump_control(control, key)
        parse_control(value, key, unsigned=True)
        if out is not None:
            with out.open("ab") as file:
                file.write(value + b"\n")
            where = safe(str(out), 200)
        else:
            assert kafka is not None
            where = _publish(kafka, control, value)
    except (AlertError, RouteError, IngestError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        msg = f"{out}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    name = f"{alert.detector} {alert.reason} of {safe(alert.sender or '-')}"
    until = to_rfc3339(expires)[:16]
    click.echo(f"{name}: {said} until {until}Z, written to {where}{_takes_effect(out)}", err=True)


commands: list[click.Command] = [verdict]


def _takes_effect(out: Path | None) -> str:
    """Say what else is needed: nobody answers here, and a worker may have no key or another."""
    if out is not None:
        return ""
    return f"; it takes effect where workers hold the same {KEY_VARIABLE} (`controls=taken`)"


def _verdict(
    alert: Alert,
    said: Literal["benign", "attack"],
    reason: str,
    expires: int,
    source: str | None,
    by: str | None,
    at: int,
) -> VerdictControl:
    if alert.sender is None:
        msg = (
            f"alert {alert.id}: is about no single sender, so no verdict reaches it; "
            f"[[allow]] with a source in the configuration does"
        )
        raise ControlError(msg)
    try:
        return VerdictControl(
            id=str(uuid4()),
            at=_time(at),
            by=by or _user(),
            sender=alert.sender,
            reason=reason,
            expires=_time(expires),
            alert=alert.id,
            verdict=said,
            detector=alert.detector,
            finding=alert.reason,
            severity=alert.severity.value,
            source=None if source is None else str(ip_network(source)),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        text = fault["msg"].removeprefix("Value error, ")
        msg = f"{place}: {text}" if place else text
        raise ControlError(safe(msg, 300)) from None
    except ValueError:
        msg = f"--source: allowed is a network in CIDR form; given {safe(str(source))}"
        raise ControlError(msg) from None


def _time(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


def _user() -> str | None:
    try:
        return safe(getpass.getuser()) or None
    except (OSError, KeyError):  # no such user, as in a container
        return None


def _find(alert_id: str, path: Path | None, kafka: KafkaConfig | None) -> Alert:
    """Return the latest state of an alert; AlertError where there is none."""
    if path is not None:
        where, values = safe(str(path), 200), _lines(path)
    else:
        assert kafka is not None
        where, values = ALERTS, _records(kafka)
    found = []
    for value in values:
        if alert_id.encode() in value:
            try:
                found.append(Alert.from_json(value))
            except AlertError:
                continue
    alert = fold(found).get(alert_id)
    if alert is None:
        msg = f"alert {safe(alert_id)}: is not in {where}"
        raise AlertError(msg)
    return alert


def _lines(path: Path) -> Iterable[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        msg = f"{safe(str(path), 200)}: cannot be read: {(error.strerror or str(error)).lower()}"
        raise AlertError(msg) from None


def _records(kafka: KafkaConfig) -> Iterable[bytes]:
    """Yield what the alerts topic holds at this moment."""
    from kafka import KafkaConsumer, TopicPartition

    with (
        _kafka_faults(kafka),
        closing(
            KafkaConsumer(**kafka.keywords(), bootstrap_timeout_ms=BROKER_TIMEOUT_MS)
        ) as consumer,
    ):
        if not (numbers := consumer.partitions_for_topic(ALERTS)):
            insist_on(ALERTS, **kafka.keywords())
        parts = [TopicPartition(ALERTS, number) for number in numbers or ()]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        while any((consumer.position(part) or 0) < ends[part] for part in parts):
            batches = consumer.poll(timeout_ms=WAIT_MS)
            if not batches:
                break
            for batch in batches.values():
                yield from (record.value for record in batch if record.value is not None)


def _publish(kafka: KafkaConfig, control: VerdictControl, value: bytes) -> str:
    """Write the record into its sender's partition; it is there when this returns."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaTimeoutError

    record = control_record(control, value)
    with (
        _kafka_faults(kafka),
        closing(KafkaProducer(**kafka.keywords(), **_PRODUCER)) as producer,
    ):
        try:
            count = len(producer.partitions_for(EVENTS))
        except KafkaTimeoutError:
            insist_on(EVENTS, **kafka.keywords())
            raise
        partition = partition_for(record.key or b"", count)
        sent = producer.send(
            EVENTS, value, key=record.key, headers=record.headers, partition=partition
        )
        done: Any = sent
        done.get(timeout=WAIT_MS / 1000)
    return f"{EVENTS}[{partition}]"


@contextmanager
def _kafka_faults(kafka: KafkaConfig) -> Iterator[None]:
    from kafka.errors import KafkaError

    logging.getLogger("kafka").addHandler(logging.NullHandler())
    try:
        yield
    except (KafkaError, ValueError) as error:
        raise RouteError(fault_line(error, kafka.bootstrap_servers, kafka.keywords())) from None
