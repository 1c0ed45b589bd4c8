"""Simulated deliveries as decoded batches, without a detour through JSON.

Rows repeat their words (sender, network, client, verdict), so one delivery of each combination is
rendered and decoded by the decoder itself, and all others take over what it made of the words.
Numbers, times and fingerprints are copied. Nothing about the decoder is known here but which
columns are numbers of the delivery; a test holds the result to the long way, column by column.
Words are rendered again only where somebody asks, which is where an incident opens.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.batch import Decoder, EventBatch
from detectors.benchmark.columns import Rows, Vocabulary
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.jsonl import marked, render
from detectors.combinations import combinations, edges_of
from detectors.config import Config
from detectors.event import SECOND
from detectors.keys import id_keys
from ingest.schema import CallbackEvent, parse_event

WORDS: Final = ("who", "receiver", "origin", "client", "key", "event_type", "outcome")


@dataclass(frozen=True)
class DirectBatch(EventBatch):
    """Decoded events whose JSON is written when it is asked for."""

    rows: Rows
    words: Vocabulary

    def value(self, i: int) -> bytes:
        """Return the JSON of event i."""
        return next(render(self.rows[i : i + 1], self.words)).rstrip(b"\n")

    def event(self, i: int) -> CallbackEvent:
        """Return event i with all its words."""
        return parse_event(self.value(i))

    def sender(self, i: int) -> str:
        """Return the sender of event i."""
        return str(self.words.fields(int(self.rows["who"][i]))["sender"])

    def take(self, order: npt.NDArray[Any] | slice) -> DirectBatch:
        """Return the events at these places, in this order."""
        base = super().take(order)
        parts = {one.name: getattr(base, one.name) for one in fields(EventBatch)}
        return DirectBatch(**parts, rows=self.rows[order], words=self.words)


class DirectDecoder:
    """Makes batches of rows under one configuration."""

    def __init__(self, config: Config) -> None:
        self._decoder = Decoder(config)
        self._edges = edges_of(config)

    def batch(self, rows: Rows, words: Vocabulary) -> DirectBatch:
        """The rows as the decoder would have read them from JSON."""
        there = [np.asarray(rows[name].any(axis=1)) for name in ("delivery", "signature")]
        since = np.searchsorted(self._edges, rows["at"], "right")
        first, group = combinations([since, *there, *(rows[name] for name in WORDS)])
        decoded = self._decoder.values(b"".join(render(rows[first], words)).splitlines())
        if decoded.rejected:
            fault = decoded.rejected[0]
            msg = f"simulated row {first[fault.index]}: made a bad event ({fault.message})"
            raise BenchmarkError(msg)
        columns = decoded.batch.columns[group]
        _numbers(columns, rows, there)
        return DirectBatch(
            columns,
            id_keys(marked(rows["id"]).view(np.int64)),
            np.arange(len(rows)),
            b"",
            np.zeros((len(rows), 2), np.int64),
            rows,
            words,
        )


def _numbers(columns: npt.NDArray[Any], rows: Rows, there: list[npt.NDArray[np.bool_]]) -> None:
    proved = (columns["unit"] != 0) | (columns["delivery"] != 0)
    delivery, signature = (_key(rows[name], has) for name, has in
                           zip(("delivery", "signature"), there, strict=True))  # fmt: skip
    columns["t"] = rows["at"]
    columns["signed_at"] = np.maximum(rows["signed_at"] // SECOND * SECOND, 0)
    columns["created_at"] = np.maximum(rows["created_at"] // SECOND * SECOND, 0)
    asked = _key(rows["path"], np.asarray(rows["path"].any(axis=1)))
    for name, column in _prove(proved, delivery, signature, asked, columns["endpoint"]).items():
        columns[name] = column
    columns["body_bytes"] = rows["body_bytes"]
    columns["duration_ms"] = np.round(rows["duration_ms"], 1)
    columns["attempt"] = rows["attempt"]


def _key(bits: npt.NDArray[np.uint64], there: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    high = np.ascontiguousarray(bits[:, 0]).view(np.int64)
    return np.where(there, np.where(high == 0, 1, high), 0)


def _prove(
    proved: npt.NDArray[np.bool_],
    delivery: npt.NDArray[np.int64],
    signature: npt.NDArray[np.int64],
    path: npt.NDArray[np.int64],
    endpoint: npt.NDArray[np.int64],
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the columns that say what was signed, delivered and asked for, from the keys."""
    claimed = np.where(delivery != 0, delivery, signature)
    return {
        "unit": np.where(signature != 0, signature, delivery) * proved,
        "claimed": claimed,
        "delivery": claimed * proved,
        "path": np.where(path != 0, path, endpoint),
    }
