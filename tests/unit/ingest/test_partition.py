"""Keys, networks and partitions, against Kafka's own partitioner."""

import random
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_murmur2

from ingest.partition import murmur2, partition_for, record_key
from ingest.prefix import source_prefix
from ingest.schema import CallbackEvent
from ingest.vocabulary import clean_ip, clean_text


@given(st.binary(max_size=64))
def test_murmur2_is_kafkas(key: bytes) -> None:
    """Every key hashes as kafka-python hashes it."""
    assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_murmur2_is_javas(key: bytes, expected: int) -> None:
    """The vectors of the Java client's own test (UtilsTest.testMurmur2) hold."""
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_partitions_are_in_range_and_all_used() -> None:
    """A thousand senders reach every one of 12 partitions and no other."""
    rng = random.Random(1)
    used = {partition_for(rng.randbytes(12), 12) for _ in range(1_000)}
    assert used == set(range(12))
    with pytest.raises(ValueError, match="allowed are 1 and more; given 0"):
        partition_for(b"a", 0)


def test_the_key_is_the_sender_or_else_the_network(event: dict[str, Any]) -> None:
    """Events of a sender share a key; those that claim none are kept together by network."""
    one = CallbackEvent.model_validate_json(_json(event))
    none = CallbackEvent.model_validate_json(_json(event | {"sender": "(unknown)"}))
    assert (record_key(one), record_key(none)) == (b"acme-stripe", b"192.0.2.0/24")


@given(st.ip_addresses())
def test_a_prefix_is_the_network_around_its_address(address: Any) -> None:
    """The prefix is the /24 or /48 that holds the address."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    network = ip_network(source_prefix(str(address)))
    assert mapped in network
    assert network.prefixlen == (24 if mapped.version == 4 else 48)


@given(st.text())
def test_cleaned_text_fits_a_field(text: str) -> None:
    """Whatever a stranger wrote becomes valid text within the limit, or None."""
    cleaned = clean_text(text, 16)
    assert cleaned is None or 0 < len(cleaned) <= 16
    if cleaned is not None:
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in cleaned)
        cleaned.encode()


@given(st.text() | st.ip_addresses().map(str) | st.none())
def test_a_cleaned_address_is_an_address(value: str | None) -> None:
    """Anything that is no address becomes None, never an error."""
    cleaned = clean_ip(value)
    assert cleaned is None or str(ip_address(cleaned)) == cleaned


def _json(fields: dict[str, Any]) -> str:
    import json

    return json.dumps(fields)
