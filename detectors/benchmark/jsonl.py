"""Deliveries as JSON lines: the bytes that a receiver would have published."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.columns import Rows, Times, Vocabulary

CHUNK: Final = 50_000
_WORDS: Final = ("who", "receiver", "origin", "client", "key", "event_type", "outcome")
_FINGERPRINTS: Final = ("delivery", "signature", "body", "path")


def render(rows: Rows, words: Vocabulary, *, chunk: int = CHUNK) -> Iterator[bytes]:
    """Yields the rows as JSON lines, a chunk of whole lines at a time; null fields are left out."""
    texts = words.texts()
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        yield ("\n".join(_lines(part, texts)) + "\n").encode()


def _lines(rows: Rows, texts: npt.NDArray[np.object_]) -> list[str]:
    # Joining ready-made members is ten times faster than encoding a dictionary per event.
    columns = [
        [f'{{"schema":1,"id":"{uuid}"' for uuid in uuids(rows["id"])],
        [f',"received_at":"{at}"' for at in rfc3339(rows["at"], "us")],
        *(texts[rows[name]].tolist() for name in _WORDS),
        _member("signed_at", rfc3339(rows["signed_at"], "s"), rows["signed_at"] > 0),
        _member("event_created_at", rfc3339(rows["created_at"], "s"), rows["created_at"] > 0),
        *(
            _member(f"{name}_fp", hex_digits(rows[name]), rows[name].any(axis=1))
            for name in _FINGERPRINTS
        ),
        [f',"attempt":{number}' if number else "" for number in rows["attempt"].tolist()],
        [f',"duration_ms":{ms}' for ms in np.round(rows["duration_ms"], 1).tolist()],
        [f',"body_bytes":{size}}}' for size in rows["body_bytes"].tolist()],
    ]
    return list(map("".join, zip(*columns, strict=True)))


def _member(name: str, values: list[str], present: npt.ArrayLike) -> list[str]:
    there_are = np.asarray(present)
    if not there_are.any():
        return [""] * len(values)
    return [
        f',"{name}":"{value}"' if there else ""
        for value, there in zip(values, there_are.tolist(), strict=True)
    ]


def rfc3339(times: Times, unit: str) -> list[str]:
    """Times as RFC 3339 in UTC, down to `unit` (`s` or `us`).

    >>> rfc3339(np.array([1_750_204_800_000_001]), "us")
    ['2025-06-18T00:00:00.000001Z']
    """
    texts = np.datetime_as_string(times.astype("datetime64[us]").astype(f"datetime64[{unit}]"))
    return [f"{text}Z" for text in texts.tolist()]


def hex_digits(bits: npt.NDArray[np.uint64]) -> list[str]:
    """128-bit values as 32 hexadecimal digits.

    >>> hex_digits(np.array([[1, 255]], dtype=np.uint64))
    ['000000000000000100000000000000ff']
    """
    digits = bits.astype(">u8").tobytes().hex()
    return [digits[start : start + 32] for start in range(0, len(digits), 32)]


def uuids(bits: npt.NDArray[np.uint64]) -> list[str]:
    """128 random bits as random UUIDs (version 4, RFC 9562 variant).

    >>> uuids(np.array([[0, 0]], dtype=np.uint64))
    ['00000000-0000-4000-8000-000000000000']
    """
    return [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}" for h in hex_digits(marked(bits))]


def marked(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The bits of those UUIDs."""
    found = bits.astype(np.uint64)
    high, low = np.uint64(0xFFFFFFFFFFFF0FFF), np.uint64(0x3FFFFFFFFFFFFFFF)
    found[:, 0] = (found[:, 0] & high) | np.uint64(0x4000)
    found[:, 1] = (found[:, 1] & low) | np.uint64(0x8000000000000000)
    return found
