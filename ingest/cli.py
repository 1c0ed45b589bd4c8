"""`callwatch topics create|check`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from .errors import TopicError
from .kafka_cluster import KafkaCluster
from .kafka_config import KafkaConfigError, kafka_keywords
from .topics import TOPICS, create, faults, kept

bootstrap_option = click.option(
    "--bootstrap-servers",
    help="Brokers as host:port, separated by commas. Default: what CALLWATCH_KAFKA_* say, else "
    "localhost:9092.",
)


@click.group()
def topics() -> None:
    """Create the topics that callwatch needs, or check those that exist."""


@topics.command("create")
@bootstrap_option
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    default=6,
    show_default=True,
    help="Of the events, state and alerts topics. A later change moves senders.",
)
@click.option(
    "--replication",
    type=click.IntRange(1, 32_767),
    default=1,
    show_default=True,
    help="Copies of every partition; 3 in production.",
)
def create_topics(bootstrap_servers: str | None, partitions: int, replication: int) -> None:
    """Create what is missing. Existing topics are left alone and reported."""
    with _cluster(bootstrap_servers) as cluster:
        created = create(cluster, partitions, replication)
        for name, new in created.items():
            click.echo(f"{name}: {'created' if new else 'exists, left alone'}")
        existing = cluster.existing()
        for fault in filter(None, [kept(existing, created, partitions), *faults(existing)]):
            click.echo(f"warning: {fault}", err=True)


@topics.command("check")
@bootstrap_option
def check_topics(bootstrap_servers: str | None) -> None:
    """Say what is wrong with the topics; the exit code is 1 when something is."""
    with _cluster(bootstrap_servers) as cluster:
        found = faults(cluster.existing())
    if found:
        raise click.ClickException("\n".join(found))
    click.echo(f"{len(TOPICS)} topics are as they should be")


@contextmanager
def _cluster(bootstrap_servers: str | None) -> Iterator[KafkaCluster]:
    try:
        cluster = KafkaCluster(**kafka_keywords(bootstrap_servers))
        try:
            yield cluster
        finally:
            cluster.close()
    except (KafkaConfigError, TopicError) as error:
        raise click.ClickException(str(error)) from None


commands: list[click.Command] = [topics]
