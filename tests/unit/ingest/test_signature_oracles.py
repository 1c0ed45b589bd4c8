"""The official client libraries and ours agree, on random input."""

import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier
from standardwebhooks.webhooks import Webhook
from stripe import SignatureVerificationError, WebhookSignature
from svix.webhooks import Webhook as SvixWebhook
from twilio.request_validator import RequestValidator

from ingest.signatures.base import Key, SignedRequest
from ingest.signatures.schemes import key_for, verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import NOW, URL, b64

AT = int(NOW.timestamp())
SECRETS = st.text(string.ascii_letters + string.digits + "_+/=", min_size=1, max_size=50)
BODIES = st.text(max_size=80)
AGES = st.integers(-1000, 1000) | st.sampled_from([-301, -300, -299, 299, 300, 301])
ALTER = st.none() | st.tuples(st.integers(0, 200), st.sampled_from("0aA=,v1 t+\u00e9"))


def _altered(text: str, change: tuple[int, str] | None) -> str:
    """The text with one character replaced."""
    if change is None:
        return text
    at = change[0] % len(text)
    return text[:at] + change[1] + text[at + 1 :]


def _ours(scheme: str, secret: str, headers: dict[str, str], body: bytes, url: str = URL) -> Any:
    verify = verifier_for(scheme, [key_for(scheme, "k1", secret)])
    return verify(SignedRequest("POST", url, headers, body, NOW))


def _theirs(call: Callable[[], object]) -> bool:
    """Whether a library accepts; whatever it raises, some let slip, is a no."""
    try:
        return call() is not False
    except Exception:
        return False


@given(SECRETS, BODIES, AGES, ALTER)
def test_stripe(secret: str, body: str, age: int, change: tuple[int, str] | None) -> None:
    """Same verdict for everything that is not from the future, which Stripe's library takes."""
    head = WebhookSignature.generate_signature_header(body, secret, AT - age)
    head = _altered(head, change)
    found = _ours("stripe", secret, {"Stripe-Signature": head}, body.encode())
    with patch("stripe._webhook.time.time", lambda: float(AT)):
        theirs = _theirs(lambda: WebhookSignature.verify_header(body, head, secret, 300))
    if found.reason is Reason.TIMESTAMP_FUTURE:
        assert age < -300
        assert theirs
    elif change is None:
        assert (found.verdict is Verdict.VERIFIED) == theirs
    else:  # a library that reads "t= 1" as a time is no model: ours says no more often, never less
        assert theirs or found.verdict is Verdict.REJECTED


def test_stripe_says_what_ours_says_of_several_signatures() -> None:
    """While a secret is rolled there are two; an unknown scheme beside them does not matter."""
    body = '{"id":"evt_1"}'
    heads = [WebhookSignature.generate_signature_header(body, s, AT) for s in ("old", "new")]
    parts = [head.partition(",")[2] for head in heads]
    both = f"t={AT},v0=00,{parts[0]},{parts[1]}"
    assert _ours("stripe", "new", {"stripe-signature": both}, body.encode()).delivery_id == "evt_1"
    with patch("stripe._webhook.time.time", lambda: float(AT)):
        assert WebhookSignature.verify_header(body, both, "new", 300)
        with pytest.raises(SignatureVerificationError):
            WebhookSignature.verify_header(body, both, "third", 300)


class Stopped(Clock):
    """A clock that stands still."""

    def now(self) -> float:
        return float(AT)


@given(SECRETS, BODIES, AGES, ALTER)
def test_slack(secret: str, body: str, age: int, change: tuple[int, str] | None) -> None:
    """Same verdict, whatever age and whichever character of the signature was changed."""
    library = SignatureVerifier(secret, Stopped())
    stamp = str(AT - age)
    signature = library.generate_signature(timestamp=stamp, body=body)
    assert signature is not None
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": _altered(signature, change),
    }
    found = _ours("slack", secret, headers, body.encode())
    theirs = _theirs(lambda: library.is_valid_request(body, headers))
    assert (found.verdict is Verdict.VERIFIED) == theirs


NAMES = st.text(string.ascii_letters + "0123456789[]_", min_size=1, max_size=8)


