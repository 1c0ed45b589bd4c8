"""Whose address is recorded: no caller can choose it, and no more of it is told than is set."""

import doctest
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.prefix import normal_ip, source_prefix
from ingest.receivers import address, routes
from ingest.receivers.address import Privacy, Proxies, client_address, parse_proxies
from ingest.vocabulary import SourceIpFrom

TWO = Proxies(count=2)
OURS = parse_proxies("10.0.0.0/8, fd00::/8")
UNIX = parse_proxies("unix 10.0.0.0/8")
NOBODY = ("0.0.0.0", SourceIpFrom.UNTRUSTED_HEADER)
ADDRESSES = (
    st.ip_addresses().map(lambda one: str(normal_ip(str(one)))).filter(lambda one: one != "0.0.0.0")
)
SOCKET, PROXY = SourceIpFrom.SOCKET, SourceIpFrom.TRUSTED_PROXY


@pytest.mark.parametrize("module", [address, routes])
def test_examples_in_docstrings_are_true(module: object) -> None:
    """What the docstrings show is what the code gives."""
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "headers", "proxies", "expected"),
    [
        ("192.0.2.7", ["6.6.6.6"], Proxies(), ("192.0.2.7", SOCKET)),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.7, 10.0.0.9"], TWO, ("192.0.2.7", PROXY)),
        ("10.0.0.1", ["6.6.6.6", "192.0.2.7, 10.0.0.9"], TWO, ("192.0.2.7", PROXY)),
        ("10.0.0.1", ["10.0.0.9"], TWO, ("10.0.0.1", SOCKET)),  # came past a proxy
        ("10.0.0.1", ["what, 10.0.0.9"], TWO, ("10.0.0.1", SOCKET)),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.7, 10.0.0.9"], OURS, ("192.0.2.7", PROXY)),
        ("192.0.2.9", ["6.6.6.6"], OURS, ("192.0.2.9", SOCKET)),  # no proxy of ours
        ("10.0.0.1", ["10.0.0.3, 10.0.0.9"], OURS, ("10.0.0.3", PROXY)),
        ("10.0.0.1", ["192.0.2.7, unknown"], OURS, ("10.0.0.1", SOCKET)),
        ("fd00::1", ["[2001:db8::7]:443"], OURS, ("2001:db8::7", PROXY)),
        ("::ffff:10.0.0.1", ["192.0.2.7:1234"], OURS, ("192.0.2.7", PROXY)),
        (None, ["192.0.2.7"], Proxies(count=1), ("192.0.2.7", PROXY)),  # a unix socket
        (None, ["192.0.2.7"], UNIX, ("192.0.2.7", PROXY)),
        ("", ["192.0.2.7, 10.0.0.3"], UNIX, ("192.0.2.7", PROXY)),
        (None, ["6.6.6.6"], OURS, NOBODY),
        ("testclient", ["6.6.6.6"], OURS, NOBODY),
        ("testclient", ["6.6.6.6"], UNIX, NOBODY),
        ("fe80::1%eth0", ["6.6.6.6"], OURS, ("fe80::1", SOCKET)),
        ("fd00::1%eth0", ["192.0.2.7"], OURS, ("192.0.2.7", PROXY)),
        (None, [], Proxies(), ("0.0.0.0", SourceIpFrom.UNTRUSTED_HEADER)),
        ("testclient", [], Proxies(), ("0.0.0.0", SourceIpFrom.UNTRUSTED_HEADER)),
    ],
)
def test_the_client_is_who_our_own_proxies_saw(
    peer: str | None, headers: list[str], proxies: Proxies, expected: tuple[str, SourceIpFrom]
) -> None:
    """Headers are read from the right as far as they are ours; else the peer is recorded."""
    assert client_address(peer, headers, proxies) == expected


def test_the_other_header_is_the_callers() -> None:
    """`Forwarded` is read where our proxies write it, quoted, with ports and IPv6."""
    one = Proxies(count=1, header="forwarded")
    headers = ['for=6.6.6.6, For="[2001:db8::7]:443";proto=https;by=10.0.0.1']
    assert client_address("10.0.0.1", headers, one) == ("2001:db8::7", PROXY)
    assert client_address("10.0.0.1", ["for=_hidden"], one) == ("10.0.0.1", SOCKET)


def test_a_flood_of_hops_costs_little() -> None:
    """Only the end of a huge header is read."""
    header = "6.6.6.6," * 100_000 + "192.0.2.7"
    assert client_address("10.0.0.1", [header], Proxies(count=1)) == ("192.0.2.7", PROXY)


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=4), st.integers(0, 3))
def test_any_text_gives_an_address(peer: str, headers: list[str], count: int) -> None:
    """Whatever headers hold, the result is an address in canonical form."""
    for proxies in (Proxies(count=count), OURS, Proxies(count=count, header="forwarded")):
        found, _ = client_address(peer, headers, proxies)
        assert str(ip_address(found)) == found


@pytest.mark.parametrize("text", ["33", "10.0.0.1/8", "proxy", "-1"])
def test_wrong_proxies_are_refused(text: str) -> None:
    """What is neither a number nor networks is an error."""
    with pytest.raises(ValueError, match="trusted proxies: allowed are"):
        parse_proxies(text)


@given(ADDRESSES, ADDRESSES, st.integers(0, 60_000))
def test_pseudonyms_keep_networks_together(one: str, two: str, day: int) -> None:
    """Equal networks stay equal, different addresses differ, and no address shows through."""
    hidden = Privacy("pseudonym", b"k" * 16)
    first, second = (hidden.shown(found, day) for found in (one, two))
    same = source_prefix(one) == source_prefix(two)
    assert (source_prefix(first) == source_prefix(second)) == same
    assert (first == second) == (one == two)
    assert first.startswith("fd")


def test_a_rotating_key_makes_new_pseudonyms() -> None:
    """Within a period they stay, after it nothing of them is known; another key gives others."""
    weekly = Privacy("pseudonym", b"k" * 16, days=7)
    days = [weekly.shown("192.0.2.7", day) for day in range(7, 15)]
    assert len(set(days[:7])) == 1
    assert days[7] not in days[:7]
    assert Privacy("pseudonym", b"j" * 16, days=7).shown("192.0.2.7", 7) != days[0]
    with pytest.raises(ValueError, match="IP key"):
        Privacy("pseudonym", b"short")
    assert "kkkk" not in repr(weekly)
