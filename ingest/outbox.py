"""What waits to be sent, bounded in records and bytes, and the account of everything offered.

At every moment offered = sent + dropped + waiting, where waiting includes what is being encoded
and the batch in flight.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from .records import Outcome, Record

DropPolicy = Literal["newest", "oldest"]


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
    """Totals since the publisher started in this process; `waiting` is the difference.

    judging: calls at a verifier, which are not offered before it is done.
    unjudged: how many went on without its finding, by reason.
    """

    offered: int = 0
    sent: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    waiting_bytes: int = 0
    reports_sent: int = 0
    failures: int = 0
    circuit: str = "closed"
    judging: int = 0
    unjudged: dict[str, int] = field(default_factory=dict)


class Outbox:
    """A bounded queue with its account. Not thread-safe: its owner holds a lock.

    What is put is fresh (a record, or something that a record can be made of) until `unpack` and
    `packed` have made it a record; `take` and `settle` then send it. Order is kept throughout.
    """

    def __init__(self, max_events: int, max_bytes: int, policy: DropPolicy = "newest") -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._drop_oldest = policy == "oldest"
        self._fresh: deque[tuple[int, object]] = deque()
        self._packing: list[tuple[int, object]] = []
        self._waiting: deque[Record] = deque()
        self._in_flight: list[Record] = []
        self._count = 0
        self._bytes = 0
        self.offered = 0
        self.accepted = 0
        self.settled = 0
        self.sent = 0
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        """Memory that the waiting events hold, about."""
        return self._bytes

    @property
    def fresh(self) -> int:
        """How many are still to be made records."""
        return len(self._fresh)

    @property
    def ready(self) -> int:
        """How many records wait for a hand-over."""
        return len(self._waiting) + len(self._in_flight)

    def drop(self, reason: Drop) -> None:
        """Account for an offered event that is not sent."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def put(self, cost: int, thing: object) -> bool:
        """Queue something of about `cost` bytes; False when there is no room."""
        if (self._count >= self._max_events or self._bytes + cost > self._max_bytes) and not (
            self._drop_oldest and self._make_room(cost)
        ):
            return False
        self._fresh.append((cost, thing))
        self._count += 1
        self._bytes += cost
        self.accepted += 1
        return True

    def unpack(self, limit: int) -> list[object]:
        """The oldest fresh things, until `packed` says what became of them."""
        if not self._packing:
            while self._fresh and len(self._packing) < limit:
                self._packing.append(self._fresh.popleft())
        return [thing for _, thing in self._packing]

    def packed(self, results: Sequence[Record | Drop]) -> None:
        """The record of each thing that was unpacked, or why there is none."""
        if not self._packing:  # abandoned meanwhile, and so accounted for
            return
        for (cost, _), result in zip(self._packing, results, strict=True):
            if isinstance(result, Record):
                self._bytes += result.cost - cost
                self._waiting.append(result)
            else:
                self._leaves(cost, result)
        self._packing = []

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
            if outcome is Outcome.SENT:
                self.sent += 1
                self._leaves(record.cost, None)
            else:
                self._leaves(record.cost, Drop.REFUSED_BY_BROKER)
        self._in_flight = []
        self._waiting.extendleft(reversed(kept))

    def put_back(self) -> None:
        """Nothing in flight was taken: it waits again, in order."""
        self.settle([Outcome.RETRY] * len(self._in_flight))

    def abandon(self) -> None:
        """Drop everything that waits, at the end of the process."""
        for _ in range(self._count):
            self.drop(Drop.NOT_SENT_AT_CLOSE)
        self.settled += self._count
        self._fresh.clear()
        self._waiting.clear()
        self._packing = []
        self._in_flight = []
        self._count = self._bytes = 0

    def _leaves(self, cost: int, reason: Drop | None) -> None:
        self._count -= 1
        self._bytes -= cost
        self.settled += 1
        if reason is not None:
            self.drop(reason)

    def _make_room(self, cost: int) -> bool:
        """Drop the oldest that nobody works on; False where even that gives no room."""
        while self._count >= self._max_events or self._bytes + cost > self._max_bytes:
            if cost > self._max_bytes:
                return False
            if self._waiting:
                self._leaves(self._waiting.popleft().cost, Drop.QUEUE_FULL)
            elif self._fresh:
                self._leaves(self._fresh.popleft()[0], Drop.QUEUE_FULL)
            else:
                return False
        return True
