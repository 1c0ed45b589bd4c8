"""A Faust transport that hands over whole stretches of a partition, not record by record.

Stock Faust spends 50 to 70 us of CPU on every record: a future, a task, a lock and a queue for
each. Here one stream event holds all that one fetch brought of a partition; its value is a
`Fetched`. Everything else is Faust's and aiokafka's own: membership, assignment, connections,
fetching. Registered under the scheme `callwatch://`, by an entry point of `faust.transports` where
callwatch is installed, and by being imported.

- **Generations.** A stretch is marked with the generation of the group under which it was fetched,
  in the thread that fetches and with nothing in between. One of another generation is dropped at
  every station; nothing counts as in flight over a change of generation.
- **Back-pressure.** Nothing more is asked of the fetcher while `FLYING_BYTES` are on their way to
  the agent; aiokafka then holds one answer of each partition, and asks the broker for no other.
- **Restores.** An application's `resting` names the partitions of which nothing is taken: aiokafka
  holds one answer of each, and the others go on.
- **Offsets.** Nothing is acknowledged to Faust, and Faust commits nothing: the worker does
  (`detectors.engines.assigned`). Faust's own memory of what was read is not asked either.
- **Committed transactions only.** What a producer took back never was an event.

`detectors.engines.hooks` names all that is used here of what Faust and aiokafka do not promise.
"""

import asyncio
import math
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar, Final

from aiokafka.consumer import fetcher as aiokafka_fetcher
from faust.transport.drivers import TRANSPORTS, aiokafka
from faust.types.tuples import ConsumerMessage

from detectors.engines.errors import EngineError
from detectors.engines.ports import TopicPartition
from detectors.engines.stretch import Fetched, Stretch
from detectors.engines.unpacking import FACTOR
from detectors.engines.whole_answers import exchanged, hook_client
from detectors.engines.whole_fetch import KeptBytes, WholeFetch

SCHEME: Final = "callwatch"
FLYING_BYTES: Final = 16 << 20
"""Of stretches that the agent has not walked yet; one fetch more may come on top."""
FETCH_BYTES: Final = 16 << 20
"""Of one fetch from a broker, all partitions together, when it is unpacked."""
PARTITION_BYTES: Final = 8 << 20
"""Of one partition in it: eight times what is usual, since each batch costs the core about a
millisecond, however few events are in it. At the live edge, where less waits, nothing changes."""
MEANWHILE: Final = 1 << 24
"""Offsets: a broker tells the end that it knew before it read, so that an answer reaches beyond it
by what came meanwhile. Damage that reaches less far is met when the next records are asked for."""
RESTING_SECONDS: Final = 0.05
"""For others' records, until it is looked again whether a partition still rests."""
FORGETTING: Final = 0.9
"""How much is believed of how well the last answers were packed, where the next is packed less."""
MOST_GROWTH: Final = 16.0
"""Events are seldom packed better. What is was made to swell, and must not throttle the worker."""


@dataclass(frozen=True)
class Fetching:
    """How a worker fetches; an application's attribute `fetching`.

    An answer costs each partition about a millisecond, however few events are in it. So while
    events come, brokers gather what comes within a moment; where none come, they answer at the
    first.
    """

    wait_seconds: float = 0.05
    """So long a broker waits for a first byte before it answers that there is nothing."""
    gather_seconds: float = 0.015
    """So long it gathers, if the former is not shorter: events wait half as long, on average."""
    gather_bytes: int = 256 << 10
    """With so many it answers at once: who catches up does not wait."""
    lively_seconds: float = 0.1
    """So long after the last events more are expected."""


class FetchThread(aiokafka.AIOKafkaConsumerThread):
    """Faust's thread around an aiokafka consumer."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        fetching: Fetching = getattr(self.app, "fetching", Fetching())
        # Faust has 1500 ms written into its code: a fetch to an idle broker would hold up those
        # of partitions that get their data a moment later. Later requests are `Gathering`'s.
        consumer._fetch_max_wait_ms = max(1, round(fetching.wait_seconds * 1000))
        consumer._isolation_level = "read_committed"
        hook_client(consumer._client)
        return consumer

    async def on_start(self) -> None:
        """Start the consumer, and exchange two names in what reads the broker's answers."""
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher
        hook_fetcher(fetcher)
        self._gathering = Gathering(fetcher, getattr(self.app, "fetching", Fetching()))

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,  # noqa: ARG002 - stretches are not cut
    ) -> Any:
        resting: frozenset[Any] = getattr(self.app, "resting", frozenset)()
        if resting & active_partitions:
            active_partitions, timeout = active_partitions - resting, RESTING_SECONDS
            if not active_partitions:  # of none at all aiokafka would give out all
                await asyncio.sleep(timeout)
                return {}
        found = await super()._fetch_records(consumer, active_partitions, timeout=timeout)
        # Nothing was awaited since the fetcher made sure that no assignment is under way: this is
        # the generation of the one under which these were fetched.
        generation = consumer._coordinator.generation
        if found:
            self._gathering.found(max(growth for [(_, _, growth)] in found.values()))
        for where, [(stretch, _, _)] in found.items():
            end = consumer.highwater(where)
            if end is not None and stretch.stop > end + MEANWHILE:
                msg = (
                    f"{where.topic}/{where.partition}: a batch of records is said to reach to "
                    f"offset {stretch.stop - 1}, but the log ends at {end}: the broker's copy is "
                    "damaged"
                )
                raise EngineError(msg)
        return {
            where: Fetched(TopicPartition(*where), generation, stretch, size)
            for where, [(stretch, size, _)] in found.items()
        }


