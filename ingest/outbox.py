"""What waits to be sent, bounded in records and bytes, and the account of everything offered.

At every moment offered = sent + dropped + waiting, where waiting includes the batch in flight.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from .records import Outcome, Record


class Drop(StrEnum):
    """Why an event that was offered is not on the stream."""

    INVALID = "invalid"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    HOOK_REFUSED = "hook_refused"
    HOOK_FAILED = "hook_failed"
    REFUSED_BY_BROKER = "refused_by_broker"
    CLOSED = "closed"
    NOT_SENT_AT_CLOSE = "not_sent_at_close"
    DISABLED = "disabled"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals since the publisher started in this process; `waiting` is the difference."""

    offered: int = 0
    sent: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    waiting_bytes: int = 0
    reports_sent: int = 0
    failures: int = 0


class Outbox:
    """A bounded queue with its account. Not thread-safe: its owner holds a lock."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: deque[Record] = deque()
        self._in_flight: list[Record] = []
        self._bytes = 0
        self.offered = 0
        self.accepted = 0
        self.settled = 0
        self.sent = 0
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    @property
    def bytes(self) -> int:
        """Memory that the waiting records hold, about."""
        return self._bytes

    def drop(self, reason: Drop) -> None:
        """Account for an offered event that is not sent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def put(self, record: Record) -> bool:
        """Queue a record; False when there is no room."""
        if len(self) >= self._max_events or self._bytes + record.cost > self._max_bytes:
            return False
        self.accepted += 1
        self._waiting.append(record)
        self._bytes += record.cost
        return True

    def take(self, limit: int) -> list[Record]:
        """The oldest records, in flight until `settle` says what became of them."""
        if not self._in_flight:
            while self._waiting and len(self._in_flight) < limit:
                self._in_flight.append(self._waiting.popleft())
        return list(self._in_flight)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """What became of each record in flight; those to retry stay in front, in order."""
        if not self._in_flight:  # abandoned meanwhile, and so accounted for
            return
        kept = []
        for record, outcome in zip(self._in_flight, outcomes, strict=True):
            if outcome is Outcome.RETRY:
                kept.append(record)
                continue
            self._bytes -= record.cost
            self.settled += 1
            if outcome is Outcome.SENT:
                self.sent += 1
            else:
                self.drop(Drop.REFUSED_BY_BROKER)
        self._in_flight = []
        self._waiting.extendleft(reversed(kept))

    def abandon(self) -> None:
        """Drop everything that waits, at the end of the process."""
        for _ in range(len(self)):
            self.drop(Drop.NOT_SENT_AT_CLOSE)
        self.settled += len(self)
        self._waiting.clear()
        self._in_flight = []
        self._bytes = 0
