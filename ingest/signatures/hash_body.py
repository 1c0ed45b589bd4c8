"""HubSpot's older schemes: a plain SHA-256 of secret and content, without a time.

No HMAC: whoever sees one signature can extend the content behind it. Use v3 where you can.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from .address import called
from .base import SignedRequest
from .judging import Claim, Loaded
from .reading import Fault, body_id, from_hex, header, needed
from .scheme import Options, Scheme, reads_with


def _read(version: str) -> Callable[[SignedRequest, Options], Claim]:
    def read(request: SignedRequest, options: Options) -> Claim:
        signature = from_hex(needed(request, "x-hubspot-signature"), 32)
        if header(request, "x-hubspot-signature-version") not in {"", version}:
            raise Fault  # an attacker must not choose the version that covers less
        before = b""
        if version == "v2":
            before = (request.method + called(request, options.origin)).encode()
        return Claim(
            (signature,),
            (before + request.body,),
            signed=lambda request: (None, body_id(request, "[]", "eventId")),
        )

    return read


def _match(loaded: Loaded, claim: Claim) -> bytes | None:
    expected = hashlib.sha256(loaded.material + claim.contents[0]).digest()
    hit = hmac.compare_digest(expected, claim.signatures[0])
    return claim.signatures[0] if hit else None


def _scheme(version: str, signs: str, uses: tuple[str, ...]) -> Scheme:
    return Scheme(
        name=f"hubspot-{version}",
        header=f"X-HubSpot-Signature: hex; X-HubSpot-Signature-Version: {version}",
        algorithm="SHA-256 of secret and content",
        signs=signs,
        delivery="eventId in the body, of all events",
        source="hubspot-api-python hubspot/utils/signature.py",
        uses=uses,
        build=reads_with(_read(version), _match),
    )


SCHEMES: Final = (
    _scheme("v1", "the body", ()),
    _scheme("v2", "method, address, body", ("origin",)),
)
