# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What all schemes have in common: a claim is held against every key, then against the clock.

A scheme reads a `Claim` out of a request and says how one key is held against it; the order of
the checks and the reasons are the same for all.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ..rfc3339 import to_us
from ..vocabulary import Reason, Verdict
from .base import Key, SignedRequest, Verification
from .reading import Fault

MAX_CONTENTS: Final = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """A key in the form in which its scheme computes."""

    key: Key
    material: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says about itself.

    Each of `signatures` may stand over each of `contents`. `signed` is asked once a signature
    held: a time and an id inside the body are not read before. `public` is the sender's public
    key where a certificate brings it. A bearer's token is no signature: `secret` keeps it back.
    """

    signatures: tuple[bytes, ...] = field(repr=False)
    contents: tuple[bytes, ...] = field(repr=False)
    signed_at: datetime | None = None
    delivery_id: str | None = field(default=None, repr=False)
    signed: Callable[[SignedRequest], tuple[datetime | None, str | None]] | None = None
    public: Any = field(default=None, repr=False)
    expires_at: datetime | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """How old, and how far ahead, a signed time may be in seconds; None = it is not checked."""

    past_s: float | None = None
    future_s: float | None = None


Match = Callable[[Loaded, Claim], bytes | None]
Read = Callable[[SignedRequest], Claim]


def judge(
    request: SignedRequest, claim: Claim, keys: Sequence[Loaded], match: Match, window: Window
) -> Verification:
    """The verdict over a claim. Every key is tried, an active one counts before a retired one."""
    best: Key | None = None
    used = claim.signatures[0]
    for loaded in keys:
        hit = match(loaded, claim)
        if hit is not None and (best is None or best.retired):
            best, used = loaded.key, hit
    signed_at, delivery_id = claim.signed_at, claim.delivery_id
    if best is not None and claim.signed is not None:
        signed_at, delivery_id = claim.signed(request)
    reason = _reason(best, keys, signed_at, claim.expires_at, request.now, window)
    return Verification(
        verdict=Verdict.VERIFIED if reason is None else Verdict.REJECTED,
        reason=reason,
        signature_ok=best is not None if keys else None,
        key_id=best.label if best else None,
        signed_at=signed_at,
        delivery_id=delivery_id,
        signature=None if claim.secret else used,
    )


def _reason(
    best: Key | None,
    keys: Sequence[Loaded],
    signed_at: datetime | None,
    expires_at: datetime | None,
    now: datetime,
    window: Window,
) -> Reason | None:
    if best is None:
        return Reason.SIGNATURE_INVALID if keys else Reason.KEY_UNKNOWN
    if best.retired:
        return Reason.KEY_RETIRED
    if (reason := outside(signed_at, now, window)) is not None:
        return reason
    if expires_at is not None and now.astimezone(UTC) > expires_at:  # the sender's own word
        return Reason.TIMESTAMP_STALE
    return None


def outside(signed_at: datetime | None, now: datetime, window: Window) -> Reason | None:
    """What is wrong with a signed time; None where it is within the window, or none is asked."""
    if window.past_s is None and window.future_s is None:
        return None
    if signed_at is None:
        return Reason.TIMESTAMP_MISSING
    late_us = to_us(now.astimezone(UTC)) - to_us(signed_at)
    if window.past_s is not None and late_us > window.past_s * 1_000_000:
        return Reason.TIMESTAMP_STALE
    if window.future_s is not None and late_us < -window.future_s * 1_000_000:
        return Reason.TIMESTAMP_FUTURE
    return None


def rejected(
    reason: Reason, *, delivery_id: str | None = None, signature: bytes | None = None
) -> Verification:
    """A rejection before any signature was checked."""
    return Verification(Verdict.REJECTED, reason, delivery_id=delivery_id, signature=signature)


@dataclass(frozen=True, slots=True)
class SchemeVerifier:
    """Judges requests by one scheme; whatever goes wrong while reading one is malformed.

    may_block says that a certificate may have to be fetched: call it outside an event loop.
    """

    scheme: str
    judged: Callable[[SignedRequest], Verification] = field(repr=False)
    may_block: bool = False

    def __call__(self, request: SignedRequest) -> Verification:
        """Whether the request was signed as it should be; never raises."""
        try:
            return self.judged(request)
        except Fault as fault:
            return rejected(fault.reason, delivery_id=fault.delivery_id, signature=fault.signature)
        except Exception:  # anything unforeseen in what a stranger sent is malformed
            return rejected(Reason.SIGNATURE_MALFORMED)


def by_hmac(algorithm: str) -> Match:
    """HMAC over one of the contents; contents are tried as long as there are any."""

    def match(loaded: Loaded, claim: Claim) -> bytes | None:
        hit: bytes | None = None
        for content in claim.contents[:MAX_CONTENTS]:
            expected = hmac.digest(loaded.material, content, algorithm)
            for signature in claim.signatures:
                if hmac.compare_digest(expected, signature):
                    hit = signature
        return hit

    return match


def by_token(loaded: Loaded, claim: Claim) -> bytes | None:
    """The shared token itself; both are hashed first, so that its length does not show either."""
    expected = hashlib.sha256(loaded.material).digest()
    given = hashlib.sha256(claim.signatures[0]).digest()
    return claim.signatures[0] if hmac.compare_digest(expected, given) else None


def by_public_key(holds: Callable[[Any, bytes, bytes], bool]) -> Match:
    """A signature that `holds(public key, signature, content)`."""

    def match(loaded: Loaded, claim: Claim) -> bytes | None:
        for content in claim.contents[:MAX_CONTENTS]:
            for signature in claim.signatures:
                if holds(loaded.material, signature, content):
                    return signature
        return None

    return match
