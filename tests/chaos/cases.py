"""What is done to workers and broker while the stream runs; each ends with all of it processed.

Moments are counted in published events, so they are as fixed as the stream; what the workers are
doing just then is not.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from time import monotonic
from typing import Final, Protocol

from kafka import KafkaProducer

from detectors.config import Config
from detectors.engines.state_topic import EVENTS as TABLES
from detectors.engines.state_topic import StateKey, own_key
from tests.chaos import caches
from tests.chaos.fleet import STOPPED_SECONDS, Fleet, absences
from tests.chaos.publish import Publishing
from tests.chaos.reference import Verdict, judge
from tests.chaos.stream import Pace, Stream
from tests.integration.pipeline import ALERTS, PARTITIONS, STATE, Pipeline, wait_until

RESCALED_SECONDS: Final = 30.0
RECOVERED_SECONDS: Final = 30.0
"""From the start of a broker's process to the first alert; that it answers takes it 3 of them."""
AWAY_SECONDS: Final = 8.0
DONE_SECONDS: Final = 240.0
CACHED_SECONDS: Final = 45.0
"""From one death to the next, in which a worker must be ready again and keep something."""


class Restartable(Protocol):
    """A broker that can be stopped, killed and started again."""

    def start(self) -> None:
        """Return when it answers."""

    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """End it as a power cut would."""


@dataclass
class Play:
    """A pipeline with empty topics, the stream, and what was measured on the way."""

    pipeline: Pipeline
    config: Config
    stream: Stream
    pace: Pace
    rng: Random
    times: int
    """How often it is done, where the case has no number of its own."""
    broker: Restartable | None = None
    fleet: Fleet = field(init=False)
    measured: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.pipeline)

    def publishing(self) -> Publishing:
        """The stream, not yet running."""
        return Publishing(self.pipeline.servers, self.stream, self.pace)

    def measure(self, name: str, seconds: float, limit: float | None = None) -> None:
        """Keep a figure; one beyond its limit is a difference."""
        self.measured.setdefault(name, []).append(round(seconds, 3))
        if limit is not None and seconds > limit:
            self.differences.append(f"{name}: {seconds:.1f} s, allowed are {limit:g} s")

    @property
    def patience(self) -> float:
        """Seconds for the stream to be published, whatever the machine does meanwhile."""
        return 60 + 4 * len(self.stream) / self.pace.rate

    def share(self, part: float) -> int:
        """So many events as this part of the stream has."""
        return int(part * len(self.stream))

    def moments(self, count: int) -> list[int]:
        """So many numbers of events in the middle of the stream; every fourth soon after the last.

        Whoever has just been started again is hit then, too: while it compiles, joins or restores.
        """
        low, high = self.share(0.05), self.share(0.95)
        found: list[int] = []
        for number in range(count):
            if number % 4 == 3:
                found.append(found[-1] + self.rng.randrange(200, 8000))
            else:
                found.append(self.rng.randrange(low, high))
        return sorted(found)

    def drain(self, *, supervised: bool = False) -> None:
        """Wait until all is processed, then end the workers in order.

        Supervised: one that ends with a message is started again, and noted.
        """

        def watch() -> None:
            if not supervised:
                self.fleet.check()
                return
            for message in self.fleet.replace_ended():
                self.notes.append(f"a worker ended: {message}")

        self.pipeline.wait_until_done(watch, seconds=DONE_SECONDS)
        self.fleet.stop_all()


def kills(play: Play) -> Verdict:
    """Workers die at random moments and are started again at once."""
    fleet = play.fleet
    fleet.start(2)
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        for moment in play.moments(play.times):
            publishing.reach(moment, play.patience)
            fleet.check()
            fleet.kill(play.rng.randrange(2))
            fleet.start()
        publishing.finish(play.patience)
        play.drain()
    return _judged(play)


