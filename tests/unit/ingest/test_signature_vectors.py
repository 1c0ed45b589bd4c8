"""Published test vectors: each gives the verdict that its provider printed."""

import base64
import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.schemes import key_for, verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import adyen_body

FILE = Path(__file__).parents[2] / "data" / "signature-vectors.json"
VECTORS: list[dict[str, Any]] = json.loads(FILE.read_text("utf-8"))["vectors"]
SCHEME = {"hubspot-v1": "hubspot-v1", "hubspot-v3": "hubspot"}  # by id, where schemes have versions
REASONS = {
    "timestamp_too_old": Reason.TIMESTAMP_STALE,
    "no_known_scheme": Reason.SIGNATURE_MALFORMED,
}


def _key(vector: dict[str, Any], scheme: str) -> Key:
    if "key_b64" in vector:
        return Key("test-shared-secret", base64.b64decode(vector["key_b64"]))
    if "secret_hex" in vector:
        return key_for(scheme, "k1", vector["secret_hex"])
    return key_for(scheme, "k1", vector.get("secret") or vector.get("public_key") or "whsec_AAAA")


def _request(vector: dict[str, Any]) -> SignedRequest:
    asked = vector.get("request", {})
    headers = {**asked.get("headers", {}), **vector.get("headers", {})}
    body = str(vector.get("body", asked.get("body", ""))).encode()
    if "form" in vector:
        body = urlencode(vector["form"]).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    if "item" in vector:
        body = adyen_body([vector["item"]], [vector["signature"]])
    now = vector.get("now", 1_674_087_231)
    return SignedRequest(
        method=vector.get("method", "POST"),
        url=vector.get("url", "https://example.com" + asked.get("target", "/")),
        headers=headers,
        body=body,
        now=datetime.fromtimestamp(now, UTC),
    )


def _verify(vector: dict[str, Any], request: SignedRequest) -> Verification:
    scheme = SCHEME.get(vector["id"], vector["scheme"])
    settings: dict[str, Any] = {"covered": ()} if scheme == "rfc9421" else {}
    return verifier_for(scheme, [_key(vector, scheme)], **settings)(request)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_a_published_vector(vector: dict[str, Any]) -> None:
    """The verdict is the published one; what was printed without a key is at least well-formed."""
    found = _verify(vector, _request(vector))
    if vector["valid"] is None:
        assert found.reason is Reason.SIGNATURE_INVALID
        return
    assert (found.verdict is Verdict.VERIFIED) == vector["valid"]
    if "expect" in vector:
        assert found.reason is REASONS[vector["expect"]]


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if one["valid"]], ids=lambda vector: vector["id"]
)
def test_a_published_vector_with_another_body_or_address(vector: dict[str, Any]) -> None:
    """Nothing that a signature covers can be changed under it."""
    request = _request(vector)
    if vector["scheme"] == "rfc9421":
        changed = dataclasses.replace(request, url="https://example.org/foo")
    elif vector["scheme"] == "adyen":
        changed = dataclasses.replace(
            request, body=request.body.replace(b"1130", b"1131").replace(b"1000", b"9000")
        )
    else:
        changed = dataclasses.replace(request, body=request.body + b"1")
    assert _verify(vector, changed).reason is Reason.SIGNATURE_INVALID
