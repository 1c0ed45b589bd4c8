"""How the receiver judged each attempt: keys, noise of failures, receiver faults, statuses."""

from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.arrivals import MINUTE, SECOND
from detectors.benchmark.changes import Failing, Rotation, of_kind
from detectors.benchmark.columns import Mask, Rows
from detectors.benchmark.providers import Behaviour
from detectors.benchmark.receivers import receive
from detectors.benchmark.senders import Sender
from detectors.benchmark.world import World, behaviour

OK: Final = 200
STATUS: Final = {
    "signature_invalid": 401,
    "signature_malformed": 401,
    "signature_missing": 401,
    "key_unknown": 401,
    "timestamp_stale": 400,
    "endpoint_unknown": 404,
}
_BODY_ONLY_NOISE: Final = (("signature_invalid", 0.7), ("signature_malformed", 0.3))
_TIMED_NOISE: Final = (
    ("signature_invalid", 0.5),
    ("signature_malformed", 0.2),
    ("timestamp_stale", 0.3),
)
_REDIRECT_NOISE: Final = (
    ("state_mismatch", 0.4),
    ("code_expired", 0.3),
    ("state_missing", 0.2),
    ("state_reused", 0.1),
)


def rejected(world: World, reason: str, *, signature_ok: bool | None = None) -> int:
    """The word of a rejection; where the signature was looked at, the event says how it was."""
    if signature_ok is None and reason in ("signature_invalid", "key_unknown"):
        signature_ok = False
    return world.words.code(
        verdict="rejected",
        reason=reason,
        signature_ok=signature_ok,
        status=STATUS.get(reason, 400),
    )


def accepted(world: World, sender: Sender, status: int = OK, *, duplicate: bool = False) -> int:
    """The word of a call that the receiver let in, whatever became of it behind."""
    if not sender.verified:
        return world.words.code(verdict="unverified", status=status)
    signed = behaviour(sender).signed
    return world.words.code(
        verdict="verified",
        signature_ok=True if signed else None,
        duplicate=duplicate if sender.tells_duplicates else None,
        status=status,
    )


def judge(world: World, sender: Sender, rows: Rows, rng: np.random.Generator) -> Mask:
    """Fills receiver, key, outcome and duration of a wave of attempts; true = not answered 2xx."""
    acts = behaviour(sender)
    count = len(rows)
    rows["receiver"], fault = receive(world, sender, rows["at"], rng)
    rows["key"] = world.words.code(key_id=sender.key_id)
    before = rows["outcome"].copy()  # of a retry's last attempt
    rows["outcome"] = accepted(world, sender)
    rows["duration_ms"] = rng.lognormal(np.log(45.0), 0.5, size=count)
    for status in np.unique(fault[fault > 0]).tolist():
        rows["outcome"][fault == status] = accepted(world, sender, status)
    refused = _noise(world, sender, acts, rows, rng)
    refused |= _stuck(world, sender, rows, before)
    refused |= _rotate(world, sender, rows, rng)
    rows["duration_ms"][refused] *= 0.2
    return refused | (fault > 0)


def _noise(
    world: World, sender: Sender, acts: Behaviour, rows: Rows, rng: np.random.Generator
) -> Mask:
    noise: tuple[tuple[str, float], ...] = _TIMED_NOISE if acts.signs_time else _BODY_ONLY_NOISE
    if not acts.signed:
        noise = _REDIRECT_NOISE
    share = np.full(len(rows), sender.failure_share)
    for change in of_kind(world.changes, Failing, sender.name):
        share[change.span.holds(rows["at"])] = change.share
    refused = rng.random(len(rows)) < share
    pick = rng.choice(len(noise), size=len(rows), p=[share for _, share in noise])
    for change in of_kind(world.changes, Failing, sender.name):
        if change.reason:
            noise = (*noise, (change.reason, 0.0))
            pick[change.span.holds(rows["at"])] = len(noise) - 1
    for place, (reason, _) in enumerate(noise):
        hit = refused & (pick == place)
        stale = reason == "timestamp_stale"
        rows["outcome"][hit] = rejected(world, reason, signature_ok=True if stale else None)
        if stale:  # it waited in the provider's queue after signing
            rows["signed_at"][hit] -= rng.integers(6 * MINUTE, 30 * MINUTE, size=int(hit.sum()))
            rows["signed_at"][hit] -= rows["signed_at"][hit] % SECOND
        else:
            rows["key"][hit] = 0
    return refused


def _stuck(world: World, sender: Sender, rows: Rows, before: npt.NDArray[np.int32]) -> Mask:
    """Refuses again what was refused before, where that sticks to a delivery."""
    refused = np.zeros(len(rows), dtype=np.bool_)
    for change in of_kind(world.changes, Failing, sender.name):
        word = rejected(world, change.reason) if change.sticks else -1
        hit = change.span.holds(rows["at"]) & (before == word)
        rows["outcome"][hit] = word
        rows["key"][hit] = 0
        refused |= hit
    return refused


def _rotate(world: World, sender: Sender, rows: Rows, rng: np.random.Generator) -> Mask:
    refused = np.zeros(len(rows), dtype=np.bool_)
    for change in of_kind(world.changes, Rotation, sender.name):
        since = rows["at"] - change.at
        share = np.clip(since / change.adoption, 0.0, 1.0) if change.adoption else since >= 0
        new = (since >= 0) & (rng.random(len(rows)) < share) & (rows["key"] > 0)
        rows["key"][new] = world.words.code(key_id=change.new_key)
        unknown = new & (since < change.refused)
        flaky = (since >= 0) & (since < change.adoption)
        flaky &= rng.random(len(rows)) < change.transient_failures
        hit = unknown | flaky
        rows["outcome"][hit] = rejected(world, "signature_invalid")
        rows["key"][hit] = 0
        refused |= hit
    return refused
