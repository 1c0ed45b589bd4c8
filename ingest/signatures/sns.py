# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""AWS SNS: RSA over fields of the body, by a certificate that the body names.

Everybody can let SNS sign a message of his own topic, so the keys of this scheme are the ARNs of
your topics; a message of another one is `key_unknown` before anything is fetched. SNS publishes
the certificate alone, without a chain: it is believed from `sns.<region>.amazonaws.com` only.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from ..rfc3339 import parse_time
from ..vocabulary import Reason
from .base import SignedRequest, Verification
from .certificates import Certificates, Pin, https_get
from .judging import Claim, Loaded, Window, judge
from .keys import TOPIC_ARN
from .public_keys import holds_rsa
from .reading import Fault, bounded, from_base64, parsed, stamped
from .scheme import Judged, Options, Scheme

# Names of regions alone: sns.s3-us-west-2.amazonaws.com is a bucket that anybody can call "sns".
_WHERE: Final = r"(?:central|(?:north|south)(?:east|west)?|east|west)-[1-9][0-9]?"
_REGION: Final = (
    rf"(?:(?!cn-)[a-z]{{2}}-(?:(?:gov|iso[a-z]?)-)?{_WHERE}\.amazonaws\.com"
    rf"|cn-{_WHERE}\.amazonaws\.com\.cn)"
)
PIN: Final = Pin(
    re.compile(rf"https://sns\.{_REGION}/SimpleNotificationService-[A-Za-z0-9]{{1,64}}\.pem"),
    re.compile(rf"sns\.(?:amazonaws\.com(?:\.cn)?|{_REGION})"),
    chain=False,
)
ADVISED_S: Final = 3600  # AWS advises to refuse what is older
AHEAD_S: Final = 300
_FORMS: Final = {"1": "sha1", "2": "sha256"}
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = (
    "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
)  # fmt: skip
_SIGNED: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


def _build(keys: Sequence[Loaded], window: Window, options: Options) -> Judged:
    held = Certificates(PIN, options.fetch or https_get, options.roots)

    def judged(request: SignedRequest) -> Verification:
        message = _message(request)
        topics = [one for one in keys if one.material.decode() == message["TopicArn"]]
        if not topics:
            raise Fault(Reason.KEY_UNKNOWN, delivery_id=bounded(message["MessageId"]))
        return judge(request, _read(request, message, held, window), topics, _match, window)

    return judged


def _message(request: SignedRequest) -> dict[str, Any]:
    message = parsed(request.body)
    if not message.get("Signature"):
        raise Fault(Reason.SIGNATURE_MISSING)
    needed = _SIGNED[message["Type"]]
    for name in (*needed, "SignatureVersion", "SigningCertURL"):
        if not isinstance(message.get(name), str) and name not in {"Subject", "Timestamp"}:
            raise Fault
    return message  # type: ignore[no-any-return]  # an object, or .get has raised


def _read(
    request: SignedRequest, message: dict[str, Any], held: Certificates, window: Window
) -> Claim:
    signature = from_base64(message["Signature"])
    form = _FORMS[message["SignatureVersion"]]
    named = bounded(message["MessageId"])
    signed_at: datetime = stamped(message.get("Timestamp") or "", parse_time, signature, named)
    url = message["SigningCertURL"]
    lines = [
        f"{name}\n{message[name]}\n"
        for name in _SIGNED[message["Type"]]
        if message.get(name) is not None
    ]
    return Claim(
        (signature,),
        ("".join(lines).encode(), form.encode()),
        signed_at=signed_at,
        delivery_id=named,
        public=held.claimed(url, request.now, signature, named, signed_at, window),
    )


def _match(_: Loaded, claim: Claim) -> bytes | None:
    content, form = claim.contents
    held = holds_rsa(claim.public, claim.signatures[0], content, form.decode())
    return claim.signatures[0] if held else None


SCHEMES: Final = (
    Scheme(
        name="aws-sns",
        header="Signature in the body: base64",
        algorithm="RSA, SHA-1 (version 1) or SHA-256 (version 2), by certificate",
        signs="names and values of 6 or 7 fields of the body",
        timestamp="Timestamp in the body (RFC 3339)",
        window=Window(ADVISED_S, AHEAD_S),
        delivery="MessageId (signed)",
        replay="time and delivery id",
        source="aws-js-sns-message-validator index.js; 1 h: AWS's advice",
        key=TOPIC_ARN,
        uses=("fetch",),
        may_block=True,
        build=_build,
    ),
)
