"""A model as a file that cannot do harm: a card in JSON, two plain arrays, a checksum.

Nothing is pickled, so reading a model runs nothing of it. Sizes are bounded before anything is
unpacked; every cut must look at a number that exists and every leaf must have a length, so that
scoring can neither read foreign memory nor fail. A model of other features, or of another layout,
is refused: its cuts would look at something else. The checksum finds damage, not forgery: whoever
can write the file could train a blind model as well. It is named by its hash in every alert's
``config``.

>>> stored = StoredModel(forest.example_model(), ModelCard(trained_on=("nothing",), seed=1))
>>> data = to_bytes(stored)
>>> from_bytes(data).card.seed, from_bytes(data).hash == stored.hash
(1, True)
>>> from_bytes(data[:-1] + b"!")
Traceback (most recent call last):
models.store.ModelError: the checksum does not fit: the file is damaged
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from models import features, forest

MAGIC = b"callwatch model 1\n"
MOST_BYTES = 1 << 20
MOST_PATH = 64.0
GRAVEST = ("info", "low")
_CHECKSUM = 32


class ModelError(ValueError):
    """A model's file cannot be used; the message says why."""


@dataclass(frozen=True)
class ModelCard:
    """What a model was made of, and how; for people, and for the next one who trains."""

    trained_on: tuple[str, ...] = ()
    """Names of the files."""
    since: str = ""
    until: str = ""
    """First and last event, RFC 3339."""
    events: int = 0
    senders: int = 0
    windows: int = 0
    """Fitted; the others below were held out."""
    held_out: int = 0
    false_rate: float = 0.0
    """Share of held-out windows that the limit was set to call outliers."""
    held_out_rate: float = 0.0
    """Share that it did."""
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class StoredModel:
    """A model with its card."""

    record: Any
    """One ``forest.MODEL``."""
    card: ModelCard = field(default_factory=ModelCard)

    @cached_property
    def hash(self) -> str:
        """12 hex digits of the whole file."""
        return hashlib.sha256(to_bytes(self)).hexdigest()[:12]


def to_bytes(model: StoredModel) -> bytes:
    """Return the file of a model; equal models give equal bytes."""
    used = int(model.record["trees"]) * forest.NODES
    header = {
        "layout": features.LAYOUT,
        "features": list(features.NAMES),
        "depth": forest.DEPTH,
        "trees": int(model.record["trees"]),
        "limit": float(model.record["limit"]),
        "gravest": GRAVEST[int(model.record["gravest"]) > 1],
        "path": float(model.record["path"]),
        "card": asdict(model.card),
    }
    text = json.dumps(header, sort_keys=True, indent=1).encode()
    look = np.asarray(model.record["look"][:used], "<i1").tobytes()
    value = np.asarray(model.record["value"][:used], "<f4").tobytes()
    arrays = zlib.compress(look + value, 9)  # most nodes of a heap are empty
    body = MAGIC + len(text).to_bytes(4, "little") + text + arrays
    return body + hashlib.sha256(body).digest()


