"""Schemes that sign a time with the body under a shared secret: Stripe, Slack, Zoom, HubSpot v3.

Stripe's and HubSpot's own libraries look at the age alone. Here a time ahead of the clock is
refused as well: it would keep a captured call valid for longer.
"""

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from .address import called
from .base import SignedRequest
from .judging import Claim, Window, by_hmac
from .reading import (
    MAX_SIGNATURES,
    Fault,
    body_id,
    content_id,
    from_base64,
    from_hex,
    header,
    milliseconds,
    needed,
    seconds,
    stamped,
)
from .scheme import Options, Scheme, reads, reads_with

TOLERANCE_S: Final = 300
_WINDOW: Final = Window(TOLERANCE_S, TOLERANCE_S)
_DECODED: Final = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def _stripe(request: SignedRequest) -> Claim:
    times, signatures = [], []
    for entry in needed(request, "stripe-signature").split(",", MAX_SIGNATURES):
        name, _, value = entry.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1":
            try:
                signatures.append(from_hex(value, 32))
            except Fault:
                continue
    if not signatures or len(set(times)) > 1:
        raise Fault
    text = times[0] if times else ""
    signed_at = stamped(text, seconds, signatures[0])
    return Claim(
        tuple(signatures[:MAX_SIGNATURES]),
        (text.encode() + b"." + request.body,),
        signed_at=signed_at,
        signed=lambda request: (signed_at, body_id(request, "id")),
    )


def _v0(prefix: str, delivery: Callable[[SignedRequest], str | None]) -> Callable[..., Claim]:
    """The form that Slack and Zoom share: `v0:time:body`."""

    def read(request: SignedRequest) -> Claim:
        given = needed(request, f"{prefix}-signature")
        if not given.startswith("v0="):
            raise Fault
        signature = from_hex(given.removeprefix("v0="), 32)
        text = header(request, f"{prefix}-request-timestamp")
        signed_at = stamped(text, seconds, signature)
        return Claim(
            (signature,),
            (b"v0:" + text.encode() + b":" + request.body,),
            signed_at=signed_at,
            signed=lambda request: (signed_at, delivery(request)),
        )

    return read


def _hubspot(request: SignedRequest, options: Options) -> Claim:
    signature = from_base64(needed(request, "x-hubspot-signature-v3"), 32)
    text = header(request, "x-hubspot-request-timestamp")
    signed_at = stamped(text, milliseconds, signature)
    uri = called(request, options.origin)
    if len(uri) > 8192:
        raise Fault
    ends = request.body + text.encode()
    contents = dict.fromkeys(
        (request.method + one).encode() + ends for one in (_readable(uri), uri)
    )
    return Claim(
        (signature,),
        tuple(contents),
        signed_at=signed_at,
        signed=lambda request: (signed_at, body_id(request, "[]", "eventId")),
    )


def _readable(uri: str) -> str:
    """The address with those characters decoded that HubSpot decodes before it signs."""
    parts = urlsplit(uri)
    rest = uri.removeprefix(f"{parts.scheme}://{parts.netloc}")
    decoded = _DECODED.sub(lambda found: chr(int(found[1], 16)), rest)
    return uri.removesuffix(rest) + decoded if rest else uri


_SHA256 = by_hmac("sha256")

SCHEMES: Final = (
    Scheme(
        name="stripe",
        header="Stripe-Signature: t=time,v1=hex[,v1=hex]",
        algorithm="HMAC-SHA256",
        signs="time.body",
        timestamp="t in the header (s)",
        window=_WINDOW,
        delivery="id in the body",
        replay="time and delivery id",
        source="stripe-python stripe/_webhook.py",
        build=reads(_stripe, _SHA256),
    ),
    Scheme(
        name="slack",
        header="X-Slack-Signature: v0=hex",
        algorithm="HMAC-SHA256",
        signs="v0:time:body",
        timestamp="X-Slack-Request-Timestamp (s)",
        window=_WINDOW,
        delivery="event_id in the body",
        replay="time and delivery id",
        source="docs.slack.dev, verifying-requests-from-slack",
        build=reads(_v0("x-slack", lambda request: body_id(request, "event_id")), _SHA256),
    ),
    Scheme(
        name="zoom",
        header="x-zm-signature: v0=hex",
        algorithm="HMAC-SHA256",
        signs="v0:time:body",
        timestamp="x-zm-request-timestamp (s)",
        window=_WINDOW,
        delivery="none of its own: a digest of the content",
        replay="time",
        source="help.moveworks.com, zoom example; 300 s: ngrok/webhooks.fyi, as Zoom names none",
        build=reads(_v0("x-zm", content_id), _SHA256),
    ),
    Scheme(
        name="hubspot",
        header="X-HubSpot-Signature-v3: base64",
        algorithm="HMAC-SHA256",
        signs="method, address, body, time",
        timestamp="X-HubSpot-Request-Timestamp (ms)",
        window=_WINDOW,
        delivery="eventId in the body, of all events",
        replay="time and delivery id",
        source="hubspot-api-python hubspot/utils/signature.py",
        uses=("origin",),
        build=reads_with(_hubspot, _SHA256),
    ),
)
