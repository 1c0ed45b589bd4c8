"""What one process that is never disturbed makes of the same log, and how a run differs from it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from alerts.alert import Alert
from detectors.config import Config
from detectors.core import Core
from detectors.engines.cores import SourcesCore
from detectors.engines.sources_topic import Mark, read_record
from detectors.engines.state_topic import EVENTS as EVENTS_TABLES
from detectors.engines.state_topic import SOURCES as SOURCES_TABLES
from detectors.engines.state_topic import Tables, newest_checkpoint
from detectors.observer import Observation
from detectors.shared import SharedCore
from detectors.snapshot import State, merge, read, unpack
from tests.integration.pipeline import ALERTS, EVENTS, PARTITIONS, SOURCES, STATE, Pipeline

HEALTH: Final = "pipeline-health"


@dataclass
class Reference:
    """Alerts and final states over the log of a case."""

    alerts: Counter[bytes] = field(default_factory=Counter)
    cores: list[Core] = field(default_factory=list)
    shared: Core | None = None
    events: int = 0


def reference(pipeline: Pipeline, config: Config) -> Reference:
    """Walk the whole log, partition by partition, then what they share up to the last marks."""
    found = Reference()
    told: list[Observation] = []
    for partition in range(PARTITIONS):
        core = Core(config, partition, partitions=PARTITIONS)
        for records in pipeline.batches(EVENTS, partition):
            outcome = core.feed_log(
                [each.value or b"" for each in records],
                [each.offset for each in records],
                [each.time_us for each in records],
            )
            found.alerts.update(alert.to_json() for alert in outcome.alerts)
            told += outcome.observations
            found.events += len(records)
        found.cores.append(core)
    shared = SharedCore(config)
    found.alerts.update(each.to_json() for each in shared.take(told, _marks(pipeline)))
    found.shared = shared.core
    return found


def _marks(pipeline: Pipeline) -> dict[int, int]:
    """How far each partition says that it has come; the only thing taken from the workers."""
    marks: dict[int, int] = {}
    for record in pipeline.records(SOURCES, 0):
        told = read_record(record, PARTITIONS)
        if isinstance(told, Mark):
            marks[told.partition] = max(told.now, marks.get(told.partition, told.now))
    return marks


@dataclass(frozen=True)
class Verdict:
    """How a run compares with its reference; `differences` is empty where it is the same."""

    events: int
    alerts: int
    repeats: int
    told: int
    """Of pipeline-health, which is not compared."""
    differences: list[str]


def judge(pipeline: Pipeline, config: Config, *, rebuilt: bool = False) -> Verdict:
    """Compare alerts and final states; after a rebuild, all that it does not tell of itself."""
    wanted = reference(pipeline, config)
    raw = [
        each.value or b""
        for partition in range(PARTITIONS)
        for each in pipeline.records(ALERTS, partition)
    ]
    told = [each for each in raw if Alert.from_json(each).detector == HEALTH]
    found = Counter(each for each in raw if Alert.from_json(each).detector != HEALTH)
    expected = Counter(
        {e: n for e, n in wanted.alerts.items() if Alert.from_json(e).detector != HEALTH}
    )
    differences = [
        f"alert is missing: {_shown(each)}" for each in sorted(expected.keys() - found.keys())
    ]
    differences += [
        f"alert is too many: {_shown(each)}" for each in sorted(found.keys() - expected.keys())
    ]
    apart = frozenset(Alert.from_json(each).id for each in told) if rebuilt else None
    for partition, core in enumerate(wanted.cores):
        differences += _states(pipeline, config, partition, core, apart)
    assert wanted.shared is not None
    differences += _shared(pipeline, config, wanted.shared)
    repeats = found.total() - len(found) - (expected.total() - len(expected))
    return Verdict(wanted.events, len(expected), repeats, len(told), differences)


def _states(
    pipeline: Pipeline, config: Config, partition: int, core: Core, apart: frozenset[str] | None
) -> list[str]:
    data = _checkpoint(pipeline, partition, EVENTS_TABLES)
    if data is None:
        return [f"{EVENTS}/{partition}: no checkpoint at the end"]
    restored = Core.restore(config, data, partitions=PARTITIONS)
    if restored.digest() == core.digest():
        return []
    there, expected = parts(data, apart), parts(core.snapshot(), apart)
    names = sorted(there.keys() | expected.keys())
    differing = [name for name in names if there.get(name) != expected.get(name)]
    return [f"{EVENTS}/{partition}: rows differ in {', '.join(differing)}"] if differing else []


def _shared(pipeline: Pipeline, config: Config, wanted: Core) -> list[str]:
    data = _checkpoint(pipeline, 0, SOURCES_TABLES)
    if data is None:
        return [f"{SOURCES}/0: no checkpoint at the end"]
    core = SourcesCore.restore(config, PARTITIONS, data).shared.core
    if core.digest() == wanted.digest():
        return []
    there, expected = parts(core.snapshot()), parts(wanted.snapshot())
    # How long this clock ran, and over what it leapt, depends on when it was flushed; no shared
    # detector reads that. How far it has come is compared.
    there["clock"], expected["clock"] = there["clock"][1], expected["clock"][1]
    differing = [name for name in sorted(there) if there[name] != expected.get(name)]
    if not differing:
        return []
    return [f"{SOURCES}/0: rows differ in {', '.join(differing)}"]


def _checkpoint(pipeline: Pipeline, partition: int, tables: Tables) -> State | None:
    records = [(each.key, each.value) for each in pipeline.records(STATE, partition)]
    found = newest_checkpoint(partition, records, read, tables).checkpoint
    return None if found is None else merge(found.snapshot, found.changes)


def parts(snapshot: bytes | State, apart: frozenset[str] | None = None) -> dict[str, Any]:
    """A snapshot in comparable parts.

    After a rebuild `apart` are the ids of the alerts of pipeline-health: what was told with them,
    and what that detector keeps, is left out, and nothing else.
    """
    header, arrays = unpack(snapshot)
    found = {**header, **{name: array.tobytes() for name, array in arrays.items()}}
    open_ones = json.loads(found.pop("incidents/open"))
    ids = found.pop("incidents/ids").decode().split()
    found["incidents"] = {**header["incidents"], "open": open_ones, "ids": ids}
    if apart is not None:
        del found["health"]
        found["counters"] = {k: n for k, n in header["counters"].items() if k != "alerts"}
        incidents = dict(found["incidents"])
        slots = [slot for slot, one in incidents["open"] if one["id"] in apart]
        incidents["open"] = [one for one in incidents["open"] if one[0] not in slots]
        incidents["pending"] = [one for one in incidents["pending"] if one[1] not in slots]
        incidents["ids"] = [each for each in incidents["ids"] if each not in apart]
        found["incidents"] = incidents
    return found


def _shown(value: bytes) -> str:
    alert = Alert.from_json(value)
    return f"{alert.detector} {alert.reason} {alert.status} of {alert.sender} at {alert.updated_at}"
