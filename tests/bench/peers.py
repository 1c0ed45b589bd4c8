"""What others do with the same topic: Faust as its pages show it, and quixstreams.

Both read JSON and keep one number per sender, updated with every event: far less than detection.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from typing import Any

from tests.bench.engine import EVENTS, PARTITIONS, Meter, tell


async def idiomatic(servers: str, meter: Meter) -> None:
    """A Record without validation, an agent for each event, a Table in memory."""
    import faust

    class Event(faust.Record, serializer="json", validation=False):
        schema: int
        id: str
        received_at: str
        receiver: str
        endpoint: str
        kind: str
        sender: str
        verdict: str
        body_bytes: int
        source_ip: str
        source_ip_from: str
        provider: str | None = None
        signature_ok: bool | None = None
        key_id: str | None = None
        signed_at: str | None = None
        event_type: str | None = None
        delivery_fp: str | None = None
        signature_fp: str | None = None
        body_fp: str | None = None
        content_type: str | None = None
        method: str | None = None
        status: int | None = None
        attempt: int | None = None
        user_agent: str | None = None
        asn: int | None = None

    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            f"bench-{uuid.uuid4().hex}", broker=f"kafka://{servers}", web_enabled=False,
            consumer_auto_offset_reset="earliest", topic_replication_factor=1,
            topic_disable_leader=True, autodiscover=False, store="memory://", datadir=folder,
        )  # fmt: skip
        done = asyncio.Event()
        table = app.Table("bytes", default=int, partitions=PARTITIONS)

        async def take(stream: Any) -> None:
            async for event in stream:
                table[event.sender] += event.body_bytes
                if meter.count(1):
                    done.set()

        app.agent(app.topic(EVENTS, value_type=Event, key_type=bytes, key_serializer="raw"))(take)
        await app.start()
        await done.wait()
        os._exit(tell(meter))  # the figure is there; how it stops is not measured


async def quixstreams(servers: str, meter: Meter) -> None:
    """One state get and set per event, in RocksDB; without its changelog, which would cost more."""
    from quixstreams import Application
    from quixstreams.models import TopicConfig

    def keep(event: Any, state: Any) -> None:
        state.set("bytes", state.get("bytes", 0) + event["body_bytes"])
        if meter.count(1):
            os._exit(tell(meter))

    with tempfile.TemporaryDirectory() as folder:
        app = Application(
            broker_address=servers, consumer_group=f"bench-{uuid.uuid4().hex}",
            auto_offset_reset="earliest", state_dir=folder, use_changelog_topics=False,
            loglevel="ERROR",
        )  # fmt: skip
        topic = app.topic(
            EVENTS, key_deserializer="bytes", value_deserializer="json",
            config=TopicConfig(num_partitions=PARTITIONS, replication_factor=1),
        )  # fmt: skip
        app.dataframe(topic).update(keep, stateful=True)
        app.run()
