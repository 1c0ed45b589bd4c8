"""Addresses by number are what they are by the objects of the standard library."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.config import Config
from detectors.keys import name_key
from detectors.naming import Names, NotCanonicalError
from ingest.inventory import Inventory, Sender
from ingest.prefix import prefix_of, source_prefix

RANGES = (
    "192.0.2.0/25", "192.0.2.128/26", "192.0.2.0/24", "198.51.100.7/32", "0.0.0.0/8",
    "255.255.255.0/24", "2001:db8::/48", "2001:db8:1::/48", "2001:db8:1:2::/64", "::/96",
    "ffff:ffff::/32",
)  # fmt: skip
NUMBERS6 = st.integers(0, 2**128 - 1) | st.integers(0, 2**16).map(lambda n: n << 80)
EDGES = [
    type(end)(min(max(int(end) + by, 0), 2**end.max_prefixlen - 1))
    for network in map(ip_network, RANGES)
    for end in (network[0], network[-1])
    for by in (-1, 0, 1)
]
ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address), NUMBERS6.map(IPv6Address), st.sampled_from(EDGES)
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(ADDRESSES)
@example(IPv6Address("::"))
@example(IPv6Address("0:0:1::1"))
@example(IPv6Address("1:0:0:1::"))
def test_a_prefix_is_the_network_of_its_address(address: IPv4Address | IPv6Address) -> None:
    """A /24 or a /48, written as a network object writes itself."""
    size = 24 if isinstance(address, IPv4Address) else 48
    assert prefix_of(address) == str(ip_network((address, size), strict=False))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(ADDRESSES)
def test_an_address_is_in_range_where_a_network_holds_it(
    address: IPv4Address | IPv6Address,
) -> None:
    """Ranges that overlap, touch, or end with the last address, of both versions."""
    config = Config(inventory=Inventory(senders={"s": Sender("s", "stripe", ranges=RANGES)}))
    networks = [ip_network(text) for text in RANGES]
    inside = any(address in network for network in networks)
    who = config.who("s", "stripe", 0)
    assert Names(config).in_range(who, str(address)) == int(inside)


def test_without_ranges_no_address_is_inside_or_outside() -> None:
    """A class that has no ranges says nothing of an address."""
    config = Config()
    assert Names(config).in_range(config.who("s", None, 0), "192.0.2.1") == -1


def test_addresses_have_the_keys_of_their_networks() -> None:
    """An IPv4 address has a key of its own, one of IPv6 that of its network."""
    names = Names(Config())
    assert names.address("192.0.2.1") == (name_key("192.0.2.1"), name_key("192.0.2.0/24"))
    source = name_key(source_prefix("2001:db8::1"))
    assert names.address("2001:db8::1") == (source, source)


@pytest.mark.parametrize(
    "text",
    ["2001:DB8::1", "::ffff:192.0.2.1", "::ffff:c000:201", "fe80::1%eth0", "1.2.3", "1::2::3"],
)
def test_other_spellings_are_left_to_the_model(text: str) -> None:
    """What is no address, or not as it is written usually, is refused."""
    with pytest.raises((NotCanonicalError, ValueError)):
        Names(Config()).address(text)
