"""Which bytes are a shared secret and which a public key, where a scheme takes both."""

import base64
import random
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingest.errors import SignatureError
from ingest.signatures.base import Key, SignedRequest
from ingest.signatures.key_material import looks_like_a_key
from ingest.signatures.schemes import key_for, verifier_for
from ingest.vocabulary import Verdict
from tests.unit.ingest.signers import (
    EC,
    ED,
    NOW,
    SECRET,
    URL,
    certificate,
    der_public,
    root,
    rsa_key,
    sign_message,
)

KEYS = {"rsa": rsa_key(), "p256": EC, "ed25519": ED}


def _pem(name: str) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return bytes(KEYS[name].public_key().public_bytes(Encoding.PEM, form))


def _spellings(name: str) -> dict[str, bytes]:
    pem, der = _pem(name), der_public(KEYS[name])
    b64 = base64.b64encode(der)
    found = {
        "pem": pem,
        "newline": b"\n" + pem,
        "space": b" " + pem.strip(),
        "bom": b"\xef\xbb\xbf" + pem,
        "comment": b"# key\n" + pem,
        "utf-16": pem.decode().encode("utf-16"),
        "pem in base64": base64.b64encode(pem),
        "der": der,
        "der and newline": der + b"\n",
        "newline and der": b"\n" + der,
        "base64": b64,
        "base64 without padding": b64.rstrip(b"="),
        "base64url": base64.urlsafe_b64encode(der),
        "base64 in lines": b"\n".join(b64[n : n + 64] for n in range(0, len(b64), 64)) + b"\n",
        "hex": der.hex().encode(),
        "jwk": b'{"crv":"P-256", "kty":"EC"}',
        "whpk": b"whpk_" + b64,
    }
    if name != "p256":  # OpenSSH knows it under another name of its curve
        found["openssh"] = bytes(
            KEYS[name].public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        )
    if name == "rsa":
        found["pkcs1"] = bytes(
            KEYS[name].public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        )
        found["private"] = bytes(
            KEYS[name].private_bytes(
                Encoding.DER,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        found["certificate"] = certificate("a.example", KEYS[name].public_key(), by=root()[0])
    return found


@pytest.mark.parametrize("name", KEYS)
def test_no_spelling_of_a_public_key_is_a_shared_secret(name: str) -> None:
    """Everybody knows it: under HMAC everybody could sign by it."""
    for spelling, secret in _spellings(name).items():
        with pytest.raises(SignatureError, match="look like no key") as raised:
            verifier_for("rfc9421", [Key("k1", secret)])
        assert raised.value.__context__ is None, spelling


@pytest.mark.parametrize("name", KEYS)
def test_no_cryptography_is_needed_to_tell_a_public_key(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small installation refuses them all the same."""
    spellings = _spellings(name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert [one for one, raw in spellings.items() if not looks_like_a_key(raw)] == []
    with pytest.raises(SignatureError, match=r"install callwatch-ingest\[asymmetric\]"):
        verifier_for("rfc9421", [Key("k1", spellings["pem"], public=True)])


def test_a_public_key_is_marked_as_one() -> None:
    """Marked, every usual form is read, and no secret passes for one."""
    pem, der = _pem("rsa"), der_public(rsa_key())
    for secret in (pem, b"\n" + pem, der, base64.b64encode(der)):
        verifier_for("rfc9421", [Key("k1", secret, public=True)])
    verifier_for("rfc9421", [key_for("rfc9421", "k1", pem.decode(), public=True)])
    for secret in (SECRET, b"", b"-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(SignatureError, match="marked public=True"):
            verifier_for("rfc9421", [Key("k1", secret, public=True)])
    with pytest.raises(SignatureError, match="the keys of this scheme are shared secrets"):
        verifier_for("github", [Key("k1", SECRET, public=True)])


def test_a_secret_beside_a_public_key_still_verifies() -> None:
    """Both kinds stand side by side, each under its own label."""
    keys = [Key("rsa", _pem("rsa"), public=True), Key("k1", SECRET)]
    request = SignedRequest("POST", URL, sign_message(b"{}", NOW), b"{}", NOW)
    found = verifier_for("rfc9421", keys)(request)
    assert (found.verdict, found.key_id) == (Verdict.VERIFIED, "k1")


def test_honest_secrets_look_like_no_key() -> None:
    """Random bytes, their base64 and hexadecimal digits, words and numbers are taken."""
    draw = random.Random(20261121)
    for size in (16, 24, 32, 33, 48, 64, 200):
        for _ in range(300):
            raw = draw.randbytes(size)
            spelled = (
                raw,
                base64.b64encode(raw),
                base64.urlsafe_b64encode(raw),
                raw.hex().encode(),
            )
            assert [one for one in spelled if looks_like_a_key(one)] == []
    for text in (b"It's a Secret to Everybody", b"0" * 32, b"0", b"", b"M" * 40, b"\x30" * 40):
        assert not looks_like_a_key(text)
    assert not looks_like_a_key(b"\x30\x8e" + bytes(14))
