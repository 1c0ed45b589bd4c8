"""Schemes with a public key of the sender: Discord (Ed25519) and SendGrid (ECDSA on P-256)."""

from typing import Final

from .base import SignedRequest
from .judging import Claim, Window, by_public_key
from .keys import ED25519, P256
from .public_keys import holds_ecdsa, holds_ed25519
from .reading import body_id, from_base64, from_hex, header, needed, seconds, stamped
from .scheme import Scheme, reads

TOLERANCE_S: Final = 300
_SENDGRID: Final = "x-twilio-email-event-webhook"


def _discord(request: SignedRequest) -> Claim:
    signature = from_hex(needed(request, "x-signature-ed25519"), 64)
    text = header(request, "x-signature-timestamp")
    signed_at = stamped(text, seconds, signature)
    return Claim(
        (signature,),
        (text.encode() + request.body,),
        signed_at=signed_at,
        signed=lambda request: (signed_at, body_id(request, "id")),
    )


def _sendgrid(request: SignedRequest) -> Claim:
    signature = from_base64(needed(request, f"{_SENDGRID}-signature"))
    text = header(request, f"{_SENDGRID}-timestamp")
    signed_at = stamped(text, seconds, signature)
    return Claim(
        (signature,),
        (text.encode() + request.body,),
        signed_at=signed_at,
        signed=lambda request: (signed_at, body_id(request, "[]", "sg_event_id")),
    )


SCHEMES: Final = (
    Scheme(
        name="discord",
        header="X-Signature-Ed25519: hex",
        algorithm="Ed25519",
        signs="time, body",
        timestamp="X-Signature-Timestamp (s)",
        window=Window(TOLERANCE_S, TOLERANCE_S),
        delivery="id in the body",
        replay="time and delivery id",
        source="discord-interactions-python; 300 s as Standard Webhooks, as Discord names none",
        key=ED25519,
        build=reads(_discord, by_public_key(holds_ed25519)),
    ),
    Scheme(
        name="sendgrid",
        header="X-Twilio-Email-Event-Webhook-Signature: base64",
        algorithm="ECDSA P-256, SHA-256",
        signs="time, body",
        timestamp="X-Twilio-Email-Event-Webhook-Timestamp (s)",
        delivery="sg_event_id in the body, of all events",
        replay="delivery id; the time only with a tolerance of your own",
        source="sendgrid-python sendgrid/helpers/eventwebhook",
        key=P256,
        build=reads(_sendgrid, by_public_key(holds_ecdsa)),
    ),
)
