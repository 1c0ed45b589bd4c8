"""Deliveries as one structured array: numbers in columns, repeated words by code.

A simulated day is a few hundred thousand rows of which each repeats a handful of words (sender,
network, client, verdict). Rows therefore hold codes of a `Vocabulary`, whose entries are groups of
fields of the callback event that always come together. Rendering (`jsonl.py`) turns each group
into text once; another backend can turn it into columns once.
"""

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Word: TypeAlias = str | int | float | bool
Rows: TypeAlias = npt.NDArray[np.void]
Times: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

DELIVERY: Final = np.dtype(
    [
        ("at", "i8"),  # received_at, microseconds since 1970
        ("sender", "i2"),  # index into the fleet; -1 = nobody's (scanners)
        ("id", "u8", 2),  # random bits of the record's UUID
        ("who", "i4"),  # word: sender, provider, kind, endpoint, method, content type
        ("receiver", "i4"),  # word: receiver
        ("origin", "i4"),  # word: address, how far it can be believed, asn, country
        ("client", "i4"),  # word: user agent, TLS and client certificate fingerprints
        ("key", "i4"),  # word: key id
        ("event_type", "i4"),  # word: event type
        ("outcome", "i4"),  # word: verdict, reason, signature_ok, duplicate, status
        ("signed_at", "i8"),  # 0 = nothing is signed with a time
        ("created_at", "i8"),  # 0 = the provider does not say
        ("delivery", "u8", 2),  # fingerprints; 0 0 = none
        ("signature", "u8", 2),
        ("body", "u8", 2),
        ("path", "u8", 2),
        ("body_bytes", "i8"),
        ("duration_ms", "f8"),
        ("attempt", "u2"),  # 0 = no retry header
    ]
)
NOTHING: Final = 0


class Vocabulary:
    """Groups of event fields by code; equal groups have one code, and code 0 is no field at all.

    >>> words = Vocabulary()
    >>> words.code(key_id="k1"), words.code(key_id="k2"), words.code(key_id="k1")
    (1, 2, 1)
    >>> words.json(1)
    ',"key_id":"k1"'
    >>> words.fields(2)
    {'key_id': 'k2'}
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {"": NOTHING}
        self._json: list[str] = [""]
        self._fields: list[Mapping[str, Word]] = [{}]

    def __len__(self) -> int:
        return len(self._json)

    def code(self, **fields: Word | None) -> int:
        """The code of these fields; those that are None are left out."""
        present = {name: value for name, value in fields.items() if value is not None}
        text = json.dumps(present, separators=(",", ":"))[1:-1]
        text = f",{text}" if text else ""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self._json)
            self._json.append(text)
            self._fields.append(present)
        return found

    def json(self, code: int) -> str:
        """The fields of a code as JSON members, each after a comma."""
        return self._json[code]

    def texts(self) -> npt.NDArray[np.object_]:
        """All members by code, to be taken by arrays of codes."""
        return np.array(self._json, dtype=object)

    def fields(self, code: int) -> dict[str, Word]:
        """The fields of a code."""
        return dict(self._fields[code])


def empty_rows(count: int) -> Rows:
    """So many rows of which every field is 0, that is: nothing."""
    return np.zeros(count, dtype=DELIVERY)


def fresh_bits(rng: np.random.Generator, count: int) -> npt.NDArray[np.uint64]:
    """Random 128-bit values as pairs: what a keyed fingerprint of something new looks like."""
    return rng.integers(1, 2**64 - 1, size=(count, 2), dtype=np.uint64)


def in_order(rows: Rows) -> Rows:
    """The rows by time received; equal times keep their order."""
    return rows[np.argsort(rows["at"], kind="stable")]
