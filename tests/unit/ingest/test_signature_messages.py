"""HTTP message signatures (RFC 9421), against the library that signs them."""

import dataclasses
import hashlib
import math
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, algorithms
from hypothesis import given
from hypothesis import strategies as st

from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.schemes import verifier_for
from ingest.signatures.structured import dictionary
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import (
    EC,
    ED,
    NOW,
    SECRET,
    URL,
    Message,
    Resolver,
    b64,
    mac,
    rsa_key,
    sign_message,
)

BODY = b'{"id":1}'
SIGNER = HTTPMessageSigner(
    signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Resolver(SECRET)
)
P384 = ec.derive_private_key(20261121, ec.SECP384R1())


def _pem(key: Any) -> bytes:
    return bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


KINDS: dict[str, tuple[Any, Any, bytes]] = {
    "hmac": (SECRET, algorithms.HMAC_SHA256, SECRET),
    "ed25519": (ED, algorithms.ED25519, _pem(ED)),
    "p256": (EC, algorithms.ECDSA_P256_SHA256, _pem(EC)),
    "p384": (P384, algorithms.ECDSA_P384_SHA384, _pem(P384)),
    "rsa-pss": (rsa_key(), algorithms.RSA_PSS_SHA512, _pem(rsa_key())),
    "rsa-v1_5": (rsa_key(), algorithms.RSA_V1_5_SHA256, _pem(rsa_key())),
}


def _request(headers: dict[str, str], body: bytes = BODY, url: str = URL) -> SignedRequest:
    return SignedRequest("POST", url, headers, body, NOW)


def _verify(
    headers: dict[str, str], body: bytes = BODY, key: bytes = SECRET, **settings: Any
) -> Verification:
    given = Key("k1", key, public=key.startswith(b"-----"))
    return verifier_for("rfc9421", [given], **settings)(_request(headers, body))


@pytest.mark.parametrize("kind", KINDS)
def test_each_algorithm_verifies_and_notices_a_change(kind: str) -> None:
    """What the library signs is right; one bit of the signature makes it wrong."""
    key, algorithm, public = KINDS[kind]
    headers = sign_message(BODY, NOW, key=key, algorithm=algorithm, nonce="n1")
    found = _verify(headers, key=public)
    assert (found.verdict, found.key_id, found.signed_at) == (Verdict.VERIFIED, "k1", NOW)
    assert found.delivery_id == "n1"
    assert found.signature is not None
    changed = bytes([found.signature[0] ^ 1]) + found.signature[1:]
    headers["Signature"] = f"sig1=:{b64(changed)}:"
    assert _verify(headers, key=public).reason is Reason.SIGNATURE_INVALID
    headers["Signature"] = "sig1=:AAAA:"
    assert _verify(headers, key=public).reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_key_fixes_its_algorithm(kind: str, other: str) -> None:
    """No public key is ever taken for a shared secret, and no key for one of another kind."""
    if kind.partition("-")[0] == other.partition("-")[0]:
        return
    key, algorithm, _ = KINDS[kind]
    headers = sign_message(BODY, NOW, key=key, algorithm=algorithm)
    assert _verify(headers, key=KINDS[other][2]).verdict is Verdict.REJECTED
    public = KINDS[other][2]
    forged = sign_message(BODY, NOW, key=public, algorithm=algorithms.HMAC_SHA256)
    if other != "hmac":
        assert _verify(forged, key=public).reason is Reason.SIGNATURE_INVALID


COMPONENTS = (
    '"@method"', '"@target-uri"', '"@authority"', '"@scheme"', '"@request-target"', '"@path"',
    '"@query"', '"@query-param";name="a"', '"@query-param";name="e%20f"', '"x-one"', '"x-two"',
    '"x-dict";key="b"', '"content-digest"',
)  # fmt: skip
URLS = (
    "https://hooks.example/in?a=1&e%20f=%C3%A9~*", "https://Hooks.Example:443/?a=&e%20f=x",
    "http://hooks.example:80/a/b%20c?a=%2B&e%20f=1+2", "https://hooks.example:8443/?e%20f=1&a=b",
)  # fmt: skip


@given(
    st.lists(st.sampled_from(COMPONENTS), unique=True, max_size=6),
    st.sampled_from(URLS),
    st.text("abc ;=,()\t\"'", max_size=12),
    st.sampled_from(["GET", "POST", "DELETE"]),
)
def test_the_library_and_ours_agree_on_what_is_signed(
    components: list[str], url: str, text: str, method: str
) -> None:
    """Whatever parts of a request are covered, both build the same base."""
    digest = b64(hashlib.sha256(BODY).digest())
    message = Message(
        {
            "Content-Digest": f"sha-256=:{digest}:",
            "X-One": text.strip(" \t") or "-",
            "X-Two": "plain",
            "X-Dict": 'a=1,  b=(1  "x");y ,c',
        },
        url,
        method,
    )
    SIGNER.sign(
        message, key_id="k1", created=NOW, label="s", covered_component_ids=components,
        use_existing_digest=True,
    )  # fmt: skip
    verify = verifier_for("rfc9421", [Key("k1", SECRET)], covered=())
    request = SignedRequest(method, url, message.headers, BODY, NOW)
    assert verify(request).verdict is Verdict.VERIFIED
    if '"x-two"' in components:
        changed = dataclasses.replace(request, headers={**message.headers, "X-Two": "other"})
        assert verify(changed).reason is Reason.SIGNATURE_INVALID


