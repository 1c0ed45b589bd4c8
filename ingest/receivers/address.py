# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Whose address an event carries: the peer's, or a client's that trusted proxies have named.

Headers are read from the right, where our own proxies write, and only as far as they are ours:
whatever stands further left was written by the caller.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Literal

from ..prefix import hop_ip, normal_ip, source_prefix
from ..vocabulary import SourceIpFrom

ForwardedHeader = Literal["x-forwarded-for", "forwarded"]
IpMode = Literal["full", "truncate", "pseudonym"]

NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the peer of a unix socket has none
MIN_IP_KEY_BYTES: Final = 16
_MOST_HOPS: Final = 32
_LONGEST_HEADER: Final = 4_096

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxies are believed: the last `count` before the receiver, or those in `networks`.

    header: the one that they write; the other one is the caller's and never read.
    unix: a peer without an address (a unix socket) is one of them, where networks are given.
    """

    count: int = 0
    networks: tuple[Network, ...] = ()
    header: ForwardedHeader = "x-forwarded-for"
    unix: bool = False

    def __bool__(self) -> bool:
        return self.count > 0 or bool(self.networks) or self.unix


def parse_proxies(text: str, header: ForwardedHeader = "x-forwarded-for") -> Proxies:
    """A number of proxies, or their networks and `unix`; ValueError when it is neither.

    >>> parse_proxies("2").count, [str(n) for n in parse_proxies("10.0.0.0/8, ::1").networks]
    (2, ['10.0.0.0/8', '::1/128'])
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        if int(text) > _MOST_HOPS:
            msg = f"trusted proxies: allowed are 0 to {_MOST_HOPS}; given {int(text)}"
            raise ValueError(msg)
        return Proxies(count=int(text), header=header)
    parts = text.replace(",", " ").split()
    try:
        found = tuple(ip_network(part) for part in parts if part != "unix")
    except ValueError:
        msg = "trusted proxies: allowed are a number, or networks such as 10.0.0.0/8, ::1, or unix"
        raise ValueError(msg) from None
    return Proxies(networks=found, header=header, unix="unix" in parts)


def client_address(
    peer: str | None, headers: Sequence[str], proxies: Proxies
) -> tuple[str, SourceIpFrom]:
    """The address of an event, and how much it can be believed.

    headers: the values of `proxies.header`, in the order in which they came.

    >>> one = Proxies(count=1)
    >>> client_address("10.0.0.2", ["6.6.6.6, 192.0.2.7"], one)
    ('192.0.2.7', <SourceIpFrom.TRUSTED_PROXY: 'trusted_proxy'>)
    >>> client_address("192.0.2.7", [], one)
    ('192.0.2.7', <SourceIpFrom.SOCKET: 'socket'>)
    """
    socket = _normal(peer or "")
    if proxies and headers:
        hops = _hops(headers, proxies.header)
        found = (
            _counted(hops, proxies) if proxies.count else _known(socket, not peer, hops, proxies)
        )
        if found is not None:
            return found, SourceIpFrom.TRUSTED_PROXY
    if socket is None:
        return NO_ADDRESS, SourceIpFrom.UNTRUSTED_HEADER
    return socket, SourceIpFrom.SOCKET


def _counted(hops: list[str], proxies: Proxies) -> str | None:
    """What the outermost of our proxies saw; None when fewer have written than there are."""
    return _normal(hops[-proxies.count]) if len(hops) >= proxies.count else None


def _known(socket: str | None, absent: bool, hops: list[str], proxies: Proxies) -> str | None:
    """The first address from the right that is no proxy of ours; None when the peer is none."""
    if not (proxies.unix if absent else socket and _trusted(socket, proxies.networks)):
        return None
    found = None
    for hop in reversed(hops):
        found = _normal(hop)
        if found is None or not _trusted(found, proxies.networks):
            break
    return found


def _hops(headers: Sequence[str], header: ForwardedHeader) -> list[str]:
    """The addresses that the headers name, the nearest last; bounded from the right."""
    text = ",".join(headers)[-_LONGEST_HEADER:]
    parts = text.split(",")[-_MOST_HOPS:]
    if header == "x-forwarded-for":
        return [part.strip() for part in parts]
    hops = []
    for part in parts:
        named = ""
        for pair in part.split(";"):
            name, _, value = pair.partition("=")
            if name.strip().lower() == "for":
                named = value.strip().strip('"')
        hops.append(named)
    return hops


@lru_cache(maxsize=16_384)
def _normal(text: str) -> str | None:
    """An address in canonical form without its port, or None.

    >>> _normal("[2001:DB8::1]:443"), _normal("192.0.2.7:80"), _normal("fe80::1%eth0")
    ('2001:db8::1', '192.0.2.7', 'fe80::1')
    """
    return hop_ip(text.partition("%")[0] if ":" in text else text)  # no zone of a link


@lru_cache(maxsize=16_384)
def _trusted(address: str, networks: tuple[Network, ...]) -> bool:
    found = normal_ip(address)
    return any(found.version == network.version and found in network for network in networks)


@dataclass(frozen=True, slots=True)
class Privacy:
    """How much of an address leaves the receiver.

    truncate: its network, /24 or /48; detection is by these networks anyway.
    pseudonym: an address in fd00::/8 under `key`: equal networks stay equal /48s and equal
        addresses equal, but published ranges cannot be compared. With `days` the key changes
        every so many days (in UTC), and every source is new then.
    """

    mode: IpMode = "full"
    key: bytes = field(default=b"", repr=False)
    days: int = 0

    def __post_init__(self) -> None:
        if self.mode == "pseudonym" and len(self.key) < MIN_IP_KEY_BYTES:
            msg = f"IP key: allowed are {MIN_IP_KEY_BYTES} bytes and more; given {len(self.key)}"
            raise ValueError(msg)

    def shown(self, address: str, day: int) -> str:
        """What is told of an address on a day (counted from 1970).

        >>> Privacy("truncate").shown("192.0.2.7", 0)
        '192.0.2.0'
        >>> hidden = Privacy("pseudonym", bytes(16))
        >>> a, b = hidden.shown("192.0.2.7", 0), hidden.shown("192.0.2.8", 0)
        >>> a != b, source_prefix(a) == source_prefix(b), a[:2]
        (True, True, 'fd')
        """
        if self.mode == "full" or address == NO_ADDRESS:
            return address
        prefix = source_prefix(address)
        if self.mode == "truncate":
            return prefix.partition("/")[0]
        period = day // self.days if self.days else 0
        network = hmac.digest(self.key, f"network {period} {prefix}".encode(), "sha256")
        host = hmac.digest(self.key, f"address {period} {address}".encode(), "sha256")
        return str(IPv6Address(b"\xfd" + network[:5] + host[:10]))
