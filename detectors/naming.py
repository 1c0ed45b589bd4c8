"""Names of events as keys, and what was found out about them, remembered between batches.

An address that is not written as usual raises ``NotCanonicalError``: the model decides about it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses
from typing import TypeVar

from detectors.config import Config, Network
from detectors.keys import name_key
from ingest.prefix import prefix_of

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
        self._edges: dict[int, _Edges] = {}

    def name(self, name: str) -> int:
        """Return the key of a name."""
        if (known := self._names.get(name)) is not None:
            return known
        return remember(self._names, name, name_key(name))

    def receiver(self, text: str) -> tuple[int, int]:
        """Return the keys of a receiver and of its service."""
        if (known := self._receivers.get(text)) is not None:
            return known
        build = text.partition("@")[0]
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
        ip = _parsed(text)
        if str(ip) != text or text.startswith("::ffff:") or "%" in text:
            raise NotCanonicalError
        source = name_key(prefix_of(ip))
        address = source if ":" in text else name_key(text)  # a host may have 2^64 of IPv6
        return remember(self._addresses, text, (address, source))

    def in_range(self, who: int, address: str) -> int:
        """Return 1 for an address inside the ranges of a class, 0 outside, -1 without ranges."""
        networks = self._config.networks[who]
        if not networks:
            return -1
        known = self._ranges.get((who, address))
        if known is None:
            edges = self._edges.get(who)
            if edges is None:
                edges = self._edges[who] = _edges(networks)
            ip = _parsed(address)
            inside = bisect_right(edges[type(ip)], int(ip)) & 1
            known = remember(self._ranges, (who, address), inside)
        return known


_Edges = dict[type[IPv4Address] | type[IPv6Address], list[int]]


@lru_cache(maxsize=64)  # who asks for its keys asks for its ranges next
def _parsed(text: str) -> IPv4Address | IPv6Address:
    """Return an address; ValueError where it is none."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _edges(networks: Iterable[Network]) -> _Edges:
    """Return where ranges begin and end, in order: inside is what an odd number of edges precede.

    A published list may have thousands of ranges, and each new address is looked for in it.
    """
    found: _Edges = {IPv4Address: [], IPv6Address: []}
    for one in collapse_addresses(n for n in networks if isinstance(n, IPv4Network)):
        found[IPv4Address] += int(one[0]), int(one[-1]) + 1
    for other in collapse_addresses(n for n in networks if isinstance(n, IPv6Network)):
        found[IPv6Address] += int(other[0]), int(other[-1]) + 1
    return found


def remember(memory: dict[K, V], name: K, value: V) -> V:
    """Keep a value; a memory that is full starts afresh."""
    if len(memory) >= REMEMBERED_NAMES:
        memory.clear()
    memory[name] = value
    return value
