"""What is told of a worker at a moment, to whom watches it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from detectors.engines.ports import TopicPartition
from detectors.engines.tally import Tally


class Place(NamedTuple):
    """How far a partition is."""

    where: TopicPartition
    walked: int
    """The offset of the record that is walked next."""
    saved: int
    """The offset that the newest checkpoint reflects."""


class Standing(NamedTuple):
    """How a partition of the worker stands."""

    where: TopicPartition
    place: Place | None
    """None: not known yet."""
    restored: bool
    time_us: int | None
    """The broker's time of the last record that was walked; None before the first."""
    unaccounted: int
    """Records that have become nothing that is counted, since the topic's first."""


@dataclass(frozen=True)
class Seen:
    """A worker at a moment."""

    group: str
    config: str
    """Hash of the configuration."""
    ready: bool
    standings: tuple[Standing, ...]
    ends: Mapping[TopicPartition, int]
    """The offsets after the last records, as far as they are known: some seconds old."""
    broker_answers: bool | None
    """None before the first look."""
    records: Mapping[str, int]
    """By the names of a core's counters, since the worker started."""
    busiest: Mapping[str, float]
    """Senders with their share of the events, lately."""
    partitions: Mapping[str, int | None]
    """Of each topic when the worker began, as far as it matters."""
    tally: Tally

    def lag(self, place: Place) -> int | None:
        """Records that are not walked yet; None where the end is not known."""
        end = self.ends.get(place.where)
        return None if end is None else max(end - place.walked, 0)


STARTING: Final = Seen("", "", False, (), {}, None, {}, {}, {}, Tally())
"""A worker before it has joined."""