def from_bytes(data: bytes) -> StoredModel:
    """Read a model; ModelError where it is no model, damaged, or of another layout."""
    header, packed = _parts(data)
    if header.get("layout") != features.LAYOUT or header.get("features") != list(features.NAMES):
        made, mine = header.get("layout"), features.LAYOUT
        msg = f"made for other features (layout {made!r:.60}, allowed {mine}): train it again"
        raise ModelError(msg)
    if header.get("depth") != forest.DEPTH:
        msg = f"trees must be {forest.DEPTH} deep (got {header.get('depth')!r:.60})"
        raise ModelError(msg)
    record = np.zeros((), forest.MODEL)
    trees = _number(header, "trees", 1, forest.MOST_TREES)
    if trees != int(trees):
        msg = f"trees must be a whole number (got {trees:g})"
        raise ModelError(msg)
    record["trees"] = int(trees)
    record["limit"] = _number(header, "limit", 0.0, 1.0)
    record["path"] = _number(header, "path", 0.1, MOST_PATH)
    if header.get("gravest") not in GRAVEST:
        msg = f"gravest must be one of {', '.join(GRAVEST)} (got {header.get('gravest')!r:.60})"
        raise ModelError(msg)
    record["gravest"] = 1 + GRAVEST.index(header["gravest"])
    used = int(trees) * forest.NODES
    arrays = _unpacked(packed, 5 * used)
    record["look"] = forest.LEAF
    record["look"][:used] = np.frombuffer(arrays[:used], "<i1")
    record["value"][:used] = np.frombuffer(arrays[used:], "<f4")
    _check_trees(record["look"][:used], record["value"][:used])
    return StoredModel(record, _card(header.get("card")))


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) > MOST_BYTES:
        msg = f"a model has at most {MOST_BYTES} bytes (got {len(data)})"
        raise ModelError(msg)
    start = len(MAGIC) + 4
    if not data.startswith(MAGIC) or len(data) < start + _CHECKSUM:
        msg = "is no model of this version of callwatch: train it again"
        raise ModelError(msg)
    body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if hashlib.sha256(body).digest() != checksum:
        msg = "the checksum does not fit: the file is damaged"
        raise ModelError(msg)
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    try:
        header = json.loads(body[start:end])
    except (ValueError, RecursionError):
        header = None
    if end > len(body) or not isinstance(header, dict):
        msg = "its header is no JSON object"
        raise ModelError(msg)
    return header, body[end:]


def _unpacked(packed: bytes, size: int) -> bytes:
    """Unpack exactly so many bytes, and never more: a small file may hold a huge one."""
    unpacker = zlib.decompressobj()
    try:
        arrays = unpacker.decompress(packed, size + 1)
    except zlib.error:
        arrays = b""
    if len(arrays) != size or not unpacker.eof or unpacker.unused_data:
        msg = f"its trees must take {size} bytes, packed, with nothing behind them"
        raise ModelError(msg)
    return arrays


def _number(header: Mapping[str, Any], name: str, low: float, high: float) -> float:
    value = header.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and low <= value <= high):  # type: ignore[operator]
        msg = f"{name} must be a number from {low:g} to {high:g} (got {value!r:.60})"
        raise ModelError(msg)
    return float(value)  # type: ignore[arg-type]


def _check_trees(look: Any, value: Any) -> None:
    """Every cut is above the bottom and looks at a number; every value is one."""
    looks = look.reshape(-1, forest.NODES)
    values = value.reshape(-1, forest.NODES)
    cuts = looks[:, : forest.NODES // 2]
    leaves = looks == forest.LEAF
    if (looks < forest.LEAF).any() or (looks >= features.COUNT).any():
        msg = f"a cut looks at no number of 0 to {features.COUNT - 1}"
        raise ModelError(msg)
    if not leaves[:, forest.NODES // 2 :].all():
        msg = f"a tree is more than {forest.DEPTH} cuts deep"
        raise ModelError(msg)
    if not np.isfinite(values).all() or (np.abs(values) > MOST_PATH).any():
        msg = f"a value is not within +-{MOST_PATH:g}"
        raise ModelError(msg)
    if (values[leaves] < 0.0).any() or not (cuts[:, 0] != forest.LEAF).any():
        msg = "a path is shorter than nothing, or no tree cuts anything"
        raise ModelError(msg)


def _card(given: Any) -> ModelCard:
    """Return the card; it is only read by people, so what does not fit is left out."""
    if not isinstance(given, dict):
        return ModelCard()
    kinds = {f.name: type(f.default) for f in fields(ModelCard)}
    known: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = given.get(name)
        if name == "trained_on" and isinstance(value, list):
            known[name] = tuple(str(one) for one in value)
        elif name == "versions" and isinstance(value, dict):
            known[name] = {str(key): str(one) for key, one in value.items()}
        elif type(value) is kind:
            known[name] = value
    return ModelCard(**known)
