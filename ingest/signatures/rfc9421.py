# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""HTTP message signatures (RFC 9421): HMAC, Ed25519, ECDSA and RSA over parts of a request.

A key fixes its algorithm, so that nobody can have a public key taken for a shared secret. The
signature's `keyid` is the label of a key, or is translated by `keyids`. A signature has to be
dated, and has to cover the method, the address and the digest of a body: else who caught one could
send another request under it. `covered` asks for other components instead.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ..rfc3339 import from_us
from ..vocabulary import Reason, Verdict
from .base import SignedRequest, Verification
from .judging import Claim, Loaded, Window, by_hmac, judge
from .keys import MESSAGE
from .message_base import base_of, body_is_covered, field
from .public_keys import holds_ecdsa_raw, holds_ed25519, holds_rsa
from .reading import Fault, bounded
from .scheme import Judged, Options, Scheme
from .structured import Bare, InnerList, Item, dictionary

MAX_AGE_S: Final = 86_400
SKEW_S: Final = 5
_KNOWN: Final = frozenset({"alg", "created", "expires", "keyid", "nonce", "tag"})
_TEXTS: Final = ("alg", "keyid", "nonce", "tag")
_SHA256: Final = by_hmac("sha256")


def _build(keys: Sequence[Loaded], window: Window, options: Options) -> Judged:
    def judged(request: SignedRequest) -> Verification:
        found: Verification | None = None
        for covered, signature in _signatures(request):
            try:
                one = _judge_one(request, covered, signature, keys, window, options)
            except Fault as fault:
                one = Verification(
                    Verdict.REJECTED,
                    fault.reason,
                    delivery_id=fault.delivery_id,
                    signature=signature,
                )
            if one.verdict is Verdict.VERIFIED:
                return one
            if found is None or (one.signature_ok and not found.signature_ok):
                found = one
        if found is None:
            raise Fault
        return found

    return judged


def _signatures(request: SignedRequest) -> list[tuple[InnerList, bytes]]:
    """What each signature covers, and its bytes."""
    given = field(request, "signature")
    if not given:
        raise Fault(Reason.SIGNATURE_MISSING)
    signatures = dictionary(given)
    inputs = dictionary(field(request, "signature-input") or "")
    found = []
    for label, item in signatures.items():
        covered = inputs.get(label)
        if (
            isinstance(item, Item)
            and isinstance(item.value, bytes)
            and isinstance(covered, InnerList)
        ):
            found.append((covered, item.value))
    return found


def _judge_one(
    request: SignedRequest,
    covered: InnerList,
    signature: bytes,
    keys: Sequence[Loaded],
    window: Window,
    options: Options,
) -> Verification:
    parameters = covered.parameters
    if set(parameters) - _KNOWN:
        raise Fault
    if any(not isinstance(parameters.get(name, ""), str) for name in _TEXTS):
        raise Fault
    nonce = bounded(str(parameters.get("nonce", "")))
    _covers_enough(request, covered, options.covered)
    claim = Claim(
        (signature,),
        (base_of(request, covered, options.origin),),
        signed_at=_time(parameters.get("created")),
        expires_at=_time(parameters.get("expires")),
        delivery_id=nonce,
    )
    usable = _by_keyid(keys, parameters.get("keyid"), options.keyids)
    if not usable:
        raise Fault(Reason.KEY_UNKNOWN, delivery_id=nonce)
    algorithm = parameters.get("alg")
    return judge(request, claim, usable, lambda loaded, one: _match(loaded, one, algorithm), window)


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**11:
        raise Fault
    return from_us(value * 1_000_000)


def _covers_enough(
    request: SignedRequest, covered: InnerList, wanted: Sequence[str] | None
) -> None:
    """Without a say of the receiver method, address and body must be covered."""
    body = body_is_covered(request, covered)
    named = {item.value for item in covered.items if not item.parameters}
    if wanted is not None:
        if set(wanted) - named:
            raise Fault
    elif (
        "@method" not in named
        or not _has_address(request.url, named)
        or (request.body and not body)
    ):
        raise Fault


def _has_address(url: str, named: set[Bare]) -> bool:
    """Whether host, path and query are covered; a query that was added later is not."""
    if "@target-uri" in named:
        return True
    path = {"@path", "@query"} if "?" in url else {"@path"}
    return "@authority" in named and (path <= named or "@request-target" in named)


def _by_keyid(
    keys: Sequence[Loaded], keyid: Any, keyids: dict[str, str] | None
) -> Sequence[Loaded]:
    if keyid is None:
        return keys
    label = keyid if keyids is None else keyids.get(keyid)
    return [loaded for loaded in keys if loaded.key.label == label]


def _match(loaded: Loaded, claim: Claim, algorithm: Any) -> bytes | None:
    if isinstance(loaded.material, bytes):
        return _SHA256(loaded, claim) if algorithm in {None, "hmac-sha256"} else None
    held = _holds(loaded.material, claim.signatures[0], claim.contents[0], algorithm)
    return claim.signatures[0] if held else None


def _holds(public: Any, signature: bytes, content: bytes, algorithm: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(public, ed25519.Ed25519PublicKey):
        return algorithm in {None, "ed25519"} and holds_ed25519(public, signature, content)
    if isinstance(public, ec.EllipticCurvePublicKey):
        bits = public.curve.key_size
        name = "ecdsa-p256-sha256" if bits == 256 else "ecdsa-p384-sha384"
        return algorithm in {None, name} and holds_ecdsa_raw(public, signature, content, bits)
    if algorithm == "rsa-v1_5-sha256":
        return holds_rsa(public, signature, content)
    if algorithm in {None, "rsa-pss-sha512"}:
        return holds_rsa(public, signature, content, "pss")
    return False


SCHEMES: Final = (
    Scheme(
        name="rfc9421",
        header="Signature and Signature-Input",
        algorithm="HMAC-SHA256, Ed25519, ECDSA P-256 and P-384, RSA-PSS, RSA v1.5",
        signs="named parts of the request, with Content-Digest for the body",
        timestamp="created, expires (s)",
        window=Window(MAX_AGE_S, SKEW_S),
        delivery="nonce (signed)",
        replay="time, and nonce where there is one",
        source="RFC 9421; 1 day and 5 s: http-message-signatures",
        key=MESSAGE,
        uses=("origin", "covered", "keyids"),
        build=_build,
    ),
)
