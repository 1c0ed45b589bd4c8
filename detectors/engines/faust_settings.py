"""How a worker is set up, and the Faust application that follows from it."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import faust

from detectors.engines.endpoint import Endpoint
from detectors.engines.faust_transport import SCHEME, Fetching
from detectors.engines.ports import Cores, Topics
from detectors.engines.state_cache import StateCache
from detectors.engines.watchdog import STALL_SECONDS
from ingest.kafka_config import KafkaConfig

GROUP: Final = "callwatch-worker"
SESSION_SECONDS: Final = 10.0
"""After so long a worker that died is replaced; one that stops is replaced at once."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs; times in seconds."""

    kafka: KafkaConfig
    cores: Cores
    shared: Cores
    sources: int
    """Partitions of the topic of the sources."""
    topics: Topics = field(default_factory=Topics)
    group: str = GROUP
    save_seconds: float = 5.0
    save_events: int = 200_000
    """A second of work, and what is walked again after a crash; all partitions together."""
    ready_file: Path | None = None
    """Exists while this worker is a member of the group and has restored all of its partitions."""
    cache: StateCache | None = None
    """Where checkpoints are kept on the local disk as well."""
    takes_controls: bool = False
    """Whether there is a key that control records are held against; told at the start."""
    before: str | None = None
    """The topic of the events from before they were repartitioned."""
    stall_seconds: float = STALL_SECONDS
    partitions: Mapping[str, int | None] = field(default_factory=dict)
    """Of each topic when the worker began, None: however many; a change ends it. Those that are not
    named are not looked at."""
    fetching: Fetching = field(default_factory=Fetching)
    endpoint: Endpoint | None = None
    """Where it tells how it stands."""


def new_app(settings: WorkerSettings) -> Any:
    """The Faust application: what it must not do is turned off."""
    app: Any = faust.App(
        settings.group,
        broker=[f"{SCHEME}://{server}" for server in settings.kafka.bootstrap_servers],
        broker_credentials=credentials(settings.kafka),
        broker_session_timeout=SESSION_SECONDS,
        broker_heartbeat_interval=SESSION_SECONDS / 4,
        # Restores may take longer than aiokafka's patience: whether all moves, the watchdog judges.
        broker_max_poll_interval=7 * 86_400.0,
        consumer_auto_offset_reset="earliest",
        processing_guarantee="at_least_once",
        producer_acks=-1,
        stream_wait_empty=False,  # nothing is acknowledged record by record
        stream_recovery_delay=0.0,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        store="memory://",
    )
    app._create_directories = _nothing  # of tables, which there are none of
    app.fetching = settings.fetching
    return app


def _nothing() -> None:
    """Nothing is kept in files: a worker that is killed leaves none behind."""


def credentials(kafka: KafkaConfig) -> Any:
    """The same security settings in Faust's words; None for a plain connection."""
    context = None
    if kafka.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, kafka.ssl_password)
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None
