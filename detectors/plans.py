"""What was announced: for which sender, from when until before when, and why.

A plan says what its kind explains and nothing else (``COVERS``): a campaign explains many calls,
never a replay; a rotation explains failures from the sender's own networks, never forged ones.

>>> events = np.zeros(4, [("t", "i8"), ("sender", "i8"), ("plan", "i2")])
>>> events["t"], events["sender"] = [99, 100, 199, 200], name_key("acme")
>>> announced = Announced()
>>> announced.add("acme", Planned("rotation", 100, 200, "yearly change of keys"))
>>> announced.mark(events)
>>> events["plan"].tolist()
[0, 1, 1, 0]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.event import PLANS
from detectors.keys import name_key
from ingest.inventory import Plan, PlanKind
from ingest.rfc3339 import to_us

COVERS: Mapping[PlanKind, Mapping[str, frozenset[str]]] = {
    "rotation": {
        "signature-failure-spike": frozenset({"rotation"}),
        "stale-key": frozenset({"old_key", "rotation_stalled", "rotation_started"}),
    },
    "backfill": {
        "behaviour-outlier": frozenset({"outlier"}),
        "payload-volume": frozenset(
            {"backfill", "campaign", "count_high", "bytes_high", "retry_flood"}
        ),
    },
    "campaign": {
        "behaviour-outlier": frozenset({"outlier"}),
        "payload-volume": frozenset(
            {"backfill", "campaign", "count_high", "bytes_high", "retry_flood"}
        ),
    },
    "migration": {
        "behaviour-outlier": frozenset({"outlier"}),
        "spoofed-source": frozenset(
            {"valid_from_new_network", "outside_published_ranges", "range_drift", "client_changed"}
        ),
        "unregistered": frozenset({"new_endpoint", "new_event_type"}),
    },
    "maintenance": {
        "behaviour-outlier": frozenset({"outlier"}),
        "sender-silence": frozenset({"silent"}),
        "payload-volume": frozenset({"count_low", "retry_flood"}),
    },
}
"""Which findings a kind of plan explains: detector and reasons."""


@dataclass(frozen=True)
class Planned:
    """One announcement for one sender; microseconds, ``end`` is outside."""

    kind: PlanKind
    start: int
    end: int
    reason: str

    def covers(self, detector: str, reason: str) -> bool:
        """Tell whether this kind of plan explains such a finding."""
        return reason in COVERS[self.kind].get(detector, ())


def plans_of(plans: Iterable[Plan]) -> dict[str, tuple[Planned, ...]]:
    """Return the announcements of each sender, in the order of their beginning."""
    of: dict[str, list[Planned]] = {}
    for plan in plans:
        one = Planned(plan.kind, to_us(plan.start), to_us(plan.end), plan.reason)
        of.setdefault(plan.sender, []).append(one)
    return {
        sender: tuple(sorted(found, key=lambda one: (one.start, one.end, one.kind, one.reason)))
        for sender, found in sorted(of.items())
    }


class Announced:
    """The plans of many senders, and the column of events that says which are in force.

    What an event costs depends on neither how many senders have plans nor how many each has; only
    the first event of a sender behind a new plan looks at all that this sender has.
    """

    def __init__(self) -> None:
        self._plans: dict[int, list[Planned]] = {}
        self._keys: NDArray[np.int64] | None = None
        self._courses: dict[int, tuple[NDArray[np.int64], NDArray[np.int16]]] = {}

    def add(self, sender: str, plan: Planned) -> None:
        """Announce one more plan."""
        if plan.start >= plan.end:
            return
        key = name_key(sender)
        if key not in self._plans:
            self._keys = None
        self._plans.setdefault(key, []).append(plan)
        self._courses.pop(key, None)

    def mark(self, events: NDArray[Any]) -> None:
        """Add the bits of plans in force, at their own times, to the events' column ``plan``."""
        if not self._plans or not len(events):
            return
        if self._keys is None:
            self._keys = np.sort(np.fromiter(self._plans, np.int64, len(self._plans)))
        senders = np.ascontiguousarray(events["sender"])
        at = np.minimum(self._keys.searchsorted(senders), len(self._keys) - 1)
        rows = np.flatnonzero(self._keys[at] == senders)
        if not len(rows):
            return
        rows = rows[np.argsort(at[rows], kind="stable")]
        column, times = events["plan"], events["t"]
        for part in np.split(rows, np.flatnonzero(np.diff(at[rows])) + 1):
            edges, bits = self._course(int(senders[part[0]]))
            column[part] |= bits[edges.searchsorted(times[part], "right")]

    def _course(self, key: int) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Return when a sender's plans begin or end, and the bits before, between and behind."""
        if key not in self._courses:
            steps = [(plan.start, plan.kind, 1) for plan in self._plans[key]]
            steps += [(plan.end, plan.kind, -1) for plan in self._plans[key]]
            in_force: Counter[PlanKind] = Counter()
            course = {}
            for t, kind, more in sorted(steps, key=itemgetter(0)):
                in_force[kind] += more
                course[t] = sum(PLANS[kind] for kind, count in in_force.items() if count)
            bits = np.array([0, *course.values()], np.int16)
            self._courses[key] = np.array(list(course), np.int64), bits
        return self._courses[key]
