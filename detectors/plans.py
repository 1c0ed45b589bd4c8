"""What was announced: for which sender, from when until before when, and why.

A plan says what its kind explains and nothing else (``COVERS``): a campaign explains many calls,
never a replay; a rotation explains failures from the sender's own networks, never forged ones.

>>> plan = Planned("rotation", 100, 200, "yearly change of keys")
>>> [bits_at((plan,), t) for t in (99, 100, 199, 200)]
[0, 1, 1, 0]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from detectors.event import PLANS
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


def bits_at(plans: tuple[Planned, ...], t: int) -> int:
    """Return the bits of the plans in force at a time."""
    bits = 0
    for plan in plans:
        if plan.start <= t < plan.end:
            bits |= PLANS[plan.kind]
    return bits
