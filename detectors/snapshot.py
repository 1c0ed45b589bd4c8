"""State as bytes: a header of JSON, arrays as they are, a checksum. Nothing is pickled.

>>> import numpy as np
>>> data = pack({"a": 1}, {"x": np.arange(3)})
>>> header, arrays = unpack(data)
>>> header["a"], arrays["x"].tolist()
(1, [0, 1, 2])
>>> unpack(data[:-1] + bytes([data[-1] ^ 1]))
Traceback (most recent call last):
    ...
detectors.errors.StateError: snapshot: checksum does not match
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.errors import StateError

MAGIC = b"CALLWATCH-STATE-1\n"
CHECK_BYTES = 16


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return header and arrays as bytes; the order of their keys changes nothing."""
    arrays = dict(sorted(arrays.items()))
    kinds = {name: [_kind(a.dtype), len(a)] for name, a in arrays.items()}
    whole = {"header": header, "arrays": kinds}
    text = json.dumps(whole, separators=(",", ":"), sort_keys=True).encode()
    parts = [MAGIC, len(text).to_bytes(8, "big"), text]
    parts += [np.ascontiguousarray(a).tobytes() for a in arrays.values()]
    body = b"".join(parts)
    return body + blake2b(body, digest_size=CHECK_BYTES).digest()


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return header and arrays; StateError where the bytes are no whole snapshot."""
    body, check = data[:-CHECK_BYTES], data[-CHECK_BYTES:]
    if not body.startswith(MAGIC):
        msg = "snapshot: these bytes are no snapshot of this version"
        raise StateError(msg)
    if blake2b(body, digest_size=CHECK_BYTES).digest() != check:
        msg = "snapshot: checksum does not match"
        raise StateError(msg)
    start = len(MAGIC) + 8
    end = start + int.from_bytes(body[len(MAGIC) : start], "big")
    parsed = json.loads(body[start:end])
    arrays = {}
    for name, (kind, length) in parsed["arrays"].items():
        dtype = _dtype(kind)
        arrays[name] = np.frombuffer(body, dtype, length, end)
        end += length * dtype.itemsize
    return parsed["header"], arrays


def _kind(dtype: np.dtype[Any]) -> Any:
    return dtype.descr if dtype.names else dtype.str


def _dtype(kind: Any) -> np.dtype[Any]:
    if isinstance(kind, str):
        return np.dtype(kind)
    return np.dtype([tuple(tuple(x) if isinstance(x, list) else x for x in f) for f in kind])
