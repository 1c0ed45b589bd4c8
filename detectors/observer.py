"""What a partition tells the detectors of things that several senders share.

A stream that is partitioned by sender hides a source that tries one sender after the other. So each
partition passes on the rejected calls that may be part of such a search: without a right signature,
neither from its published ranges nor from where it has verified (a fault of its own, or ours). The
same source, sender and path is passed on once in five minutes, and one source at most 64 times:
more would say no more. Everything is decided by the events alone, so a replay passes on the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from detectors.batch import EventBatch
from detectors.compile import lean
from detectors.event import REASONS, REJECTED, VERIFIED, WEBHOOK
from detectors.keys import combine
from detectors.tables import KeyedTable, Located, TableSpec
from ingest.prefix import source_prefix
from ingest.schema import Reason
from models.prefetch import AHEAD, prefetch

WINDOW_MINUTES: Final = 5
PER_SOURCE: Final = 64
LIMIT: Final = 1 << 16
KNOWN = np.dtype([("verified", "i1")])
"""Whether this sender has verified from this network."""
_LAST_CHECK = REASONS[Reason.TIMESTAMP_FUTURE]
"""Checks after this one are passed by who has a right signature."""


class Observation(NamedTuple):
    """A call that is passed on, with what puts it in order among those of other partitions."""

    now: int
    """Stream time of its partition when it was read, microseconds."""
    partition: int
    place: int
    """Where the event stands in its partition: its offset, or its number where there is no log."""
    key: str
    """What the shared detectors look at: the network of the source."""
    value: bytes
    """The event's JSON."""


@lean
def _suspects(
    events: Any, position: Any, fresh: Any, rows: Any, verified: int, rejected: int, webhook: int,
    last_check: int, marked: Any,
) -> None:  # fmt: skip
    """Mark rejected calls of unproven origin, in order; remember networks that verified."""
    for e in range(len(events)):
        if e + AHEAD < len(events):
            prefetch(rows, int(position[e + AHEAD]))
        p = int(position[e])
        if p >= 0 and fresh[e] > 0:
            rows[p]["verified"] = 0
        verdict = int(events[e]["verdict"])
        if verdict == verified and p >= 0:
            rows[p]["verified"] = 1
        if verdict != rejected or int(events[e]["signature_ok"]) == 1:
            continue
        if int(events[e]["in_range"]) == 1:
            continue  # the provider's own addresses: a fault of theirs or ours
        if int(events[e]["kind"]) != webhook and int(events[e]["sender"]) != 0:
            continue  # a browser that fails says nothing about its network
        if int(events[e]["reason"]) <= last_check and (p < 0 or int(rows[p]["verified"]) == 0):
            marked[e] = 1


class Observer:
    """Chooses what one partition passes on; its tables are part of the partition's state."""

    def __init__(self, known: KeyedTable, partition: int) -> None:
        self._known = known
        self._known.add_rows("observer", KNOWN)
        self._partition = partition
        spec = TableSpec(("source",), ttl=WINDOW_MINUTES, limit=LIMIT, refresh=False)
        self._told = KeyedTable(replace(spec, key=("source", "sender", "path")))
        self._sources = KeyedTable(spec)

    @property
    def tables(self) -> dict[tuple[str, ...], KeyedTable]:
        """The tables by the name that they have in a snapshot."""
        return {
            ("observed", "path"): self._told,
            ("observed", "source"): self._sources,
        }

    def look(self, batch: EventBatch, located: Located) -> list[Observation]:
        """Return what is passed on of a batch that has been scored, placed by its index."""
        events = batch.columns
        marked = np.zeros(len(events), np.int8)
        rows = self._known.rows["observer"]
        _suspects(
            events, located.position, located.fresh, rows, VERIFIED, REJECTED, WEBHOOK,
            _LAST_CHECK, marked,
        )  # fmt: skip
        places = np.flatnonzero(marked)
        if len(places) == 0:
            return []
        chosen = events[places]
        minutes = chosen["now"] // 60_000_000
        nobody = np.where(chosen["sender"] == 0, 1, chosen["sender"])  # a null key has no row
        told = self._told.locate(combine([chosen["source"], nobody, chosen["path"]]), minutes)
        new = told.fresh > 0
        places, minutes = places[new], minutes[new]
        of_source = self._sources.locate(np.ascontiguousarray(events["source"][places]), minutes)
        places = places[of_source.before < PER_SOURCE]
        return [self._observation(batch, int(e)) for e in places]

    def _observation(self, batch: EventBatch, e: int) -> Observation:
        source = source_prefix(batch.event(e).source_ip)
        now, place = int(batch.columns["now"][e]), int(batch.index[e])
        return Observation(now, self._partition, place, source, batch.value(e))
