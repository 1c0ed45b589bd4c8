"""Every scheme: what its provider signs is verified, and every fault has its reason."""

import dataclasses
import math
import sys
from datetime import timedelta

import pytest

from ingest.errors import SignatureError
from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.judging import SchemeVerifier
from ingest.signatures.schemes import ALIASES, SCHEMES, key_for, verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import ARN, NOW, SECRET, SENDERS, URL, Sender, options_of

ALL = sorted(SCHEMES)
TOKENS = ("gitlab-token", "cloudevents")
TIMED = sorted(name for name in ALL if SCHEMES[name].window.past_s is not None)


def _verifier(scheme: str, *keys: Key, **settings: object) -> SchemeVerifier:
    given = {**options_of(scheme), **settings}
    return verifier_for(scheme, keys or SENDERS[scheme].keys, **given)  # type: ignore[arg-type]


def _changed(request: SignedRequest, **fields: object) -> SignedRequest:
    return dataclasses.replace(request, **fields)  # type: ignore[arg-type]


def test_every_scheme_has_a_sender_here() -> None:
    """No scheme is without a test: the registry and the senders name the same ones."""
    assert sorted(SENDERS) == ALL
    assert set(ALIASES.values()) <= set(ALL)


@pytest.mark.parametrize("scheme", ALL)
def test_what_the_provider_signs_is_verified(scheme: str) -> None:
    """A fresh call verifies, and tells key, time, delivery and signature where there are any."""
    found = _verifier(scheme)(SENDERS[scheme].request())
    assert (found.verdict, found.reason) == (Verdict.VERIFIED, None)
    assert (found.signature_ok, found.key_id) == (True, "k1")
    assert (found.signed_at == NOW) == SCHEMES[scheme].timed
    assert found.delivery_id is not None
    assert (found.signature is None) == (scheme in TOKENS)


@pytest.mark.parametrize("scheme", ALL)
def test_nothing_signed_is_missing(scheme: str) -> None:
    """A call without any header and with an empty object is no signed one."""
    found = _verifier(scheme)(SignedRequest("POST", URL, {}, b"{}", NOW))
    assert found.verdict is Verdict.REJECTED
    allowed = {Reason.SIGNATURE_MISSING}
    if scheme == "adyen":  # the signature belongs to an item, and there is none
        allowed = {Reason.SIGNATURE_MALFORMED}
    assert found.reason in allowed


@pytest.mark.parametrize("scheme", [name for name in ALL if name not in TOKENS])
def test_another_body_is_no_longer_signed(scheme: str) -> None:
    """One changed byte of the body makes the signature wrong."""
    request = SENDERS[scheme].request()
    body = request.body.replace(b"1", b"2", 1)
    assert body != request.body
    if scheme == "adyen":
        body = request.body.replace(b"1130", b"1131")
    if scheme == "aws-sns":
        body = request.body.replace(b"eu-west", b"eu-west").replace(
            b'"Message": "', b'"Message": "0'
        )
    found = _verifier(scheme)(_changed(request, body=body))
    # a digest that is signed and wrong is malformed: the signature itself was not looked at
    wanted = Reason.SIGNATURE_MALFORMED if scheme == "rfc9421" else Reason.SIGNATURE_INVALID
    assert (found.verdict, found.reason) == (Verdict.REJECTED, wanted)
    assert found.signature_ok is (None if scheme == "rfc9421" else False)
    assert found.signature is not None
    assert found.key_id is None


