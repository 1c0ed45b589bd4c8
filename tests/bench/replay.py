"""The memory of deliveries: bytes, recall by age, strangers taken for known, and time.

Keys are drawn at random, as fingerprints are. One and a half windows pass, so that generations come
and go; recall is sampled from each twentieth of the window.
"""

from __future__ import annotations

import math
from time import process_time

import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.config import Config
from detectors.core import Core
from detectors.memory import Memory, enter, is_crowded, recall, turn
from tests.bench.figures import Figure

WINDOW = 50_000_000
"""Fingerprints within the window: 72 h at 193 a second, in one partition."""
TTL = 3 * 1440
STRANGERS = 100_000_000
SAMPLE = 100_000
PIECE = 1_000_000
LEAST, MOST = -(2**63), 2**63 - 1


@lean
def _pass(keys, minutes, first, slots, dirty, state):  # type: ignore[no-untyped-def]
    """Look up every key and put it in; return where room is wanted, and how many were known."""
    known = 0
    for e in range(first, len(keys)):
        turn(slots, dirty, state, int(minutes[e]))
        if is_crowded(slots, state):
            return e, known
        known += int(enter(slots, dirty, state, int(keys[e]), int(minutes[e])))
    return len(keys), known


@lean
def _known(keys, slots, state):  # type: ignore[no-untyped-def]
    known = 0
    for e in range(len(keys)):
        known += int(recall(slots, state, int(keys[e])) >= 0)
    return known


def keys_of(piece: int) -> NDArray[np.int64]:
    """Return the keys of one piece of the stream."""
    rng = np.random.Generator(np.random.PCG64([7, piece]))
    return rng.integers(LEAST, MOST, PIECE, np.int64, endpoint=True)


def upper_bound(found: int, trials: int) -> float:
    """Return the 95 % bound of a rare event's probability (Poisson; the rule of three at 0)."""
    low, high = float(found), 10.0 * found + 10.0
    for _ in range(100):
        mean = (low + high) / 2
        below = sum(
            math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(found + 1)
        )
        low, high = (mean, high) if below > 0.05 else (low, mean)
    return high / trials


def run(window: int = WINDOW, strangers: int = STRANGERS) -> dict[str, float]:
    """Let one and a half windows pass through a memory that is made for one."""
    memory = Memory(TTL, window)
    pieces = window * 3 // 2 // PIECE
    seconds, during = 0.0, 0
    for piece in range(pieces):
        keys = keys_of(piece)
        minutes = (np.arange(PIECE) + piece * PIECE) * TTL // window
        done = 0
        while done < PIECE:
            started = process_time()
            done, known = _pass(keys, minutes, done, memory.slots, memory.dirty, memory.state)
            if piece >= window // PIECE:
                seconds += process_time() - started
            during += known
            if done < PIECE:
                memory.make_room()
    recalls = []
    for twentieth in range(20):
        last = pieces - 1 - twentieth * (window // PIECE) // 20
        mine = keys_of(last)[:SAMPLE]
        recalls.append(_known(mine, memory.slots, memory.state) / len(mine))
    oldest = pieces - window // PIECE
    mine = keys_of(oldest)[:SAMPLE]
    recalls.append(_known(mine, memory.slots, memory.state) / len(mine))
    wrong = 0
    for piece in range(strangers // PIECE):
        wrong += _known(keys_of(10**6 + piece), memory.slots, memory.state)
    steady = (pieces - window // PIECE) * PIECE
    return {
        "bytes": memory.nbytes / window,
        "recall": float(np.mean(recalls)),
        "recall_least": min(recalls),
        "wrong": wrong,
        "trials": strangers,
        "bound": upper_bound(wrong, strangers),
        "ns": seconds / steady * 1e9,
    }


def figures(window: int = WINDOW, strangers: int = STRANGERS) -> list[Figure]:
    """Measure the memory, and what a row of the newest deliveries takes."""
    run(2 * PIECE, PIECE)  # compile or load
    found = run(window, strangers)
    tables = Core(Config()).events_tables
    name = f"replay memory, {window:,} in the window"
    return [
        Figure(name, found["bytes"], "bytes per fingerprint"),
        Figure(f"{name}, lost before its end", 100 * (1 - found["recall"]), "%"),
        Figure(f"{name}, lost at the worst age", 100 * (1 - found["recall_least"]), "%"),
        Figure(f"{name}, strangers known", found["wrong"], f"of {found['trials']:,}"),
        Figure(f"{name}, strangers known, 95 % bound", found["bound"], "share"),
        Figure(f"{name}, look-up and insert", found["ns"], "ns"),
        Figure("newest units, each", tables["sender", "unit"].key_bytes, "bytes"),
        Figure("newest deliveries, each", tables["sender", "delivery"].key_bytes, "bytes"),
    ]
