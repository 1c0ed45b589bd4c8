# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Standard Webhooks, symmetric (`v1`): HMAC-SHA256 over `id.timestamp.body`.

The specification: https://github.com/standard-webhooks/standard-webhooks. Svix sends the same
with `svix-` headers. The asymmetric `v1a` is not verified here; a callback that carries nothing
else counts as malformed.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ..rfc3339 import from_us, to_us
from ..vocabulary import Reason, Verdict
from .base import Key, Verification

TOLERANCE_S: Final = 300
_PREFIXES: Final = ("webhook-", "svix-")
_PARTS: Final = ("id", "timestamp", "signature")
_MAX_SIGNATURES: Final = 32  # a header of thousands must not cost thousands of comparisons
_TIMESTAMP: Final = re.compile(r"[0-9]{1,11}")


def parse_key(label: str, secret: str, *, retired: bool = False) -> Key:
    """A key from its written form, base64 with or without `whsec_`; ValueError without its text.

    >>> parse_key("k1", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    Key(label='k1', retired=False)
    """
    try:
        raw = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw:
        msg = f"key {label!r}: allowed is base64, with or without whsec_ in front"
        raise ValueError(msg)
    return Key(label, raw, retired)


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Sequence[Key],
    *,
    now: datetime,
    tolerance_s: float = TOLERANCE_S,
) -> Verification:
    """Whether one of `keys` signed this callback within `tolerance_s` seconds of `now`.

    Never raises, whatever the headers hold. Every key is tried, in constant time.
    """
    try:
        return _verify(headers, body, keys, now, tolerance_s)
    except Exception:  # anything unforeseen in what a stranger sent is malformed
        return _rejected(Reason.SIGNATURE_MALFORMED)


def _verify(
    headers: Mapping[str, str], body: bytes, keys: Sequence[Key], now: datetime, tolerance_s: float
) -> Verification:
    unique, stamp, listed = _signed_headers(headers)
    if not listed:
        return _rejected(Reason.SIGNATURE_MISSING, delivery_id=unique)
    signatures = _well_formed(listed)
    if not signatures or not unique:
        return _rejected(Reason.SIGNATURE_MALFORMED, delivery_id=unique)
    if not stamp:
        return _rejected(Reason.TIMESTAMP_MISSING, delivery_id=unique, signature=signatures[0])
    if _TIMESTAMP.fullmatch(stamp) is None:
        return _rejected(Reason.SIGNATURE_MALFORMED, delivery_id=unique, signature=signatures[0])
    signed_at = from_us(int(stamp) * 1_000_000)
    content = f"{unique}.{stamp}.".encode() + body
    key, signature = _matching(keys, content, signatures)
    late_us = to_us(now.astimezone(UTC)) - to_us(signed_at)
    reason: Reason | None = None
    if key is None:
        reason = Reason.SIGNATURE_INVALID if keys else Reason.KEY_UNKNOWN
    elif key.retired:
        reason = Reason.KEY_RETIRED
    elif late_us > tolerance_s * 1_000_000:
        reason = Reason.TIMESTAMP_STALE
    elif late_us < -tolerance_s * 1_000_000:
        reason = Reason.TIMESTAMP_FUTURE
    return Verification(
        verdict=Verdict.VERIFIED if reason is None else Verdict.REJECTED,
        reason=reason,
        signature_ok=key is not None if keys else None,
        key_id=key.label if key else None,
        signed_at=signed_at,
        delivery_id=unique,
        signature=signature,
    )


def _rejected(
    reason: Reason, *, delivery_id: str | None = None, signature: bytes | None = None
) -> Verification:
    return Verification(
        Verdict.REJECTED, reason, delivery_id=delivery_id or None, signature=signature
    )


def _signed_headers(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Id, timestamp and signatures, all of one prefix."""
    found = {str(name).lower(): value for name, value in headers.items()}
    for prefix in _PREFIXES:
        parts = [found.get(f"{prefix}{name}", "").strip() for name in _PARTS]
        if any(parts):
            return parts[0], parts[1], parts[2]
    return "", "", ""


def _well_formed(listed: str) -> list[bytes]:
    signatures = []
    for entry in listed.split(" ")[:_MAX_SIGNATURES]:
        version, _, text = entry.partition(",")
        if version != "v1":
            continue
        try:
            signature = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(signature) == 32:
            signatures.append(signature)
    return signatures


def _matching(
    keys: Sequence[Key], content: bytes, signatures: list[bytes]
) -> tuple[Key | None, bytes]:
    """The key that signed, an active one before a retired one, and its signature."""
    best: Key | None = None
    used = signatures[0]
    for key in keys:
        expected = hmac.digest(key.secret, content, "sha256")
        for signature in signatures:
            if hmac.compare_digest(expected, signature) and (best is None or best.retired):
                best, used = key, signature
    return best, used
