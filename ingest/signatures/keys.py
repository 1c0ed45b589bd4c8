"""The forms in which providers hand out keys, and what is computed with.

A form takes the bytes of `Key.secret`, as the provider shows the key or already decoded, and
raises whatever it likes for what cannot be one: its error is never shown, as it may hold the key.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .key_material import looks_like_a_key

_ARN: Final = re.compile(r"arn:aws[a-z-]{0,20}:sns:[a-z0-9-]{3,32}:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
_WEBHOOK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MIN_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What a key of a scheme may look like, in words, and how it is read.

    A scheme that takes both kinds reads by `load` what is shared and by `public` what is marked
    `Key.public`; one of public keys alone is `asymmetric`.
    """

    allowed: str
    load: Callable[[bytes], Any]
    asymmetric: bool = False
    public: Callable[[bytes], Any] | None = None


def _text(secret: bytes) -> bytes:
    """A secret as it is; of one that is text, a line's end at its end is a slip."""
    bare = secret.strip()
    slip = len(bare) < len(secret) and bare.isascii() and bare.decode().isprintable()
    if not bare or slip:
        raise ValueError
    return secret


def _standard(secret: bytes) -> bytes:
    bare = secret.strip()
    if not bare or bare.startswith((b"whpk_", b"whsk_")):
        raise ValueError
    if not bare.startswith(b"whsec_"):
        return secret
    return _base64(bare.removeprefix(b"whsec_"))


def _hex32(secret: bytes) -> bytes:
    if len(secret) == 64:
        secret = bytes.fromhex(secret.decode("ascii"))
    if len(secret) != 32:
        raise ValueError
    return secret


def _base64(text: bytes) -> bytes:
    raw = base64.b64decode(text.strip(), validate=True)
    if not raw:
        raise ValueError
    return raw


def _named(pattern: re.Pattern[str]) -> Callable[[bytes], bytes]:
    def load(secret: bytes) -> bytes:
        if pattern.fullmatch(secret.decode("ascii")) is None:
            raise ValueError
        return secret

    return load


def _ed25519(secret: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(secret) == 64:  # as Discord's portal shows it
        secret = bytes.fromhex(secret.decode("ascii"))
    elif len(secret) != 32 and not secret.startswith(b"-----"):
        secret = _base64(secret.removeprefix(b"whpk_"))
    if len(secret) == 32:
        return Ed25519PublicKey.from_public_bytes(secret)
    public = public_key(secret)
    if not isinstance(public, Ed25519PublicKey):
        raise TypeError
    return public


def _p256(secret: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    public = public_key(secret)
    if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
        raise TypeError
    return public


def _shared(secret: bytes) -> bytes:
    """A shared secret beside which a scheme takes public keys: whatever looks like one is none."""
    if looks_like_a_key(secret):
        raise ValueError
    return _text(secret)


def _message(secret: bytes) -> Any:
    """A public key of one of the algorithms of message signatures."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    public = public_key(secret)
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA_BITS:
            raise ValueError
    elif isinstance(public, ec.EllipticCurvePublicKey):
        if not isinstance(public.curve, ec.SECP256R1 | ec.SECP384R1):
            raise TypeError
    elif not isinstance(public, ed25519.Ed25519PublicKey):
        raise TypeError
    return public


def public_key(secret: bytes) -> Any:
    """A public key from PEM, DER or DER in base64."""
    from cryptography.hazmat.primitives.serialization import (
        load_der_public_key,
        load_pem_public_key,
    )

    if secret.strip().startswith(b"-----"):
        return load_pem_public_key(secret.strip())
    try:
        return load_der_public_key(secret)
    except ValueError:
        return load_der_public_key(_base64(secret))


TEXT: Final = KeyForm("the secret as the provider shows it, without white space around it", _text)
STANDARD: Final = KeyForm("whsec_<base64>, or its decoded bytes", _standard)
HEX: Final = KeyForm("64 hexadecimal digits, or the 32 bytes that they stand for", _hex32)
ED25519: Final = KeyForm(
    "an Ed25519 public key: 64 hexadecimal digits, whpk_<base64>, 32 bytes, PEM or DER",
    _ed25519,
    asymmetric=True,
)
P256: Final = KeyForm("a public key on P-256: DER in base64, PEM or DER", _p256, asymmetric=True)
MESSAGE: Final = KeyForm(
    "the bytes of a shared secret that look like no key or certificate; or, marked public=True, a"
    " public key in PEM or DER form (Ed25519, P-256, P-384, RSA from 2048 bits)",
    _shared,
    public=_message,
)
WEBHOOK_ID: Final = KeyForm("the id of the webhook at PayPal", _named(_WEBHOOK_ID), asymmetric=True)
TOPIC_ARN: Final = KeyForm("the ARN of the topic at SNS", _named(_ARN), asymmetric=True)