@given(st.integers(0, 400), st.sampled_from('a0";=(),: \\?'))
def test_the_library_accepts_what_ours_accepts(at: int, character: str) -> None:
    """One changed character anywhere in the two headers: ours never says yes where it says no."""
    headers = sign_message(BODY, NOW, nonce="n1")
    joined = headers["Signature-Input"] + "|" + headers["Signature"]
    at %= len(joined)
    changed = (joined[:at] + character + joined[at + 1 :]).partition("|")
    headers["Signature-Input"], headers["Signature"] = changed[0], changed[2]
    if _verify(headers).verdict is not Verdict.VERIFIED:
        return
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Resolver(SECRET)
    )

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return NOW

    with patch("http_message_signatures.signatures.datetime.datetime", Stopped):
        assert verifier.verify(Message(headers), body=BODY)


def test_a_body_must_be_covered_unless_something_else_is_asked_for() -> None:
    """Else anybody could put another body under a signature."""
    headers = sign_message(BODY, NOW, components=("@method", "@target-uri"))
    assert _verify(headers).reason is Reason.SIGNATURE_MALFORMED
    assert _verify(headers, b"").verdict is Verdict.VERIFIED
    assert _verify(headers, covered=("@method",)).verdict is Verdict.VERIFIED
    assert _verify(headers, covered=("@authority",)).reason is Reason.SIGNATURE_MALFORMED
    whole = sign_message(BODY, NOW)
    assert _verify(whole).verdict is Verdict.VERIFIED
    assert _verify(whole, BODY + b" ").reason is Reason.SIGNATURE_MALFORMED
    assert _verify(whole, BODY + b" ", covered=()).reason is Reason.SIGNATURE_MALFORMED


BARE = "https://hooks.example/in"


@pytest.mark.parametrize(
    ("components", "url", "enough"),
    [
        ((), URL, False),
        (("@method",), URL, False),
        (("@target-uri",), URL, False),
        (("@method", "@path"), BARE, False),
        (("@method", "@authority"), BARE, False),
        (("@method", "@authority", "@path"), URL, False),  # a query could have been added
        (("@method", "@authority", "@query"), URL, False),
        (("@method", "@authority", '"@query-param";name="tenant"', "@path"), URL, False),
        (("@method", "@target-uri"), URL, True),
        (("@method", "@authority", "@path"), BARE, True),
        (("@method", "@authority", "@path", "@query"), URL, True),
        (("@method", "@authority", "@request-target"), URL, True),
    ],
)
def test_method_and_address_must_be_covered(
    components: tuple[str, ...], url: str, enough: bool
) -> None:
    """Else a call without a body that was caught once could be made anywhere, by any method."""
    message = Message({}, url)
    SIGNER.sign(message, key_id="k1", created=NOW, label="s", covered_component_ids=components)
    found = verifier_for("rfc9421", [Key("k1", SECRET)])(_request(message.headers, b"", url))
    assert found.reason is (None if enough else Reason.SIGNATURE_MALFORMED)
    asked = verifier_for("rfc9421", [Key("k1", SECRET)], covered=())
    assert asked(_request(message.headers, b"", url)).verdict is Verdict.VERIFIED


def _by_hand(names: str, fields: dict[str, str], more: str = "") -> dict[str, str]:
    """The headers of a message whose covered parts are spelled by hand, `@` ones left out."""
    created = int(NOW.timestamp())
    covered = f'("@method" "@target-uri" {names});created={created}{more};keyid="k1"'
    lines = ['"@method": POST', f'"@target-uri": {URL}', *(f"{k}: {v}" for k, v in fields.items())]
    base = "\n".join([*lines, f'"@signature-params": {covered}']).encode()
    return {"Signature-Input": f"s={covered}", "Signature": f"s=:{b64(mac(base))}:"}


@pytest.mark.parametrize(
    ("key", "good"), [("old", False), ("sha-512", False), ("md5", False), ("sha-256", True)]
)
def test_a_covered_member_is_the_digest_that_is_checked(key: str, good: bool) -> None:
    """Another member under the signature leaves the one that was checked to be exchanged."""
    name = f'"content-digest";key="{key}"'
    right = f":{b64(hashlib.sha256(BODY).digest())}:"
    headers = _by_hand(name, {name: right if good else ":AAAA:"})
    headers["Content-Digest"] = f"sha-256={right}" + ("" if good else f", {key}=:AAAA:")
    found = _verify(headers)
    assert (found.verdict is Verdict.VERIFIED) == good
    assert found.reason is (None if good else Reason.SIGNATURE_MALFORMED)
    assert (_verify(headers, covered=()).verdict is Verdict.VERIFIED) == good
    other = f":{b64(hashlib.sha256(b'other').digest())}:"
    headers["Content-Digest"] = headers["Content-Digest"].replace(right, other)
    assert _verify(headers, b"other").verdict is Verdict.REJECTED


