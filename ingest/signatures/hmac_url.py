"""Schemes that sign the address that was called: Twilio and Square.

Without a time under it, a captured call stays valid for ever. Where a proxy changes scheme, host
or port, give the `origin` that the sender calls.
"""

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from .address import called, with_port, without_port
from .base import SignedRequest
from .judging import Claim, Loaded, by_hmac
from .reading import (
    MAX_PARSED,
    Fault,
    body_id,
    bounded,
    content_id,
    from_base64,
    header,
    needed,
)
from .scheme import Options, Scheme, reads_with

MAX_FIELDS: Final = 1000
_SETTINGS: Final = "x-twilio-webhooks-signature-settings"
_SIZES: Final = {20: by_hmac("sha1"), 32: by_hmac("sha256")}


def _twilio(request: SignedRequest, options: Options) -> Claim:
    given = needed(request, "x-twilio-signature")
    signature = from_base64(given, 32 if _algorithm(request) == "HMAC_SHA256" else 20)
    url = called(request, options.origin)
    fields = _form(request)
    ends = "".join(name + value for name, value in sorted(set(fields or ())))
    named = _digests(url)
    if not ends and (request.body or named):  # nothing of the body is under the signature itself
        _body_is_signed(request.body, named)
    urls = dict.fromkeys((url, without_port(url), with_port(url)))
    return Claim(
        (signature,),
        tuple((one + ends).encode() for one in urls),
        delivery_id=_twilio_id(request, dict(fields or ())),
    )


def _algorithm(request: SignedRequest) -> str:
    for part in header(request, _SETTINGS).split(",")[:8]:
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _form(request: SignedRequest) -> list[tuple[str, str]] | None:
    """The fields of a form; None of a body that is none."""
    if not request.body:
        return []
    kind = header(request, "content-type").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    if len(request.body) > MAX_PARSED:
        raise Fault
    return parse_qsl(
        request.body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
    )


def _digests(url: str) -> list[str]:
    """The digests of the body that the address names: one, or none."""
    query = urlsplit(url).query
    fields = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    return fields.get("bodySHA256", [])


def _body_is_signed(body: bytes, named: list[str]) -> None:
    """A body without fields of a form is signed by its digest in the address, or not at all."""
    digest = hashlib.sha256(body).hexdigest()
    if len(named) != 1 or not hmac.compare_digest(named[0].lower().encode(), digest.encode()):
        raise Fault


def _twilio_id(request: SignedRequest, fields: dict[str, str]) -> str | None:
    """Twilio's own token; one call or message has many callbacks under its SID."""
    if token := header(request, "i-twilio-idempotency-token"):
        return bounded(token)
    sid = fields.get("MessageSid") or fields.get("CallSid")
    return content_id(request, sid) if sid else None


def _either(loaded: Loaded, claim: Claim) -> bytes | None:
    return _SIZES[len(claim.signatures[0])](loaded, claim)


def _square(request: SignedRequest, options: Options) -> Claim:
    signature = from_base64(needed(request, "x-square-hmacsha256-signature"), 32)
    return Claim(
        (signature,),
        (called(request, options.origin).encode() + request.body,),
        signed=lambda request: (None, body_id(request, "event_id")),
    )


SCHEMES: Final = (
    Scheme(
        name="twilio",
        header="X-Twilio-Signature: base64",
        algorithm="HMAC-SHA1; HMAC-SHA256 with a shared key",
        signs="address and sorted form fields; other bodies by bodySHA256 in the address",
        delivery="I-Twilio-Idempotency-Token (not signed), else SID with a digest of the content",
        source="twilio-python twilio/request_validator.py",
        uses=("origin",),
        build=reads_with(_twilio, _either),
    ),
    Scheme(
        name="square",
        header="x-square-hmacsha256-signature: base64",
        algorithm="HMAC-SHA256",
        signs="address and body",
        delivery="event_id in the body",
        source="square-python-sdk square/utils/webhooks_helper.py",
        uses=("origin",),
        build=reads_with(_square, by_hmac("sha256")),
    ),
)