OTHER = {
    "standard-webhooks-v1a": bytes.fromhex(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ),
    "discord": bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    "sendgrid": (
        b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1"
        b"flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    ),
    "paypal": b"ANOTHERWEBHOOK",
    "paypal-sandbox": b"ANOTHERWEBHOOK",
    "aws-sns": b"arn:aws:sns:eu-west-1:123456789012:other",
    "adyen": bytes(range(32)),
    "adyen-platform": bytes(range(32)),
}


def _other(scheme: str, label: str = "k2") -> Key:
    return Key(label, OTHER.get(scheme, b"another secret, of others"))


@pytest.mark.parametrize("scheme", ALL)
def test_a_rotation_knows_several_keys(scheme: str) -> None:
    """Another key alone is wrong; beside the right one it is found wherever it stands."""
    request = SENDERS[scheme].request()
    right, other = SENDERS[scheme].keys[0], _other(scheme)
    unknown = scheme in {"aws-sns", "rfc9421"}  # there the request names the key
    wanted = Reason.KEY_UNKNOWN if unknown else Reason.SIGNATURE_INVALID
    assert _verifier(scheme, other)(request).reason is wanted
    for keys in ((right, other), (other, right)):
        assert _verifier(scheme, *keys)(request).key_id == "k1"


@pytest.mark.parametrize("scheme", ALL)
def test_a_retired_key_is_named(scheme: str) -> None:
    """A call under a retired key is right and rejected, also when it is stale; active ones win."""
    request = SENDERS[scheme].request(NOW - timedelta(days=2))
    retired = dataclasses.replace(SENDERS[scheme].keys[0], retired=True)
    verify = _verifier(scheme, retired, _other(scheme))
    if SCHEMES[scheme].may_block:  # nothing is fetched for a stale one: let it be known
        verify(SENDERS[scheme].request())
    found = verify(request)
    assert (found.reason, found.signature_ok, found.key_id) == (Reason.KEY_RETIRED, True, "k1")
    if scheme != "rfc9421":
        again = dataclasses.replace(retired, label="again", retired=False)
        assert _verifier(scheme, retired, again)(SENDERS[scheme].request()).key_id == "again"


@pytest.mark.parametrize("scheme", TIMED)
def test_the_providers_tolerance_is_inclusive_and_to_both_sides(scheme: str) -> None:
    """At the limit a call is accepted; a second beyond it is stale or from the future."""
    window = SCHEMES[scheme].window
    assert window.past_s is not None
    assert window.future_s is not None
    verify = _verifier(scheme)

    def at(seconds: float) -> Verification:
        return verify(SENDERS[scheme].request(NOW + timedelta(seconds=seconds)))

    assert at(-window.past_s).verdict is Verdict.VERIFIED
    assert at(window.future_s).verdict is Verdict.VERIFIED
    stale, future = at(-window.past_s - 1), at(window.future_s + 1)
    assert (stale.reason, stale.signature_ok) == (Reason.TIMESTAMP_STALE, True)
    assert (future.reason, future.signature_ok) == (Reason.TIMESTAMP_FUTURE, True)
    assert stale.signed_at == NOW - timedelta(seconds=window.past_s + 1)


@pytest.mark.parametrize("scheme", [name for name in ALL if SCHEMES[name].timed])
def test_a_tolerance_of_ones_own_counts(scheme: str) -> None:
    """Ten seconds are kept where ten are asked for, and infinity looks at no time."""
    old = SENDERS[scheme].request(NOW - timedelta(seconds=11))
    assert _verifier(scheme, tolerance_s=10)(old).reason is Reason.TIMESTAMP_STALE
    assert _verifier(scheme, tolerance_s=11)(old).verdict is Verdict.VERIFIED
    ancient = SENDERS[scheme].request(NOW - timedelta(days=900))
    if not SCHEMES[scheme].may_block:  # certificates of that time are gone
        assert _verifier(scheme, tolerance_s=math.inf)(ancient).verdict is Verdict.VERIFIED


INSIDE = ("linear", "rfc9421")  # under the signature itself: see the tests of the schemes


@pytest.mark.parametrize(
    "scheme", [name for name in ALL if SCHEMES[name].timed and name not in INSIDE]
)
def test_a_missing_time_is_told(scheme: str) -> None:
    """Without its time a signature cannot be right."""
    request = SENDERS[scheme].request()
    headers = {name: value for name, value in request.headers.items() if "time" not in name.lower()}
    body = request.body
    if scheme == "stripe":
        headers["Stripe-Signature"] = headers["Stripe-Signature"].partition(",")[2]
    if scheme == "aws-sns":
        body = body.replace(b'"Timestamp"', b'"Elsewhere"')
    found = _verifier(scheme)(_changed(request, headers=headers, body=body))
    assert (found.reason, found.signature_ok) == (Reason.TIMESTAMP_MISSING, None)
    assert found.signature is not None


@pytest.mark.parametrize("scheme", [name for name in ALL if name not in {"adyen", "aws-sns"}])
def test_a_header_that_is_doubled_or_endless_is_malformed(scheme: str) -> None:
    """Nobody can say which of two signatures was meant; an endless one is not read."""
    name = SCHEMES[scheme].header.partition(":")[0].partition(" and ")[0].lower()
    request = SENDERS[scheme].request()

    class Twice(dict[str, str]):
        def items(self):  # type: ignore[no-untyped-def]
            return [*request.headers.items(), (name, "sig1=:AA==:")]

    for headers in (Twice(), {**request.headers, name: "x" * 9000}):
        found = _verifier(scheme)(_changed(request, headers=headers))
        assert found.verdict is Verdict.REJECTED
        assert found.reason is Reason.SIGNATURE_MALFORMED


@pytest.mark.parametrize("scheme", ALL)
def test_header_names_are_read_in_any_case(scheme: str) -> None:
    """Servers hand over names in lower case, capitals or mixed."""
    request = SENDERS[scheme].request()
    for change in (str.lower, str.upper, str.title):
        headers = {change(name): value for name, value in request.headers.items()}
        assert _verifier(scheme)(_changed(request, headers=headers)).verdict is Verdict.VERIFIED


FAULTS: list[tuple[str, dict[str, object], str]] = [
    ("strip", {}, "scheme: allowed are adyen, "),
    ("github", {"keys": []}, "github: keys: allowed are 1 to 16; given 0"),
    ("github", {"keys": [Key("k", b"CANARY\n")]}, "github: key 1 (\"k\"): allowed is the secret"),
    ("github", {"keys": [Key("", b"CANARY")]}, "github: key 1: label: allowed is text"),
    ("github", {"keys": [Key("k", b"CANARY"), Key("k", b"x")]}, "github: key 2: label: \"k\""),
    ("github", {"keys": [Key("k", "CANARY")]}, "github: key 1 (\"k\"): allowed is"),  # type: ignore[arg-type]
    ("github", {"tolerance_s": 300}, "github: tolerance_s: this scheme signs no time"),
    ("stripe", {"tolerance_s": -1}, "stripe: tolerance_s: allowed are 0 s and more"),
    ("stripe", {"tolerance_s": math.nan}, "stripe: tolerance_s: allowed are 0 s and more"),
    ("stripe", {"origin": "https://a.example"}, "stripe: origin is nothing that this scheme"),
    ("square", {"origin": "https://a.example/x"}, "square: origin: allowed is https://host"),
    ("adyen", {"keys": [Key("k", b"CANARY" * 12)]}, "adyen: key 1 (\"k\"): allowed is 64 hexa"),
    ("discord", {"keys": [Key("k", b"CANARY")]}, "discord: key 1 (\"k\"): allowed is an Ed25519"),
    ("sendgrid", {"keys": [Key("k", b"CANARY")]}, "sendgrid: key 1 (\"k\"): allowed is a public"),
    ("standard-webhooks", {"keys": [Key("k", b"whsec_CANARY!")]}, "standard-webhooks: key 1 "),
    ("aws-sns", {"keys": [Key("k", b"arn:CANARY")]}, "aws-sns: key 1 (\"k\"): allowed is"),
    ("rfc9421", {"keys": [Key("k", b"-----CANARY")]}, "rfc9421: key 1 (\"k\"): allowed is"),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "settings", "text"), FAULTS)