def stops(play: Play) -> Verdict:
    """Workers are told to stop at random moments and are started again: nothing is told twice."""
    fleet = play.fleet
    fleet.start(2)
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        for moment in play.moments(play.times):
            publishing.reach(moment, play.patience)
            begin = monotonic()
            fleet.stop(play.rng.randrange(2))
            play.measure("a stop", monotonic() - begin, STOPPED_SECONDS)
            fleet.start()
        publishing.finish(play.patience)
        play.drain()
    verdict = _judged(play)
    if verdict.repeats:
        play.differences.append(f"{verdict.repeats} alerts were told twice by workers that stopped")
    return verdict


def rescales(play: Play) -> Verdict:
    """Workers go from one to three, two and four while the stream runs."""
    fleet = play.fleet
    fleet.start()
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        for number, wanted in enumerate((3, 2, 4), 1):
            publishing.reach(len(play.stream) * number // 4, play.patience)
            begin = monotonic()
            if wanted > len(fleet.live):
                fleet.start(wanted - len(fleet.live))
            while wanted < len(fleet.live):
                fleet.stop(play.rng.randrange(len(fleet.live)))
            fleet.wait_until_settled()
            play.measure("a rescale", monotonic() - begin, RESCALED_SECONDS)
        publishing.finish(play.patience)
        play.drain()
    return _judged(play)


def restarts(play: Play) -> Verdict:
    """The broker goes away and comes back, in order and by kill -9."""
    assert play.broker is not None
    fleet, pipeline = play.fleet, play.pipeline
    fleet.start(2)
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        ways: list[tuple[str, Callable[[], None]]] = [
            ("clean", play.broker.stop),
            ("kill -9", play.broker.kill),
        ] * max(1, play.times // 20)
        for number, (name, end) in enumerate(ways, 1):
            publishing.reach(len(play.stream) * number // (len(ways) + 2), play.patience)
            with pipeline.away():
                try:
                    end()
                    missed = min(int(AWAY_SECONDS * play.pace.rate), play.share(0.1))
                    missed = min(publishing.done + missed, play.share(0.9))
                    publishing.reach(missed, play.patience)  # what waits in the publisher meanwhile
                finally:
                    begin = monotonic()
                    play.broker.start()
            before, ended = pipeline.ends(ALERTS), list[str]()

            def told(before: int = before, ended: list[str] = ended) -> bool:
                ended.extend(fleet.replace_ended())
                return pipeline.ends(ALERTS) > before

            wait_until("a new alert after the broker is back", told, 4 * RECOVERED_SECONDS)
            seconds = monotonic() - begin
            if ended:
                play.notes.append(f"{name}: {len(ended)} worker(s) ended: {ended[-1]}")
            limit = None if ended else RECOVERED_SECONDS
            play.measure(f"first alert after a restart ({name})", seconds, limit)
        publishing.finish(play.patience)
        play.drain(supervised=True)
    return _judged(play)


def damages(play: Play) -> Verdict:
    """A chunk is damaged after a crash: of the newest changes, and of a snapshot."""
    fleet, pipeline = play.fleet, play.pipeline
    fleet.start(2)
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        publishing.reach(len(play.stream) // 2, play.patience)
        fleet.kill(0)
        fleet.kill(0)
        _damage(pipeline, 0, newest=True)
        _damage(pipeline, 1, newest=False)
        fleet.start(2)
        publishing.finish(play.patience)
        play.drain()
    damaged = fleet.said("state.damaged")
    if {line.partitions[0][-2:] for line in damaged} != {"/0", "/1"}:
        play.differences.append(f"state.damaged was said of {[line.fields for line in damaged]}")
    rebuilt = fleet.said("state.rebuilt")
    play.notes.append(f"{len(damaged)} faults said, {len(rebuilt)} partition(s) rebuilt")
    return _judged(play, rebuilt=True)


def emptied(play: Play) -> Verdict:
    """The state topic is emptied while all are away: a rebuild, and it is said."""
    fleet, pipeline = play.fleet, play.pipeline
    fleet.start(2)
    fleet.wait_until_settled()
    with play.publishing() as publishing:
        publishing.reach(len(play.stream) // 2, play.patience)
        fleet.stop_all()
        pipeline.empty(STATE)
        fleet.start(2)
        publishing.finish(play.patience)
        play.drain()
    rebuilt = {line.partitions[0] for line in fleet.said("state.rebuilt")}
    if len(rebuilt) != PARTITIONS + 1:
        play.differences.append(f"state.rebuilt was said of {sorted(rebuilt)} alone")
    verdict = _judged(play, rebuilt=True)
    if verdict.told < PARTITIONS:
        play.differences.append(f"pipeline-health told {verdict.told} times of the rebuild")
    return verdict


def cached(play: Play) -> Verdict:
    """A worker with a local cache dies; it is as it was left, deleted, damaged, torn, or older."""
    fleet, folder = play.fleet, play.pipeline.folder / "cache"
    fleet.arguments = ["--cache-dir", str(folder)]
    fleet.start()
    fleet.wait_until_settled()
    ways = caches.WAYS * max(1, play.times // 20)
    slowly = len(play.stream) / (len(ways) + 1) / CACHED_SECONDS
    play.pace = replace(play.pace, rate=min(play.pace.rate, slowly))
    with play.publishing() as publishing:
        earlier: caches.Files = {}
        for number, way in enumerate(ways, 1):
            publishing.reach(play.share(number / (len(ways) + 1)), play.patience)
            wait_until(
                "a file for each partition, or the end of the stream",
                lambda: len(caches.held(folder)) > PARTITIONS or not publishing.is_alive(),
                DONE_SECONDS,
            )
            fleet.kill(0)
            earlier, before = caches.held(folder), earlier
            way(folder, before)
            begin = monotonic()
            fleet.start()
            fleet.wait_until_settled()
            play.measure(f"ready again, cache {way.__name__}", monotonic() - begin)
            said = Counter(line.what for line in fleet.members[-1].lines())
            play.notes.append(
                f"{way.__name__}: {said['cache.used']} files used, "
                f"{said['cache.passed_over']} passed over"
            )
            # Of files that are old or torn it depends on what was written since, and where.
            used = bool(said["cache.used"])
            if used != (way is caches.as_left) and way in caches.CERTAIN:
                play.differences.append(play.notes[-1])
        publishing.finish(play.patience)
        play.drain()
    return _judged(play)


CASES: Final[dict[str, Callable[[Play], Verdict]]] = {
    "kill": kills,
    "stop": stops,
    "rescale": rescales,
    "broker": restarts,
    "damage": damages,
    "empty": emptied,
    "cache": cached,
}


def _judged(play: Play, *, rebuilt: bool = False) -> Verdict:
    for seconds in absences(play.fleet.members):
        play.measure("a partition without a worker", seconds)
    verdict = judge(play.pipeline, play.config, rebuilt=rebuilt)
    play.differences += verdict.differences
    if verdict.events != len(play.stream):
        play.differences.append(f"the log holds {verdict.events} events of {len(play.stream)}")
    for line in play.fleet.said("partition.differs"):
        play.differences.append(f"accounts of {line.fields}")
    if not rebuilt and (said := play.fleet.said("state.rebuilt")):
        play.differences.append(f"{len(said)} partitions were rebuilt, and nothing was damaged")
    return verdict


def _damage(pipeline: Pipeline, partition: int, *, newest: bool) -> None:
    """Overwrite a chunk: the newest checkpoint's, or that of the snapshot on which all build."""
    chunks: dict[StateKey, bytes] = {}
    for record in pipeline.records(STATE, partition):
        key = own_key(record.key, partition, TABLES)
        if key is not None and key.table == TABLES.data:
            chunks.pop(key, None)
            if record.value is not None:
                chunks[key] = record.value
    keys = list(chunks)
    key = keys[-1] if newest else max(keys, key=lambda each: len(chunks[each]))
    value = bytearray(chunks[key])
    value[len(value) // 2] ^= 0xFF
    with closing(KafkaProducer(bootstrap_servers=pipeline.servers)) as producer:
        producer.send(STATE, bytes(value), key=key.encode(), partition=partition).get(30)
