"""What is used of Faust, aiokafka and kafka-python beyond their promises, and versions that fit.

A worker looks before it starts: with another version, or where something is not as it was, it says
so in one line instead of losing records in a way that nobody sees.
"""

import asyncio
import inspect
from importlib.metadata import version
from typing import Any, Final

from packaging.specifiers import SpecifierSet

from detectors.engines.errors import EngineError

VERSIONS: Final = {"faust-streaming": ">=0.15.3,<0.16", "aiokafka": ">=0.14,<0.15"}
"""As in pyproject.toml; the tests run with the newest of them."""


def check_hooks() -> None:
    """Raise `EngineError` unless Faust and aiokafka are those that the transport was made for."""
    for name, allowed in VERSIONS.items():
        given = version(name)
        if given not in SpecifierSet(allowed):
            msg = f"{name}: allowed are versions {allowed} (installed: {given})"
            raise EngineError(msg)
    if found := broken_hooks():
        msg = f"Faust, aiokafka or kafka-python was changed: not as expected: {', '.join(found)}"
        raise EngineError(msg)


def broken_hooks() -> list[str]:
    """The names of what is not there any more, or takes other arguments."""
    import aiokafka.client
    import aiokafka.conn
    import aiokafka.consumer.fetcher as fetching
    import kafka.consumer.fetcher
    import kafka.record
    from aiokafka import AIOKafkaConsumer
    from aiokafka.consumer.group_coordinator import GroupCoordinator
    from faust.app.base import App
    from faust.streams import Stream
    from faust.transport.consumer import Consumer as AnyConsumer
    from faust.transport.drivers.aiokafka import (
        AIOKafkaConsumerThread,
        Consumer,
        ConsumerRebalanceListener,
    )

    reading: Any = kafka.consumer.fetcher.Fetcher
    unpack = "self tp records key_deserializer value_deserializer"
    fetch = "self consumer active_partitions timeout max_records"
    partition = (
        "self tp records aborted_transactions fetch_offset key_deserializer value_deserializer "
        "check_crcs isolation_level"
    )
    methods: list[tuple[Any, str, str]] = [
        (App, "_create_directories", "self"),
        (Consumer, "_new_consumer_thread", "self"),
        (Consumer, "_commit", "self offsets"),
        (Consumer, "_to_message", "self tp record"),
        (Consumer, "_wait_next_records", "self timeout"),
        (Consumer, "getmany", "self timeout"),
        (AIOKafkaConsumerThread, "on_start", "self"),
        (AIOKafkaConsumerThread, "_create_worker_consumer", "self transport"),
        (AIOKafkaConsumerThread, "_fetch_records", fetch),
        (Stream, "noack", "self"),
        (fetching.Fetcher, "_proc_fetch_request", "self assignment node_id request"),
        (fetching.Fetcher, "_get_actions_per_node", "self assignment"),
        (fetching.PartitionRecords, "__init__", partition),
        (reading.PartitionRecords, "_unpack_records", unpack),
    ]
    inside: list[tuple[Any, str, str]] = [
        (App, "on_first_start", "_create_directories"),
        (fetching.Fetcher, "_proc_fetch_request", "MemoryRecords PartitionRecords"),
        (fetching.Fetcher, "_get_actions_per_node", "_fetch_max_wait_ms _fetch_min_bytes"),
        (
            fetching.Fetcher,
            "_get_actions_per_node",
            "_fetch_max_bytes _max_partition_fetch_bytes",
        ),
        (fetching.Fetcher, "_fetch_requests_routine", "_get_actions_per_node"),
        (fetching.FetchResult, "getall", "_partition_records"),
        (fetching.FetchResult, "check_assignment", "next_fetch_offset active"),
        (fetching.PartitionRecords, "__init__", "_records _records_iterator next_fetch_offset"),
        (AIOKafkaConsumer, "__init__", "_fetch_max_wait_ms _isolation_level _client"),
        (AIOKafkaConsumer, "start", "_fetcher _coordinator"),
        (aiokafka.client.AIOKafkaClient, "_get_conn", "create_conn"),
        (aiokafka.conn.AIOKafkaConnection, "connect", "StreamReader _reader"),
        (aiokafka.conn.AIOKafkaConnection, "connect", "_writer"),
        (aiokafka.conn.AIOKafkaConnection, "_read", "readexactly _handle_frame"),
        (aiokafka.conn.AIOKafkaConnection, "_handle_frame", "io BytesIO"),
        (asyncio.StreamReader, "feed_data", "_buffer _wakeup_waiter"),
        (asyncio.StreamReader, "readexactly", "_buffer _eof _wait_for_data"),
        (GroupCoordinator, "_maybe_leave_group", "generation"),
        (AIOKafkaConsumerThread, "on_start", "_consumer"),
        (AnyConsumer, "__init__", "_read_offset"),
        (AnyConsumer, "_drain_messages", "getmany _read_offset"),
        (AnyConsumer, "resume_flow", "flow_active"),
        (ConsumerRebalanceListener, "on_partitions_assigned", "consumer_generation_id"),
        (reading, "_parse_fetched_data", "PartitionRecords aborted_transactions"),
        (reading, "_append", "next_fetch_offset take"),
        (
            reading.PartitionRecords,
            "__init__",
            "_unpack_records aborted_transactions next_fetch_offset records_read fetch_offset",
        ),
        (kafka.KafkaConsumer, "__init__", "_fetcher"),
        (kafka.record.MemoryRecords, "__init__", "_buffer"),
    ]
    found = [f"{of.__name__}.{name}" for of, name, taken in methods if _takes(of, name) != taken]
    return found + [
        f"{one} in {of.__name__}.{name}"
        for of, name, used in inside
        for one in used.split()
        if one not in _uses(of, name)
    ]


def _takes(owner: Any, name: str) -> str:
    """The parameters of a method, separated by blanks."""
    method = getattr(owner, name, None)
    return "" if method is None else " ".join(inspect.signature(method).parameters)


def _uses(owner: Any, name: str) -> tuple[str, ...]:
    """The names of globals and attributes that a method mentions."""
    method = inspect.unwrap(getattr(owner, name, None) or _takes)
    return (*method.__code__.co_names, *method.__code__.co_freevars)
