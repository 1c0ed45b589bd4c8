# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Adyen's payment notifications: every item of the body carries its own signature over 8 fields.

What is in no field is not signed, the `live` flag and all additional data among it; all items
must be signed by one key.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final

from ..vocabulary import Reason
from .base import SignedRequest
from .judging import Claim, Loaded
from .keys import HEX
from .reading import MAX_SIGNATURES, Fault, from_base64, joined, parsed
from .scheme import Scheme, reads

_FIELDS: Final = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")


def _read(request: SignedRequest) -> Claim:
    body = parsed(request.body)
    listed = body.get("notificationItems")
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_SIGNATURES:
        raise Fault
    items = [one["NotificationRequestItem"] for one in listed]
    return Claim(
        tuple(_signature(item) for item in items),
        tuple(signed_text(item).encode() for item in items),
        delivery_id=joined(
            f"{_text(item, 'pspReference')}:{_text(item, 'eventCode')}" for item in items
        ),
    )


def _signature(item: Mapping[str, Any]) -> bytes:
    given = (item.get("additionalData") or {}).get("hmacSignature")
    if not given:
        raise Fault(Reason.SIGNATURE_MISSING)
    return from_base64(given, 32)


def signed_text(item: Mapping[str, Any]) -> str:
    """The eight fields of an item that are signed, in their order."""
    amount = item.get("amount") or {}
    parts = [_text(item, name) for name in _FIELDS]
    parts += [_text(amount, "value"), _text(amount, "currency")]
    return ":".join([*parts, _text(item, "eventCode"), _text(item, "success")])


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    raise Fault


def _every(loaded: Loaded, claim: Claim) -> bytes | None:
    held = True
    for signature, content in zip(claim.signatures, claim.contents, strict=True):
        expected = hmac.digest(loaded.material, content, "sha256")
        held &= hmac.compare_digest(expected, signature)
    return claim.signatures[0] if held else None


SCHEMES: Final = (
    Scheme(
        name="adyen",
        header="additionalData.hmacSignature in the body, of each item: base64",
        algorithm="HMAC-SHA256",
        signs="8 fields of each item, joined by a colon",
        delivery="pspReference and eventCode, of all items",
        replay="none",
        source="adyen-python-api-library util.py",
        key=HEX,
        build=reads(_read, _every),
    ),
)
