"""The open incidents of a group, and when their senders began the newest of theirs.

A group may have thousands of members, and each state of each of them asks: what is needed of all
is kept, so that a question takes no walk through them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from alerts.alert import Alert


class Members:
    """Incidents by id, in the order in which they came."""

    def __init__(self) -> None:
        self._of: dict[str, Alert] = {}
        self._opened: dict[str | None, list[int]] = {}
        """Of each sender, sorted."""
        self._newest: list[int] = []
        """When each sender's newest was opened, sorted."""

    def __contains__(self, id_: str) -> bool:
        """Tell whether an incident is a member."""
        return id_ in self._of

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._of)

    def __iter__(self) -> Iterator[Alert]:
        """Walk through the newest state of each."""
        return iter(self._of.values())

    def put(self, alert: Alert) -> None:
        """Take in a member, or another state of one, which keeps its place."""
        known = self._of.get(alert.id)
        self._of[alert.id] = alert
        if known is not None:
            self._note(known, gone=True)
        self._note(alert)

    def pop(self, id_: str) -> Alert | None:
        """Let a member go; return its last state."""
        alert = self._of.pop(id_, None)
        if alert is not None:
            self._note(alert, gone=True)
        return alert

    def newest(self) -> int | None:
        """Return when the newest was opened; None where there is none."""
        return self._newest[-1] if self._newest else None

    def are_of(self, senders: int, since: int) -> bool:
        """Tell whether those that were opened from then on are of so many senders."""
        return len(self._newest) >= senders and self._newest[-senders] >= since

    def _note(self, alert: Alert, *, gone: bool = False) -> None:
        opened = self._opened.setdefault(alert.sender, [])
        if opened:
            del self._newest[bisect_left(self._newest, opened[-1])]
        if gone:
            del opened[bisect_left(opened, alert.opened_at)]
        else:
            insort(opened, alert.opened_at)
        if opened:
            insort(self._newest, opened[-1])
        else:
            del self._opened[alert.sender]
