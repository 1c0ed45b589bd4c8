"""Which partition a record belongs to, as every Kafka client with murmur2 decides it.

All events of a sender must meet in one partition, because its baseline lives there. Producers
written on librdkafka need `partitioner=murmur2` for the same result.
"""

from typing import Final

from .prefix import source_prefix
from .schema import UNKNOWN_SENDER, CallbackEvent

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash of Kafka's Java client, unsigned.

    >>> murmur2(b"acme-stripe")
    893628511
    """
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a key among `partitions` (>= 1).

    >>> partition_for(b"acme-stripe", 6)
    1
    """
    if partitions < 1:
        msg = f"partitions: allowed are 1 and more; given {partitions}"
        raise ValueError(msg)
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def record_key(event: CallbackEvent) -> bytes:
    """The key of an event's record: its sender, or the source's network where none is claimed."""
    if event.sender == UNKNOWN_SENDER:
        return source_prefix(event.source_ip).encode()
    return record_key_of(event.sender)


def record_key_of(sender: str) -> bytes:
    """The key of all records about a sender."""
    return sender.encode()
