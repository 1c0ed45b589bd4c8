"""Names of events as keys, and what was found out about them, remembered between batches.

What is no canonical form (ASCII text without control characters, an address as it is written
usually) raises ``NotCanonicalError`` where it is met: the model decides about it.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TypeVar

from detectors.config import Config
from detectors.keys import name_key
from ingest.prefix import source_prefix

K = TypeVar("K")
V = TypeVar("V")
REMEMBERED_NAMES = 1 << 16
"""Names whose keys are remembered between batches; then the memory starts afresh."""
_VERSIONS = re.compile(r"(?<=/)[^\s;,()]+|[0-9]+")
"""What changes with every build of a client: all that follows a slash, and digits elsewhere."""


class NotCanonicalError(Exception):
    """A fast way does not take this event; the model decides."""


class Names:
    """What names stand for under one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._names: dict[str, int] = {}
        self._clients: dict[tuple[str | None, str | None, str | None], int] = {}
        self._receivers: dict[str, tuple[int, int]] = {}
        self._addresses: dict[str, tuple[int, int]] = {}
        self._ranges: dict[tuple[int, str], int] = {}

    def name(self, name: str, canonical: bool) -> int:
        """Return the key of a name."""
        if (known := self._names.get(name)) is not None:
            return known
        if not canonical and name and not (name.isascii() and name.isprintable()):
            raise NotCanonicalError
        return remember(self._names, name, name_key(name))

    def receiver(self, text: str, canonical: bool) -> tuple[int, int]:
        """Return the keys of a receiver and of its service."""
        if (known := self._receivers.get(text)) is not None:
            return known
        build = text.partition("@")[0]
        self.name(text, canonical)
        keys = (name_key(build), name_key(build.partition("/")[0]))
        return remember(self._receivers, text, keys)

    def client(self, client: tuple[str | None, str | None, str | None]) -> int:
        """Return the key of a client: its agent without versions, and its fingerprints."""
        if client == (None, None, None):
            return 0
        if (known := self._clients.get(client)) is not None:
            return known
        agent, tls, certificate = client
        family = _VERSIONS.sub("", agent or "")
        return remember(self._clients, client, name_key(f"{family}\0{tls}\0{certificate}"))

    def address(self, text: str) -> tuple[int, int]:
        """Return the keys of an address and of its network."""
        if (known := self._addresses.get(text)) is not None:
            return known
        if str(ip_address(text)) != text or text.startswith("::ffff:"):
            raise NotCanonicalError
        source = name_key(source_prefix(text))
        address = source if ":" in text else name_key(text)  # a host may have 2^64 of IPv6
        return remember(self._addresses, text, (address, source))

    def in_range(self, who: int, address: str) -> int:
        """Return 1 for an address inside the ranges of a class, 0 outside, -1 without ranges."""
        networks = self._config.networks[who]
        if not networks:
            return -1
        known = self._ranges.get((who, address))
        if known is None:
            ip = ip_address(address)
            inside = int(any(ip in network for network in networks))
            known = remember(self._ranges, (who, address), inside)
        return known


def remember(memory: dict[K, V], name: K, value: V) -> V:
    """Keep a value; a memory that is full starts afresh."""
    if len(memory) >= REMEMBERED_NAMES:
        memory.clear()
    memory[name] = value
    return value