@pytest.mark.parametrize("field", ["md5=:AAAA:", "sha-256=:{0}:, sha-512=:{1}:", "-", "sha-256=1"])
def test_a_digest_must_be_one_that_is_known(field: str) -> None:
    """An old hash alone proves nothing; of two known ones both must be right."""
    digest = field.format(b64(hashlib.sha256(BODY).digest()), b64(bytes(64)))
    name = '"content-digest"'
    headers = {"Content-Digest": digest, **_by_hand(name, {name: digest})}
    assert _verify(headers).reason is Reason.SIGNATURE_MALFORMED
    right = headers["Content-Digest"].partition(",")[0]
    if right != digest:
        headers = {"Content-Digest": right, **_by_hand(name, {name: right})}
        assert _verify(headers).verdict is Verdict.VERIFIED


def test_times_of_a_message() -> None:
    """Undated ones are missing a time; an end that has passed is stale."""
    covered = '("@method" "@target-uri");keyid="k1"'
    base = f'"@method": POST\n"@target-uri": {URL}\n"@signature-params": {covered}'.encode()
    undated = {"Signature-Input": f"s={covered}", "Signature": f"s=:{b64(mac(base))}:"}
    found = _verify(undated, b"")
    assert (found.reason, found.signature_ok) == (Reason.TIMESTAMP_MISSING, True)
    assert _verify(undated, b"", tolerance_s=math.inf).verdict is Verdict.VERIFIED
    ended = sign_message(BODY, NOW - timedelta(60), expires=NOW - timedelta(seconds=1))
    assert _verify(ended).reason is Reason.TIMESTAMP_STALE
    ended = sign_message(BODY, NOW - timedelta(hours=1), expires=NOW - timedelta(seconds=1))
    found = _verify(ended)
    assert (found.reason, found.signature_ok) == (Reason.TIMESTAMP_STALE, True)
    assert _verify(ended, tolerance_s=7200).reason is Reason.TIMESTAMP_STALE
    found = _verify(ended, tolerance_s=math.inf)
    assert (found.reason, found.signature_ok) == (Reason.TIMESTAMP_STALE, True)
    running = sign_message(BODY, NOW - timedelta(60), expires=NOW)
    assert _verify(running, tolerance_s=math.inf).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    "names", ['"@method" "@method"', '"X-One"', '"x-one";tr', '"@status"', "1"]
)
def test_parts_that_cannot_be_covered(names: str) -> None:
    """One named twice, in capitals, of a response, or of a kind that is not supported."""
    covered = f'({names});created={int(NOW.timestamp())};keyid="k1"'
    lines = [f"{name}: POST" for name in names.split(" ")]
    base = "\n".join([*lines, f'"@signature-params": {covered}']).encode()
    headers = {"X-One": "POST", "Signature-Input": f"s={covered}",
               "Signature": f"s=:{b64(mac(base))}:"}  # fmt: skip
    assert _verify(headers, b"").reason is Reason.SIGNATURE_MALFORMED


def test_key_ids_are_labels_or_translated() -> None:
    """An unknown id is told as such; a translated one shows our label."""
    headers = sign_message(BODY, NOW, key_id="https://sender.example/keys/7")
    assert _verify(headers).reason is Reason.KEY_UNKNOWN
    found = _verify(headers, keyids={"https://sender.example/keys/7": "k1"})
    assert (found.verdict, found.key_id) == (Verdict.VERIFIED, "k1")


def test_of_several_signatures_one_suffices() -> None:
    """A proxy's signature beside the sender's does not matter, nor one that is malformed."""
    mine = sign_message(BODY, NOW)
    other = sign_message(BODY, NOW, key=b"other", key_id="proxy")
    for change in (other["Signature-Input"], 'sig1=("@method";bs);created=1', "sig1=5"):
        headers = {
            **mine,
            "Signature": other["Signature"].replace("sig1", "p") + ", " + mine["Signature"],
            "Signature-Input": change.replace("sig1", "p") + ", " + mine["Signature-Input"],
        }
        assert _verify(headers).verdict is Verdict.VERIFIED
    flood = ", ".join(f"s{n}=:AAAA:" for n in range(9))
    assert _verify({**mine, "Signature": flood}).reason is Reason.SIGNATURE_MALFORMED
    assert _verify({"Signature": "sig1=:AAAA:"}).reason is Reason.SIGNATURE_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        'a=("x"', 'a=("x"))', "a=1,", ",", "a==1", "a=:AA=:", "a=:AB==:", "A=1", "a=1;;", "a=1.5",
        "a=-", "a=9999999999999999", "a=1,a=2", "a=1;b;b", 'a="\\x"', "a=?2", "a=(1)(2)",
        'a=("x""y")', "a=é", "a=" + "(" * 50,
    ],
)  # fmt: skip
def test_what_is_no_structured_field_is_malformed(text: str) -> None:
    """Nothing is guessed: a field that cannot be read is no field."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - any of them is malformed to the verifier
        dictionary(text)
