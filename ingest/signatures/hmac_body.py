# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Schemes that sign the body alone: GitHub, Shopify, Intercom, Linear, Atlassian, PagerDuty.

Nothing but the content is under the signature, so a captured call stays valid for ever; Linear
alone writes the time into the body. Delivery ids in headers are not signed.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from ..vocabulary import Reason
from .base import SignedRequest
from .judging import Claim, Read, Window, by_hmac
from .keys import HEX
from .reading import (
    MAX_SIGNATURES,
    Fault,
    body_field,
    body_id,
    bounded,
    content_id,
    from_base64,
    from_hex,
    header,
    milliseconds,
    needed,
)
from .scheme import Scheme, reads

Id = Callable[[SignedRequest], str | None]
LINEAR_S: Final = 60


def _header_id(*names: str) -> Id:
    def read(request: SignedRequest) -> str | None:
        return bounded(next((text for name in names if (text := header(request, name))), ""))

    return read


def _signed(
    name: str,
    decode: Callable[[str], bytes],
    *,
    delivery: Id | None = None,
    inside: Id | None = None,
) -> Read:
    """The claim of a header with one signature; the id stands in a header, or inside the body."""

    def read(request: SignedRequest) -> Claim:
        signature = decode(needed(request, name))
        return Claim(
            (signature,),
            (request.body,),
            delivery_id=delivery(request) if delivery else None,
            signed=(lambda request: (None, inside(request))) if inside else None,
        )

    return read


def _prefixed(prefix: str, size: int) -> Callable[[str], bytes]:
    def decode(text: str) -> bytes:
        if not text.startswith(prefix):  # the same header carries other algorithms elsewhere
            raise Fault
        return from_hex(text.removeprefix(prefix), size)

    return decode


def _linear(request: SignedRequest) -> Claim:
    return Claim(
        (from_hex(needed(request, "linear-signature"), 32),),
        (request.body,),
        delivery_id=bounded(header(request, "linear-delivery")),
        signed=_linear_time,
    )


def _linear_time(request: SignedRequest) -> tuple[datetime | None, str | None]:
    """The time in the body: the one in a header is not signed."""
    given = body_field(request, "webhookTimestamp")
    whole = isinstance(given, int) and not isinstance(given, bool)
    return (
        milliseconds(str(given)) if whole else None,
        bounded(header(request, "linear-delivery")),
    )


def _pagerduty(request: SignedRequest) -> Claim:
    signatures = []
    for entry in needed(request, "x-pagerduty-signature").split(",", MAX_SIGNATURES):
        try:
            signatures.append(_prefixed("v1=", 32)(entry.strip()))
        except Fault:
            continue
    if not signatures:
        raise Fault(Reason.SIGNATURE_MALFORMED)
    return Claim(
        tuple(signatures[:MAX_SIGNATURES]),
        (request.body,),
        signed=lambda request: (None, body_id(request, "event", "id")),
    )


def _adyen_id(request: SignedRequest) -> str | None:
    """The object and its content: one object has many notifications."""
    named = body_id(request, "data", "id")
    return bounded(content_id(request, named)) if named else None


_SHA256, _SHA1 = by_hmac("sha256"), by_hmac("sha1")
_GITHUB: Final = _header_id("x-github-delivery")
_ATLASSIAN: Final = _header_id("x-atlassian-webhook-identifier", "x-request-uuid")
_BODY: Final = "the body"

SCHEMES: Final = (
    Scheme(
        name="github",
        header="X-Hub-Signature-256: sha256=hex",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        delivery="X-GitHub-Delivery (not signed)",
        source="github/docs, validating-webhook-deliveries",
        build=reads(
            _signed("x-hub-signature-256", _prefixed("sha256=", 32), delivery=_GITHUB), _SHA256
        ),
    ),
    Scheme(
        name="github-sha1",
        header="X-Hub-Signature: sha1=hex",
        algorithm="HMAC-SHA1",
        signs=_BODY,
        delivery="X-GitHub-Delivery (not signed)",
        source="github/docs, validating-webhook-deliveries: kept for old receivers",
        build=reads(_signed("x-hub-signature", _prefixed("sha1=", 20), delivery=_GITHUB), _SHA1),
    ),
    Scheme(
        name="shopify",
        header="X-Shopify-Hmac-SHA256: base64",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        delivery="X-Shopify-Webhook-Id (not signed)",
        source="shopify-api-js lib/types.ts",
        build=reads(
            _signed(
                "x-shopify-hmac-sha256",
                lambda text: from_base64(text, 32),
                delivery=_header_id("x-shopify-webhook-id"),
            ),
            _SHA256,
        ),
    ),
    Scheme(
        name="intercom",
        header="X-Hub-Signature: sha1=hex",
        algorithm="HMAC-SHA1",
        signs=_BODY,
        delivery="id in the body",
        source="developers.intercom.com, signed notifications",
        build=reads(
            _signed(
                "x-hub-signature",
                _prefixed("sha1=", 20),
                inside=lambda request: body_id(request, "id"),
            ),
            _SHA1,
        ),
    ),
    Scheme(
        name="atlassian",
        header="X-Hub-Signature: sha256=hex",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        delivery="X-Atlassian-Webhook-Identifier (Jira) or X-Request-UUID (Bitbucket), not signed",
        source="Atlassian's Jira and Bitbucket webhook documents",
        build=reads(
            _signed("x-hub-signature", _prefixed("sha256=", 32), delivery=_ATLASSIAN), _SHA256
        ),
    ),
    Scheme(
        name="linear",
        header="Linear-Signature: hex",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        timestamp="webhookTimestamp in the body",
        window=Window(LINEAR_S, LINEAR_S),
        delivery="Linear-Delivery (not signed)",
        replay="time and delivery id",
        source="linear packages/sdk/src/webhooks/client.ts",
        build=reads(_linear, _SHA256),
    ),
    Scheme(
        name="pagerduty",
        header="X-PagerDuty-Signature: v1=hex[,v1=hex]",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        delivery="event.id in the body",
        source="PagerDuty's documents, verifying signatures",
        build=reads(_pagerduty, _SHA256),
    ),
    Scheme(
        name="adyen-platform",
        header="HmacSignature: base64",
        algorithm="HMAC-SHA256",
        signs=_BODY,
        delivery="data.id in the body, with a digest of the content",
        source="adyen-python-api-library util.py",
        key=HEX,
        build=reads(
            _signed("hmacsignature", lambda text: from_base64(text, 32), inside=_adyen_id), _SHA256
        ),
    ),
)
