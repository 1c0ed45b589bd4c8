"""Record batches as brokers keep them, made by aiokafka's own writer; and broken ones."""

import struct
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from crc32c import crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
CONTROL, APPEND_TIME = 0x20, 0x08
ATTRIBUTES, CRC, MAGIC = 21, 17, 16

Headers = list[tuple[str, bytes | None]]


def batch(
    base: int,
    values: Sequence[bytes | None],
    codec: str = "none",
    producer: int | None = None,
    times: Sequence[int] | None = None,
    headers: Headers | None = None,
) -> bytes:
    """A batch at this offset; of a transaction where a producer is given."""
    builder = DefaultRecordBatchBuilder(
        2, CODECS[codec], producer is not None, -1 if producer is None else producer, 0, 0, 1 << 26
    )
    for number, value in enumerate(values):
        time = 1_750_204_800_000 + number if times is None else times[number]
        builder.append(number, time, f"k{number}".encode(), value, headers or [])
    return changed(bytes(builder.build()), 0, struct.pack(">q", base))


def marker(base: int, producer: int, kind: bytes) -> bytes:
    """What ends a transaction."""
    builder = DefaultRecordBatchBuilder(2, 0, True, producer, 0, 0, 1 << 16)
    builder.append(0, 1_750_204_800_000, kind, b"\x00\x00\x00\x00\x00\x00", [])
    made = bytes(builder.build())
    attributes = struct.unpack_from(">h", made, ATTRIBUTES)[0] | CONTROL
    made = changed(made, ATTRIBUTES, struct.pack(">h", attributes))
    return changed(made, 0, struct.pack(">q", base))


def changed(data: bytes, at: int, new: bytes, *, crc: bool = True) -> bytes:
    """The batch with other bytes in one place, and the checksum that fits them."""
    made = bytearray(data)
    made[at : at + len(new)] = new
    if crc:
        made[CRC : CRC + 4] = struct.pack(">I", crc32c(bytes(made[ATTRIBUTES:])))
    return bytes(made)
