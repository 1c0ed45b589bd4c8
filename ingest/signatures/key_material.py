"""What a public key looks like in all its spellings, so that none passes for a shared secret.

Whoever knows the public key, and that is everybody, could sign by HMAC with it.
"""

import base64
import binascii
import re
from typing import Final

_SEQUENCE: Final = 0x30
_FIRST_INSIDE: Final = (0x30, 0x02)  # an algorithm or a certificate's body; a number of RSA's
_SPARE: Final = 4  # bytes behind a DER value: the end of a line, a NUL
_BEGIN: Final = b"-----BEGIN"
_ONE_LINE: Final = re.compile(
    rb"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-[a-z0-9-]{1,32}|sk-[a-z0-9@.-]{1,64}) [A-Za-z0-9+/=]"
    rb"|(?:whpk|whsk)_"
    rb"|\{[^}]{0,256}\"kty\""
)
_BLANK: Final = re.compile(rb"\s")
_HEX: Final = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,}")
_BOM: Final = b"\xef\xbb\xbf"


def looks_like_a_key(secret: bytes) -> bool:
    """Whether bytes are a key or certificate: PEM, DER, JWK, OpenSSH; also in base64 or hex.

    Told by form alone, so that nothing depends on which curves somebody's library knows. By
    chance fewer than one in a million of random secrets look like that.
    """
    bare = secret.replace(b"\x00", b"")  # of UTF-16, too
    if _BEGIN in bare or bare.strip().startswith(b"----") or _ONE_LINE.search(bare) is not None:
        return True
    if any(_is_der(one) for one in (secret, secret.lstrip(), secret.removeprefix(_BOM).lstrip())):
        return True
    return any(_is_der(one) or _BEGIN in one for one in _decoded(bare))


def _decoded(text: bytes) -> list[bytes]:
    """What a text stands for in base64 and in hexadecimal digits."""
    packed = _BLANK.sub(b"", text.removeprefix(_BOM))
    found = []
    try:
        even = packed.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        found.append(base64.b64decode(even + b"=" * (-len(even) % 4), validate=True))
    except (binascii.Error, ValueError):
        pass
    if _HEX.fullmatch(packed):
        found.append(bytes.fromhex(packed.decode()))
    return found


def _is_der(raw: bytes) -> bool:
    """A sequence of just this length whose first part is one that keys begin with."""
    if len(raw) < 16 or raw[0] != _SEQUENCE:
        return False
    size, at = raw[1], 2
    if size & 0x80:
        at += size & 0x7F
        size = int.from_bytes(raw[2:at])
    end = at + size
    return size > 1 and end <= len(raw) <= end + _SPARE and raw[at] in _FIRST_INSIDE
