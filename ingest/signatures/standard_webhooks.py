# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Standard Webhooks: `id.timestamp.body` under HMAC-SHA256 (`v1`) or Ed25519 (`v1a`).

The specification: https://github.com/standard-webhooks/standard-webhooks. Svix sends the same
with `svix-` headers, GitLab with its signing token. Each version is a scheme of its own: a
callback that carries only the other one counts as malformed.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from ..vocabulary import Reason
from .base import Key, SignedRequest, Verification
from .judging import Claim, SchemeVerifier, Window, by_hmac, by_public_key, judge
from .keys import ED25519, STANDARD
from .loading import loaded_keys, window_of
from .public_keys import holds_ed25519
from .reading import MAX_SIGNATURES, Fault, bounded, header, seconds, stamped
from .scheme import Scheme, reads

TOLERANCE_S: Final = 300
_PREFIXES: Final = ("webhook-", "svix-")
_PARTS: Final = ("id", "timestamp", "signature")
_SHA256: Final = by_hmac("sha256")


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
    """Whether one of `keys` signed this callback (`v1`) within `tolerance_s` seconds of `now`.

    Never raises, whatever the headers hold; SignatureError for a key or a tolerance that is none,
    as `verifier_for` has it. No keys at all are a sender that nobody knows: `key_unknown`. Every
    key is tried, in constant time.
    """
    scheme = SCHEMES[0]
    loaded = loaded_keys(scheme, keys) if keys else []
    window = window_of(scheme, tolerance_s)
    verifier = SchemeVerifier(
        scheme.name, lambda one: judge(one, _v1(one), loaded, _SHA256, window)
    )
    return verifier(SignedRequest("POST", "", headers, body, now))


def _reader(version: str, size: int) -> Callable[[SignedRequest], Claim]:
    def read(request: SignedRequest) -> Claim:
        unique, stamp, listed = _signed_headers(request)
        named = bounded(unique)
        if not listed:
            raise Fault(Reason.SIGNATURE_MISSING, delivery_id=named)
        signatures = _well_formed(listed, version, size)
        if not signatures or not unique:
            raise Fault(delivery_id=named)
        signed_at = stamped(stamp, seconds, signatures[0], named)
        content = f"{unique}.{stamp}.".encode() + request.body
        return Claim(tuple(signatures), (content,), signed_at=signed_at, delivery_id=named)

    return read


def _signed_headers(request: SignedRequest) -> tuple[str, str, str]:
    """Id, timestamp and signatures, all of one prefix."""
    for prefix in _PREFIXES:
        parts = [header(request, f"{prefix}{name}") for name in _PARTS]
        if any(parts):
            return parts[0], parts[1], parts[2]
    return "", "", ""


def _well_formed(listed: str, version: str, size: int) -> list[bytes]:
    signatures = []
    for entry in listed.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]:
        named, _, text = entry.partition(",")
        if named != version:
            continue
        try:
            signature = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(signature) == size:
            signatures.append(signature)
    return signatures


_v1 = _reader("v1", 32)


def _scheme(name: str, header: str, source: str) -> Scheme:
    return Scheme(
        name=name,
        header=f"{header}: v1,base64, several by spaces",
        algorithm="HMAC-SHA256",
        signs="id.time.body",
        timestamp=f"{header.removesuffix('signature')}timestamp (s)",
        window=Window(TOLERANCE_S, TOLERANCE_S),
        delivery=f"{header.removesuffix('signature')}id (signed)",
        replay="time and delivery id",
        source=source,
        key=STANDARD,
        build=reads(_v1, _SHA256),
    )


_SPEC: Final = "standard-webhooks spec; 300 s: its libraries"

SCHEMES: Final = (
    _scheme("standard-webhooks", "webhook-signature", _SPEC),
    Scheme(
        name="standard-webhooks-v1a",
        header="webhook-signature: v1a,base64, several by spaces",
        algorithm="Ed25519",
        signs="id.time.body",
        timestamp="webhook-timestamp (s)",
        window=Window(TOLERANCE_S, TOLERANCE_S),
        delivery="webhook-id (signed)",
        replay="time and delivery id",
        source=_SPEC,
        key=ED25519,
        build=reads(_reader("v1a", 64), by_public_key(holds_ed25519)),
    ),
    _scheme("svix", "svix-signature", "svix-webhooks python"),
    _scheme("gitlab", "webhook-signature", "gitlab-org/gitlab merge requests 230944, 231325"),
)