def test_a_wrong_setting_is_an_error_at_start(
    scheme: str, settings: dict[str, object], text: str
) -> None:
    """One line says what is wrong and what is allowed, and never repeats a key."""
    given: dict[str, object] = {"keys": [Key("k1", SECRET)]} | settings
    with pytest.raises(SignatureError) as raised:
        verifier_for(scheme, **given)  # type: ignore[arg-type]
    assert str(raised.value).startswith(text)
    assert "\n" not in str(raised.value)
    assert "CANARY" not in str(raised.value)
    assert raised.value.__context__ is None


def test_keys_are_read_from_the_text_of_a_setting() -> None:
    """A file's newline is no part of a secret; Standard Webhooks' may lack their whsec_."""
    assert key_for("github", "k", " s3cret\n") == Key("k", b"s3cret")
    text = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for given in (text, f"whsec_{text}\n"):
        verify = verifier_for("standard-webhooks", [key_for("standard-webhooks", "k", given)])
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        found = verify(SignedRequest("POST", URL, headers, b'{"test": 2432232314}', NOW))
        assert found.signature_ok is True
    with pytest.raises(SignatureError, match="allowed is 64 hexadecimal"):
        key_for("adyen", "k", "zz")
    assert verifier_for("sns", [Key("k", ARN.encode())]).scheme == "aws-sns"


@pytest.mark.parametrize("scheme", [name for name in ALL if SCHEMES[name].key.asymmetric])
def test_without_cryptography_a_public_key_is_a_clear_error(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra that is missing is named when the verifier is made, not at the first call."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SignatureError, match=r"install callwatch-ingest\[asymmetric\]"):
        verifier_for(scheme, SENDERS[scheme].keys)


def test_cryptography_is_not_imported_before_it_is_needed() -> None:
    """Shared secrets need nothing but the standard library."""
    import subprocess

    code = (
        "import sys\n"
        "from ingest.signatures.base import Key\n"
        "from ingest.signatures.schemes import verifier_for\n"
        "verifier_for('stripe', [Key('k', b's')]), verifier_for('rfc9421', [Key('k', b's')])\n"
        "print(sorted({'cryptography', 'http.client', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("scheme", ALL)
def test_nothing_shows_a_secret_or_a_query(scheme: str) -> None:
    """What a verifier, a request and a verdict print holds no key, header, query or id."""
    sender: Sender = SENDERS[scheme]
    request, verify = sender.request(), _verifier(scheme)
    found = verify(request)
    shown = " ".join(map(repr, (request, verify, found, sender.keys, SCHEMES[scheme])))
    shown += " ".join(map(str, (request, verify, found, sender.keys)))
    for secret in (SECRET.decode(), SECRET.hex(), "tenant", "evt_1", *map(repr, request.headers)):
        assert secret not in shown
    for key in sender.keys:
        assert key.secret.decode() not in shown
    assert not [value for value in request.headers.values() if len(value) > 9 and value in shown]
