"""Workers under another inventory go on from the checkpoints of those before them."""

import logging
from collections.abc import Sequence

import pytest

from alerts.alert import Alert
from detectors.config import Config, Override
from detectors.engines.assigned import Assigned
from detectors.engines.cores import ConfiguredCores, ConfiguredSources
from detectors.engines.ports import TopicPartition
from detectors.event import DAY, HOUR
from ingest.inventory import Inventory, Sender
from tests.unit.detectors.streams import TUESDAY, Event, calls, encode, sort
from tests.unit.engines.fakes import TOPICS, FakeKafka, one_fetch, run
from tests.unit.engines.search import SEARCHED, search, searches

EVENTS = TopicPartition(TOPICS.events, 0)
SOURCES = TopicPartition(TOPICS.sources, 0)
BEFORE = Config(inventory=Inventory(senders={"omega": Sender("omega")}))
AFTER = Config(
    inventory=Inventory(
        senders={
            "zeta": Sender("zeta", "stripe", ranges=("192.0.2.0/24",)),
            "customer-3": Sender("customer-3", ranges=("192.0.2.0/24",)),
            "omega": Sender("omega"),
        }
    ),
    overrides=(Override("aaa", "payload-volume", "why", TUESDAY + DAY, {"size_ratio": 20.0}),),
)


class Worker:
    """The owner of the only partition of the events, and of that of the sources."""

    def __init__(self, kafka: FakeKafka, config: Config) -> None:
        cores, shared = ConfiguredCores(config), ConfiguredSources(config, 1)
        self._kafka = kafka
        self._outside = kafka.outside(cores, shared)
        self.held: dict[TopicPartition, Assigned] = {}

    async def own(self) -> None:
        """Take both over, whoever had them."""
        for where in (EVENTS, SOURCES):
            self.held[where] = Assigned(where, self._outside)
            await self.held[where].restore()

    async def walk(self, events: Sequence[Event]) -> None:
        """Let events come, and walk them and what they tell of sources; then save."""
        for value in encode(events):
            self._kafka.append(TOPICS.events, 0, value)
        for where, held in self.held.items():
            await held.feed(one_fetch(self._kafka.logs[where][held.place.walked :]))
            offset = await held.save()
            if offset is not None:
                await self._kafka.commit({where: offset})


def alerts(kafka: FakeKafka) -> list[Alert]:
    """All alerts that were sent."""
    return [Alert.from_json(record.value or b"") for record in kafka.logs[TOPICS.alerts, 0]]


def play(events: Sequence[Event], configs: Sequence[Config]) -> FakeKafka:
    """Let workers take turns, each under a configuration, with as many of the events."""

    async def work() -> FakeKafka:
        kafka = FakeKafka()
        kafka.time_us = TUESDAY + DAY
        each = -(-len(events) // len(configs))
        for n, config in enumerate(configs):
            worker = Worker(kafka, config)
            kafka.read.clear()
            await worker.own()
            assert not [read for read in kafka.read if read[0] in (TOPICS.events, TOPICS.sources)]
            await worker.walk(events[n * each : n * each + each // 2])
            await worker.walk(events[n * each + each // 2 : (n + 1) * each])
        return kafka

    found: FakeKafka = run(work, 120)
    return found


def test_a_worker_under_another_inventory_goes_on_and_rebuilds_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two inventories to and fro: not a record is read again, and others' alerts are as ever."""
    caplog.set_level(logging.INFO)
    stream = sort(
        search(),
        calls(60, 0.5, TUESDAY + HOUR, sender="customer-2", source_ip="198.51.100.9",
              rejected="signature_invalid"),
    )  # fmt: skip
    usual = play(stream, [BEFORE] * 6)
    kafka = play(stream, [BEFORE, AFTER, BEFORE, AFTER, AFTER, BEFORE])
    assert "state.unfit" not in caplog.text
    assert "state.rebuilt" not in caplog.text
    found, expected = alerts(kafka), alerts(usual)
    assert {a.config for a in found} == {BEFORE.hash, AFTER.hash}
    assert [a.model_dump(exclude={"config"}) for a in found if a.sender != "customer-3"] == [
        a.model_dump(exclude={"config"}) for a in expected if a.sender != "customer-3"
    ]
    assert {a.detector for a in expected} >= {"signature-failure-spike", "endpoint-probe"}
    (tried,) = searches(expected)
    assert tried[3] == SEARCHED


def test_other_parameters_still_need_a_rebuild(caplog: pytest.LogCaptureFixture) -> None:
    """What is set for everybody: the state does not fit, and that is said."""
    other = Config({"payload-volume": {"size_ratio": 20.0}}, inventory=AFTER.inventory)

    async def work() -> None:
        kafka = FakeKafka()
        kafka.time_us = TUESDAY + DAY
        for config in (BEFORE, other):
            worker = Worker(kafka, config)
            await worker.own()
            await worker.walk(calls(20, 60, TUESDAY + (config is other) * DAY // 2))

    run(work, 60)
    assert caplog.text.count("state.unfit partition=callwatch.events/0") == 1
