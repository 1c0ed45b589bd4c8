"""Standard Webhooks signatures, against the official library."""

import base64
import hmac
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from ingest.errors import SignatureError
from ingest.signatures.base import Key, Verification
from ingest.signatures.standard_webhooks import parse_key, verify
from ingest.vocabulary import Reason, Verdict

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 byt").decode()
KEY = parse_key("k1", SECRET)
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'


def _headers(
    secret: str = SECRET, at: datetime = NOW, body: bytes = BODY, prefix: str = "webhook-"
) -> dict[str, str]:
    signature = Webhook(secret).sign(ID, at, body.decode())
    return {
        f"{prefix}id": ID,
        f"{prefix}timestamp": str(int(at.timestamp())),
        f"{prefix}signature": signature,
    }


def _verify(headers: dict[str, Any], body: bytes = BODY, *keys: Key) -> Verification:
    return verify(headers, body, keys or (KEY,), now=NOW)


def test_what_the_official_library_signs_is_verified() -> None:
    """A fresh signature verifies, with everything that the event needs."""
    found = _verify(_headers())
    assert found == Verification(
        verdict=Verdict.VERIFIED,
        reason=None,
        signature_ok=True,
        key_id="k1",
        signed_at=NOW,
        delivery_id=ID,
        signature=base64.b64decode(_headers()["webhook-signature"].removeprefix("v1,")),
    )


def test_the_published_vector_verifies() -> None:
    """The signature printed in the libraries' own tests holds."""
    headers = {
        "Webhook-Id": ID,
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, UTC)
    assert verify(headers, BODY, [KEY], now=at).verdict is Verdict.VERIFIED


def test_svix_headers_are_the_same_scheme() -> None:
    """Svix's own header names verify too, but names of the two are never mixed."""
    headers = _headers(prefix="svix-")
    assert _verify(headers).verdict is Verdict.VERIFIED
    mixed = headers | {"webhook-id": ID}
    assert _verify(mixed).reason is Reason.SIGNATURE_MISSING


def _without(name: str) -> dict[str, str]:
    return {key: value for key, value in _headers().items() if key != f"webhook-{name}"}


GOOD = _headers()["webhook-signature"]
CASES: list[tuple[dict[str, str], bytes, Reason, bool | None]] = [
    ({}, BODY, Reason.SIGNATURE_MISSING, None),
    (_without("signature"), BODY, Reason.SIGNATURE_MISSING, None),
    (_without("id"), BODY, Reason.SIGNATURE_MALFORMED, None),
    (_without("timestamp"), BODY, Reason.TIMESTAMP_MISSING, None),
    (_headers() | {"webhook-timestamp": "soon"}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers() | {"webhook-timestamp": "9" * 40}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers() | {"webhook-signature": "v1"}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers() | {"webhook-signature": "v1,@@"}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers() | {"webhook-signature": "v1,AAAA"}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers() | {"webhook-signature": "v1a," + GOOD[3:]}, BODY, Reason.SIGNATURE_MALFORMED, None),
    (_headers(), BODY + b" ", Reason.SIGNATURE_INVALID, False),
    (_headers() | {"webhook-id": "msg_2"}, BODY, Reason.SIGNATURE_INVALID, False),
    (_headers(OTHER), BODY, Reason.SIGNATURE_INVALID, False),
    (_headers(at=NOW - timedelta(seconds=301)), BODY, Reason.TIMESTAMP_STALE, True),
    (_headers(at=NOW + timedelta(seconds=301)), BODY, Reason.TIMESTAMP_FUTURE, True),
]


@pytest.mark.parametrize(("headers", "body", "reason", "signature_ok"), CASES)
def test_a_rejection_names_the_first_failing_check(
    headers: dict[str, str], body: bytes, reason: Reason, signature_ok: bool | None
) -> None:
    """Every fault has its reason, and says whether the signature itself was right."""
    found = _verify(headers, body)
    assert (found.verdict, found.reason) == (Verdict.REJECTED, reason)
    assert found.signature_ok is signature_ok
    assert (found.key_id == "k1") == (signature_ok is True)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_the_tolerance_is_inclusive(seconds: int) -> None:
    """300 seconds to either side are allowed."""
    found = _verify(_headers(at=NOW + timedelta(seconds=seconds)))
    assert found.verdict is Verdict.VERIFIED


def test_any_of_several_keys_and_signatures_verifies() -> None:
    """During a rotation two signatures arrive and two keys are known; the label tells which."""
    new = parse_key("k2", OTHER)
    both = _headers(OTHER)["webhook-signature"] + " " + GOOD
    headers = _headers() | {"webhook-signature": "v1a,x " + both}
    assert _verify(headers, BODY, KEY).key_id == "k1"
    assert _verify(headers, BODY, new).key_id == "k2"
    assert _verify(headers, BODY, KEY, new).verdict is Verdict.VERIFIED


