# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""PayPal: RSA over ids, time and a checksum of the body, by a certificate that the request names.

The id of the webhook is under the signature and stands in no request: the keys of this scheme are
the ids of your webhooks. The body itself is not signed, only its CRC-32, and another body with
the same one is easily made: who caught a call could send it again with other content. So refuse
repeated delivery ids, and ask PayPal's API before money moves.
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final

from ..rfc3339 import parse_time
from .base import SignedRequest, Verification
from .certificates import Certificates, Pin, https_get
from .judging import Claim, Loaded, Window, judge
from .keys import WEBHOOK_ID
from .public_keys import holds_rsa
from .reading import Fault, bounded, from_base64, header, needed, stamped
from .scheme import Build, Judged, Options, Scheme

_PATH: Final = r"/v1/notifications/certs/[A-Za-z0-9][A-Za-z0-9_-]{0,127}"
_NAMES: Final = re.compile(r"messageverificationcerts(\.sandbox)?\.paypal\.com")
PIN: Final = Pin(re.compile(r"https://api(-m)?\.paypal\.com" + _PATH), _NAMES, chain=True)
SANDBOX: Final = Pin(
    re.compile(r"https://api(-m)?\.sandbox\.paypal\.com" + _PATH), _NAMES, chain=True
)


def _build(pin: Pin) -> Build:
    def build(keys: Sequence[Loaded], window: Window, options: Options) -> Judged:
        held = Certificates(pin, options.fetch or https_get, options.roots)

        def judged(request: SignedRequest) -> Verification:
            return judge(request, _read(request, held, window), keys, _match, window)

        return judged

    return build


def _read(request: SignedRequest, held: Certificates, window: Window) -> Claim:
    signature = from_base64(needed(request, "paypal-transmission-sig"))
    named = bounded(header(request, "paypal-transmission-id"))
    when = header(request, "paypal-transmission-time")
    algorithm = header(request, "paypal-auth-algo")
    if not named or algorithm.lower() != "sha256withrsa":
        raise Fault(signature=signature, delivery_id=named)
    signed_at = stamped(when, parse_time, signature, named)
    url = header(request, "paypal-cert-url")
    public = held.claimed(url, request.now, signature, named, signed_at, window)
    first = f"{header(request, 'paypal-transmission-id')}|{when}|".encode()
    last = f"|{zlib.crc32(request.body)}".encode()
    return Claim((signature,), (first, last), signed_at=signed_at, delivery_id=named, public=public)


def _match(loaded: Loaded, claim: Claim) -> bytes | None:
    first, last = claim.contents
    held = holds_rsa(claim.public, claim.signatures[0], first + loaded.material + last)
    return claim.signatures[0] if held else None


def _scheme(name: str, pin: Pin) -> Scheme:
    return Scheme(
        name=name,
        header="PAYPAL-TRANSMISSION-SIG: base64",
        algorithm="RSA, SHA-256, by certificate",
        signs="transmission id, time, webhook id, CRC-32 of the body",
        timestamp="PAYPAL-TRANSMISSION-TIME (RFC 3339)",
        delivery="PAYPAL-TRANSMISSION-ID (signed)",
        replay="delivery id; the time only with a tolerance of your own",
        source="docs.paypal.ai, verify-webhook-signature",
        key=WEBHOOK_ID,
        uses=("fetch", "roots"),
        may_block=True,
        build=_build(pin),
    )


SCHEMES: Final = (_scheme("paypal", PIN), _scheme("paypal-sandbox", SANDBOX))
