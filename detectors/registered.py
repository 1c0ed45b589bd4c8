"""What the inventory says of an event: whether its sender, and its endpoint, are registered.

An inventory that names no endpoints says nothing of them, and one that names no senders says
nothing of senders. A sender with endpoints of its own is registered there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.inventory import Inventory

GIVEN, SENDER, ENDPOINT, PLACED = 1, 2, 4, 8
"""Bits of the event column ``registered``; 0 without an inventory. PLACED: it says where this
sender calls; where it does not, every endpoint counts as registered."""


@dataclass(frozen=True)
class Register:
    """The names of an inventory."""

    senders: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The endpoints of each sender, none where they are not told."""
    endpoints: frozenset[str] = frozenset()

    def bits(self, sender: str, endpoint: str) -> int:
        """Return what is registered of an event.

        >>> shops = Register({"shop": frozenset({"/hooks/shop"}), "bank": frozenset()})
        >>> shops.bits("shop", "/hooks/bank"), shops.bits("bank", "/any"), shops.bits("x", "/any")
        (11, 7, 5)
        """
        if not self.senders and not self.endpoints:
            return 0
        known = sender in self.senders or not self.senders
        where = self.senders.get(sender) or self.endpoints
        found = ENDPOINT * (endpoint in where or not where) | PLACED * bool(where)
        return GIVEN | SENDER * known | found

    def identity(self) -> list[object]:
        """Return everything that an answer depends on, for the configuration's hash."""
        senders = sorted((name, sorted(of)) for name, of in self.senders.items())
        return [senders, sorted(self.endpoints)]


def register_of(inventory: Inventory) -> Register:
    """Return the names of an inventory."""
    senders = {name: frozenset(one.endpoints) for name, one in inventory.senders.items()}
    return Register(senders, frozenset(inventory.endpoints))