def test_a_retired_key_is_told_from_an_unknown_one() -> None:
    """A callback signed by a retired key is rejected as such, also when it is stale."""
    retired = parse_key("old", SECRET, retired=True)
    found = _verify(_headers(at=NOW - timedelta(days=1)), BODY, retired, parse_key("k2", OTHER))
    assert (found.reason, found.signature_ok, found.key_id) == (Reason.KEY_RETIRED, True, "old")
    assert verify(_headers(), BODY, [retired, KEY], now=NOW).key_id == "k1"
    unknown = verify(_headers(), BODY, [], now=NOW)
    assert (unknown.reason, unknown.signature_ok) == (Reason.KEY_UNKNOWN, None)


def test_junk_in_the_header_does_not_change_the_signature() -> None:
    """A replay keeps its fingerprint whatever is added around the signature that verifies."""
    junk = "v1," + base64.b64encode(bytes(32)).decode()
    headers = _headers() | {"webhook-signature": f"v9,x {junk} {GOOD} {junk}"}
    assert _verify(headers).signature == _verify(_headers()).signature


def test_a_flood_of_signatures_is_cut() -> None:
    """Only the first 32 entries of the header are looked at."""
    junk = "v1," + base64.b64encode(bytes(32)).decode()
    headers = _headers() | {"webhook-signature": f"{junk} " * 32 + GOOD}
    assert _verify(headers).reason is Reason.SIGNATURE_INVALID


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id"]),
        st.text(max_size=40) | st.integers() | st.binary() | st.none(),
    ),
    st.binary(max_size=40),
)
def test_hostile_headers_never_raise(headers: dict[str, Any], body: bytes) -> None:
    """Whatever the headers hold, the answer is a rejection."""
    assert _verify(headers, body).verdict is Verdict.REJECTED


@given(st.integers(0, 200), st.integers(0, 255))
def test_the_official_library_agrees_on_changed_signatures(position: int, byte: int) -> None:
    """One changed byte anywhere gives the same verdict as the official library's."""
    text = bytearray(GOOD.encode())
    text[position % len(text)] = byte
    headers = _headers()
    headers["webhook-signature"] = text.decode("latin-1")
    found = _verify(headers)
    signature = text.decode("latin-1").split(" ")
    official = any(_official(one) for one in signature)
    assert (found.verdict is Verdict.VERIFIED) == official


def _official(signature: str) -> bool:
    """The library's comparison without its clock: sign again and compare as it does."""
    wanted = Webhook(SECRET).sign(ID, NOW, BODY.decode())
    return base64.b64decode(wanted[3:]) == _decoded(signature)


def _decoded(signature: str) -> bytes | None:
    version, _, text = signature.partition(",")
    try:
        return base64.b64decode(text, validate=True) if version == "v1" else None
    except ValueError:
        return None


class _Stopped(datetime):
    """A datetime class whose present is `NOW`."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return NOW


def test_the_official_library_accepts_what_we_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say yes to the same callback and no to the same changed body."""
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", _Stopped)
    headers = _headers()
    assert Webhook(SECRET).verify(BODY, headers) == {"test": 2432232314}
    assert _verify(headers).verdict is Verdict.VERIFIED
    for changed in (_verify(headers, b"{}"), _verify(_headers(at=NOW - timedelta(seconds=301)))):
        assert changed.verdict is Verdict.REJECTED
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, _headers(at=NOW - timedelta(seconds=301)))


def _signed_by(secret: bytes) -> dict[str, str]:
    content = f"{ID}.{int(NOW.timestamp())}.".encode() + BODY
    mac = base64.b64encode(hmac.digest(secret, content, "sha256")).decode()
    return _headers() | {"webhook-signature": f"v1,{mac}"}


@pytest.mark.parametrize("secret", [b"", b" ", b"whsec_", b"whsec_ not base64", b"whpk_AAAA"])
def test_what_is_no_key_verifies_nothing(secret: bytes) -> None:
    """An empty secret is everybody's: it is an error, as it is where verifiers are made."""
    with pytest.raises(
        SignatureError, match='key 1 \\("k"\\): allowed is whsec_<base64>'
    ) as caught:
        _verify(_signed_by(secret), BODY, Key("k", secret))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", [SECRET, f" {SECRET}\n"])
def test_a_written_key_is_decoded(text: str) -> None:
    """The text of a key given as bytes is that key, and no secret of its own."""
    key = Key("k1", text.encode())
    assert _verify(_headers(), BODY, key).verdict is Verdict.VERIFIED
    assert _verify(_signed_by(text.encode()), BODY, key).reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("tolerance", [math.nan, -1])
def test_a_tolerance_is_a_number_of_seconds(tolerance: float) -> None:
    """Nothing is older than NaN seconds."""
    with pytest.raises(SignatureError, match="tolerance_s: allowed are 0 s and more"):
        verify(_headers(), BODY, [KEY], now=NOW, tolerance_s=tolerance)


def test_secrets_stay_out_of_texts() -> None:
    """Neither a key's text nor its error repeats the secret."""
    assert "Mf" not in repr(KEY)
    assert repr(KEY.secret) not in repr(KEY)
    with pytest.raises(ValueError, match=r"key 'k1': allowed is base64") as caught:
        parse_key("k1", "whsec_not base64!")
    assert "not base64!" not in str(caught.value)
