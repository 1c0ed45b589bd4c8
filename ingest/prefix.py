"""Networks that sources are counted by: /24 for IPv4 and /48 for IPv6."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address


def normal_ip(text: str) -> IPv4Address | IPv6Address:
    """An address, an IPv4-mapped one as IPv4; ValueError when it is none or has a zone.

    >>> normal_ip("::ffff:192.0.2.7")
    IPv4Address('192.0.2.7')
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            msg = "an IP address without a zone"
            raise ValueError(msg)
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


@lru_cache(maxsize=65_536)
def source_prefix(ip: str) -> str:
    """The network of a source in CIDR form; an IPv4-mapped address counts as IPv4.

    >>> [source_prefix(ip) for ip in ("192.0.2.7", "2001:db8:1:2::3", "::ffff:192.0.2.7")]
    ['192.0.2.0/24', '2001:db8:1::/48', '192.0.2.0/24']
    """
    return prefix_of(normal_ip(ip))


def prefix_of(address: IPv4Address | IPv6Address) -> str:
    """The network of an address as it stands, written from its number: no object is made of it.

    >>> prefix_of(ip_address("2001:db8::3")), prefix_of(ip_address("::1"))
    ('2001:db8::/48', '::/48')
    """
    number = int(address)
    if isinstance(address, IPv4Address):
        return f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.0/24"
    # the five groups behind are zeros, so these and those before them are the longest row of zeros
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in (112, 96, 80)]
    while groups and groups[-1] == "0":
        groups.pop()
    return ":".join(groups) + "::/48"


def hop_ip(text: str) -> str | None:
    """An address as proxies write it, in canonical form without its port; None when it is none.

    >>> hop_ip("[2001:DB8::1]:443"), hop_ip("192.0.2.7:80"), hop_ip("unknown")
    ('2001:db8::1', '192.0.2.7', None)
    """
    if len(text) > 64:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(normal_ip(text))
    except ValueError:
        return None