class Gathering:
    """Tells an aiokafka fetcher, before each request, how long the broker may gather, and how much.

    What codecs save is learned from what came, of all partitions together: a core walks about as
    many events at once of packed batches as of others, and what they unpack to is as bounded.
    """

    def __init__(
        self, fetcher: Any, fetching: Fetching, clock: Callable[[], float] = monotonic
    ) -> None:
        self._fetcher, self._fetching, self._clock = fetcher, fetching, clock
        self._last = -math.inf
        self._growth = FACTOR  # of what comes, when it is unpacked
        self._ask = fetcher._get_actions_per_node
        fetcher._get_actions_per_node = self._asked

    def found(self, growth: float) -> None:
        """Note that events have come, and by how much they grew when they were unpacked."""
        self._last = self._clock()
        former = FORGETTING * self._growth + (1 - FORGETTING) * growth
        self._growth = min(max(growth, former, 1.0), MOST_GROWTH)

    def _asked(self, assignment: Any) -> Any:
        of = self._fetching
        lively = self._clock() - self._last < of.lively_seconds
        seconds = min(of.gather_seconds, of.wait_seconds) if lively else of.wait_seconds
        self._fetcher._fetch_max_wait_ms = max(1, round(seconds * 1000))
        self._fetcher._fetch_min_bytes = of.gather_bytes if lively else 1
        self._fetcher._fetch_max_bytes = round(FETCH_BYTES / self._growth)
        self._fetcher._max_partition_fetch_bytes = round(PARTITION_BYTES / self._growth)
        return self._ask(assignment)


def hook_fetcher(fetcher: Any) -> None:
    """Let this aiokafka fetcher, and no other, give out whole answers instead of records."""
    fetcher._proc_fetch_request = exchanged(
        aiokafka_fetcher.Fetcher._proc_fetch_request,
        MemoryRecords=KeptBytes,
        PartitionRecords=WholeFetch,
    ).__get__(fetcher)


class Consumer(aiokafka.Consumer):
    """Faust's consumer, with one message for each stretch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._flying: weakref.WeakSet[Fetched] = weakref.WeakSet()  # what Faust drops is gone
        self._landed = asyncio.Event()

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, beacon=self.beacon)

    def landed(self, fetched: Fetched) -> None:
        """Note that the agent has done with this one."""
        self._flying.discard(fetched)
        self._landed.set()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, ConsumerMessage]]:
        """What one fetch brought, by partitions."""
        while not self.should_stop and self.flow_active and self._flying_bytes() >= FLYING_BYTES:
            self._landed.clear()
            try:
                await asyncio.wait_for(self._landed.wait(), 0.1)
            except TimeoutError:  # or there is a new generation, and nothing of it is in flight
                continue
        found: Any
        found, _ = await self._wait_next_records(timeout)
        if self.should_stop:
            return
        for where, fetched in (found or {}).items():
            if not self.flow_active or fetched.generation != self.app.consumer_generation_id:
                break
            # Else Faust would drop what it takes for read before; a new owner judges that better.
            self._read_offset.pop(where, None)
            self._flying.add(fetched)
            yield where, self._to_message(where, fetched)

    def _to_message(self, tp: Any, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.stretch.start,
            0.0,
            0,
            [],
            None,
            record,
            None,
            tp=tp,
            generation_id=record.generation,
        )

    def _flying_bytes(self) -> int:
        current = self.app.consumer_generation_id
        return sum(each.size for each in self._flying if each.generation == current)


class Transport(aiokafka.Transport):
    """`callwatch://host:port`: aiokafka, in whole stretches."""

    Consumer: ClassVar[type[Any]] = Consumer
    driver_version = f"callwatch on {aiokafka.Transport.driver_version}"


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"

__all__ = ["SCHEME", "Consumer", "Fetching", "Stretch", "Transport", "hook_fetcher"]
