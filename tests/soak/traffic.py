"""What is published in a soak: senders of a fixed set, all met at once, and attacks in waves.

Memory may only grow to limits that are stated, and is to be at all of them before it is judged. So
every sender calls from each of its networks, with each of its types and keys, before anything else;
attackers come from few networks and try few senders, in waves that recur; every delivery is new.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.benchmark.columns import Rows, Vocabulary, empty_rows, fresh_bits
from detectors.benchmark.jsonl import render
from detectors.event import HOUR, SECOND
from ingest.partition import record_key_of
from tests.chaos.stream import Record

PIECE: Final = 2_000
VARIANTS: Final = 3
"""Networks, types and keys of each sender."""
TRIED: Final = 40
"""Senders that are attacked, in turn."""
AT_A_TIME: Final = 4
ATTACKERS: Final = 4
WAVE: Final = HOUR // 2
"""Of event time; after the last one the first senders are attacked again, 5 h later."""
FORGED: Final = 0.004
REPLAYED: Final = 0.002
"""Parts of all events."""
REPLAYED_OF: Final = 60
"""Senders whose calls are presented again: so few that before memory is judged each has its
incidents, which stay open as long as it goes on, and these list as many events as they ever do."""


@dataclass(frozen=True)
class Traffic:
    """So many events in order of time, evenly from `start` on; microseconds since 1970."""

    events: int
    senders: int
    start: int
    duration: int
    seed: int = 1

    def __len__(self) -> int:
        return self.events

    def __iter__(self) -> Iterator[Record]:
        words = _Words(self.senders)
        rng = np.random.Generator(np.random.PCG64(self.seed))
        keys = [record_key_of(_name(number)) for number in range(self.senders)]
        before = empty_rows(0)
        for first in range(0, self.events, PIECE):
            rows = self._rows(first, min(first + PIECE, self.events), words, rng, before)
            before = rows
            for line in render(rows, words.words, chunk=PIECE):
                for number, value in zip(rows["sender"].tolist(), line.splitlines(), strict=True):
                    yield Record(keys[number], value)

    def _rows(
        self, first: int, stop: int, words: "_Words", rng: np.random.Generator, before: Rows
    ) -> Rows:
        count = stop - first
        place = np.arange(first, stop)
        meeting = place < VARIANTS * self.senders
        # The rarest sender calls half as often as the mean, so none is forgotten on the way.
        drawn = (self.senders * rng.random(count) ** 2).astype(np.int64)
        who = np.where(meeting, place % self.senders, drawn)
        variant = np.where(meeting, place // self.senders, rng.integers(0, VARIANTS, count))
        rows = empty_rows(count)
        rows["at"] = self.start + place * self.duration // self.events
        chance = rng.random(count)
        forged = ~meeting & (chance < FORGED)
        wave = (rows["at"] - self.start) // WAVE * AT_A_TIME
        attacked = (wave + rng.integers(0, AT_A_TIME, count)) % min(TRIED, self.senders)
        who = np.where(forged, attacked, who)
        rows["sender"] = who
        rows["id"] = fresh_bits(rng, count)
        for name in ("delivery", "signature", "body"):
            rows[name] = fresh_bits(rng, count)
        rows["who"] = words.who[who]
        rows["receiver"] = words.receiver
        rows["origin"] = np.where(forged, words.attackers[who % ATTACKERS], words.own[who, variant])
        rows["client"] = np.where(forged, words.tool, words.client)
        rows["key"] = words.key[variant % 2]
        rows["event_type"] = words.event_type[variant]
        rows["outcome"] = np.where(forged, words.refused, words.taken)
        rows["signed_at"] = rows["at"] - SECOND
        rows["body_bytes"] = np.exp(rng.normal(7.0, 0.3, count))
        rows["duration_ms"] = 5.0
        rows["attempt"] = 1
        again = np.flatnonzero(~meeting & (chance > 1 - REPLAYED))
        known = before[before["sender"] < REPLAYED_OF]
        if len(known):
            taken = known[rng.integers(0, len(known), len(again))]
            for name in ("sender", "who", "origin", "client", "key", "event_type", "outcome",
                         "signed_at", "delivery", "signature", "body", "body_bytes"):  # fmt: skip
                rows[name][again] = taken[name]
        return rows


class _Words:
    """The words of all events, made once."""

    def __init__(self, senders: int) -> None:
        self.words = words = Vocabulary()
        self.who = np.array([
            words.code(
                sender=_name(number), provider="standard-webhooks", kind="webhook",
                endpoint=f"/hooks/{number % 20}", method="POST", content_type="application/json",
            ) for number in range(senders)
        ])  # fmt: skip
        self.own = np.array([
            [_from(words, f"{20 + k}.{number >> 8}.{number & 255}.7") for k in range(VARIANTS)]
            for number in range(senders)
        ])  # fmt: skip
        self.attackers = np.array([_from(words, f"198.18.{k}.9") for k in range(ATTACKERS)])
        self.receiver = words.code(receiver="api/1.4.0@api-1")
        self.client = words.code(user_agent="Sender/1.0")
        self.tool = words.code(user_agent="python-requests/2.32")
        self.key = np.array([words.code(key_id=f"key-{k}") for k in range(2)])
        self.event_type = np.array(
            [words.code(event_type=f"invoice.{name}") for name in ("paid", "sent", "void")]
        )
        self.taken = words.code(verdict="verified", signature_ok=True, status=200)
        self.refused = words.code(
            verdict="rejected", reason="signature_invalid", signature_ok=False, status=401
        )


def _name(number: int) -> str:
    return f"sender-{number:05}"


def _from(words: Vocabulary, address: str) -> int:
    return words.code(source_ip=address, source_ip_from="trusted_proxy", asn=64500)