@given(
    SECRETS,
    st.dictionaries(NAMES, st.text(max_size=12), min_size=1, max_size=6),
    st.sampled_from(["", ":443", ":8443"]),
    st.sampled_from(["", ":443", ":8443"]),
    ALTER,
)
def test_twilio_forms(
    secret: str,
    fields: dict[str, str],
    signed_port: str,
    seen_port: str,
    change: tuple[int, str] | None,
) -> None:
    """Same verdict for forms, with and without a port in the address."""
    library = RequestValidator(secret)
    signed, called = (
        f"https://hooks.example{port}/in?a=1&b=%20" for port in (signed_port, seen_port)
    )
    signature = _altered(library.compute_signature(signed, fields), change)
    headers = {
        "X-Twilio-Signature": signature,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    found = _ours("twilio", secret, headers, urlencode(fields).encode(), called)
    theirs = _theirs(lambda: library.validate(called, fields, signature))
    assert (found.verdict is Verdict.VERIFIED) == theirs


@given(SECRETS, st.text(min_size=1, max_size=60), st.booleans(), st.booleans())
def test_twilio_other_bodies(secret: str, body: str, same: bool, shared_key: bool) -> None:
    """JSON is signed by its digest in the address, with SHA-256 where a shared key is used."""
    library = RequestValidator(secret)
    digest = library.compute_hash(body if same else body + "x")
    url = f"https://hooks.example/in?bodySHA256={digest}"
    algorithm = "HMAC_SHA256" if shared_key else "HMAC_SHA1"
    signature = library.compute_signature(url, {}, algorithm)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    if shared_key:
        headers["X-Twilio-Webhooks-Signature-Settings"] = f"key=ws_1,algorithm={algorithm}"
    found = _ours("twilio", secret, headers, body.encode(), url)
    theirs = _theirs(lambda: library.validate(url, body, signature, algorithm))
    assert (found.verdict is Verdict.VERIFIED) == theirs == same


def test_twilio_bodies_that_nothing_signs_are_refused() -> None:
    """A body that is no form under an address without its digest could be anybody's."""
    url = "https://hooks.example/in"
    signature = RequestValidator("s").compute_signature(url, {})
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    found = _ours("twilio", "s", headers, b'{"a":1}', url)
    assert found.reason is Reason.SIGNATURE_MALFORMED
    assert _ours("twilio", "s", headers, b"", url).verdict is Verdict.VERIFIED


class StoppedTime(datetime):
    """A datetime class whose present is `NOW`."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return NOW


@pytest.mark.parametrize("prefix", ["webhook", "svix"])
@given(data=st.data())
def test_standard_webhooks_and_svix(prefix: str, data: st.DataObject) -> None:
    """Same verdict of both libraries for random secrets, bodies, ages and changed signatures."""
    secret = "whsec_" + b64(data.draw(st.binary(min_size=1, max_size=64)))
    body = data.draw(BODIES.map(lambda text: f'{{"a":{text!a}}}'.replace("'", '"')))
    age = data.draw(AGES)
    at = datetime.fromtimestamp(AT - age, UTC)
    library: Any = (Webhook if prefix == "webhook" else SvixWebhook)(secret)
    signature = _altered(library.sign("msg_1", at, body), data.draw(ALTER))
    headers = {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(AT - age),
        f"{prefix}-signature": signature,
    }
    found = _ours(
        "svix" if prefix == "svix" else "standard-webhooks", secret, headers, body.encode()
    )
    with (
        patch("standardwebhooks.webhooks.datetime", StoppedTime),
        patch("standardwebhooks.webhooks.json.loads", lambda _: {}),
    ):
        theirs = _theirs(lambda: library.verify(body, headers))
    assert (found.verdict is Verdict.VERIFIED) == theirs


def test_an_official_key_is_ours() -> None:
    """The key of the libraries and the one that `key_for` reads are the same bytes."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert key_for("svix", "k", secret) == Key("k", secret.encode())
    library = Webhook(secret)
    stamp = str(AT)
    headers = {
        "svix-id": "a",
        "svix-timestamp": stamp,
        "svix-signature": library.sign("a", NOW, ""),
    }
    for key in (Key("k", secret.encode()), Key("k", library._whsecret)):
        verify = verifier_for("svix", [key])
        assert verify(SignedRequest("POST", URL, headers, b"", NOW)).verdict is Verdict.VERIFIED
