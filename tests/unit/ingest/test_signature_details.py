"""What is special about single schemes: ids, times and fields that only they have."""

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.schemes import verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import NOW, SECRET, SENDERS, URL, adyen_body, b64, mac, unix

AT = unix(NOW)


def _verify(
    scheme: str, headers: dict[str, str], body: bytes, url: str = URL, **settings: Any
) -> Verification:
    verify = verifier_for(scheme, SENDERS[scheme].keys, **settings)
    return verify(SignedRequest("POST", url, headers, body, NOW))


UNTIMED = (
    "{}",
    "[]",
    '{"webhookTimestamp":"1"}',
    '{"webhookTimestamp":true}',
    '{"webhookTimestamp":1.5}',
)


@pytest.mark.parametrize("given", UNTIMED)
def test_linears_time_is_in_the_body(given: str) -> None:
    """The header's is not signed, so it does not stand in; the signature itself was right."""
    body = given.encode()
    headers = {"Linear-Signature": mac(body).hex(), "Linear-Timestamp": AT + "000"}
    found = _verify("linear", headers, body)
    assert (found.reason, found.signature_ok) == (Reason.TIMESTAMP_MISSING, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"t={AT},t={int(AT) + 1},v1={{}}", Reason.SIGNATURE_MALFORMED),
        (f"t={AT},v0={{}}", Reason.SIGNATURE_MALFORMED),
        ("t=,v1={}", Reason.TIMESTAMP_MISSING),
        ("v1={}", Reason.TIMESTAMP_MISSING),
        ("t=soon,v1={}", Reason.SIGNATURE_MALFORMED),
        ("t=999999999999,v1={}", Reason.SIGNATURE_MALFORMED),
        (f"t={AT},v1=é{{}}", Reason.SIGNATURE_MALFORMED),
        (f"t={AT}" + ",v1=" + "0" * 64 + ",v1={}", None),
        (f"t={AT}" + (",v1=" + "0" * 64) * 33 + ",v1={}", Reason.SIGNATURE_INVALID),
        (f" t={AT} , v1={{}} ", None),
    ],
)
def test_stripes_header(text: str, reason: Reason | None) -> None:
    """One time and one to 32 signatures are read; blanks around them do not matter."""
    body = b'{"id":"evt_1"}'
    header = text.format(mac(f"{AT}.".encode() + body).hex())
    assert _verify("stripe", {"Stripe-Signature": header}, body).reason is reason


def test_one_header_has_other_algorithms_elsewhere() -> None:
    """X-Hub-Signature is SHA-1 at Intercom and SHA-256 at Atlassian: told apart by its prefix."""
    body = b"{}"
    sha1 = {"X-Hub-Signature": f"sha1={mac(body, 'sha1').hex()}"}
    sha256 = {"X-Hub-Signature": f"sha256={mac(body).hex()}"}
    assert _verify("atlassian", sha1, body).reason is Reason.SIGNATURE_MALFORMED
    assert _verify("intercom", sha256, body).reason is Reason.SIGNATURE_MALFORMED
    assert _verify("github", sha256, body).reason is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://h.example/a%3Ab%2Fc?x=%40%21&y=a%20b", "https://h.example/a:b/c?x=@!&y=a%20b"),
        ("https://h.example/a%3Ab", "https://h.example/a%3Ab"),
    ],
)
def test_hubspot_signs_an_address_with_some_characters_decoded(url: str, signed: str) -> None:
    """Both forms verify: whether a framework has decoded them is not to be known."""
    text = f"POST{signed}{{}}{AT}000".encode()
    headers = {"X-HubSpot-Signature-v3": b64(mac(text)), "X-HubSpot-Request-Timestamp": AT + "000"}
    assert _verify("hubspot", headers, b"{}", url).verdict is Verdict.VERIFIED
    other = url.replace("h.example", "g.example")
    assert _verify("hubspot", headers, b"{}", other).reason is Reason.SIGNATURE_INVALID


def test_hubspots_version_is_not_the_senders_choice() -> None:
    """A v1 signature covers less than v2: its version does not pass as the other."""
    request = SENDERS["hubspot-v1"].request()
    assert _verify("hubspot-v2", dict(request.headers), request.body).reason is (
        Reason.SIGNATURE_MALFORMED
    )


@pytest.mark.parametrize("scheme", ["square", "twilio", "hubspot", "hubspot-v2", "rfc9421"])
def test_the_origin_takes_the_place_of_a_proxys(scheme: str) -> None:
    """Behind a proxy the receiver sees another scheme, host and port than was signed."""
    request = SENDERS[scheme].request()
    inner = request.url.replace("https://hooks.example", "http://10.0.0.7:8080")
    seen = dataclasses.replace(request, url=inner)
    keys = SENDERS[scheme].keys
    assert verifier_for(scheme, keys)(seen).verdict is Verdict.REJECTED
    outer = verifier_for(scheme, keys, origin="https://hooks.example")
    assert outer(seen).verdict is Verdict.VERIFIED


def _adyen(*codes: str, forged: int | None = None) -> Verification:
    items, signatures = [], []
    for n, code in enumerate(codes):
        items.append({"pspReference": f"p{n}", "eventCode": code, "success": True})
        text = f"p{n}::::::{code}:true"
        signatures.append(b64(mac(text.encode())) if n != forged else b64(bytes(32)))
    return _verify("adyen", {}, adyen_body(items, signatures))


def test_all_items_of_adyen_must_be_signed() -> None:
    """One forged item spoils a notification; the id names all of them."""
    assert _adyen("A", "B").delivery_id == "p0:A,p1:B"
    assert _adyen("A", "B").verdict is Verdict.VERIFIED
    for forged in (0, 1):
        assert _adyen("A", "B", forged=forged).reason is Reason.SIGNATURE_INVALID
    assert _adyen(*"A" * 33).reason is Reason.SIGNATURE_MALFORMED
    body = json.loads(adyen_body([{"pspReference": "p"}], ["x"]))
    del body["notificationItems"][0]["NotificationRequestItem"]["additionalData"]
    assert _verify("adyen", {}, json.dumps(body).encode()).reason is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'[{"eventId":1},{"eventId":2}]', "1,2"),
        (b'[{"eventId":1},{}]', None),
        (b'{"eventId":7}', "7"),
        (b"[]", None),
        (b"no json", None),
        (b'[{"eventId":true}]', None),
        (json.dumps([{"eventId": 10**9 + n} for n in range(40)]).encode(), "sha256:"),
    ],
)
def test_a_batch_has_one_id_for_all_its_events(body: bytes, wanted: str | None) -> None:
    """Two batches that share an event are not the same delivery; a long id is hashed."""
    request = SENDERS["hubspot"].request(body=body)
    found = _verify("hubspot", dict(request.headers), body)
    assert found.verdict is Verdict.VERIFIED
    assert (found.delivery_id or "").startswith(wanted or "")
    assert (found.delivery_id is None) == (wanted is None)
    assert len(found.delivery_id or "") <= 256


def test_callbacks_of_one_call_are_different_deliveries() -> None:
    """Twilio reports on a call many times under its SID; without its token the content counts."""
    request = SENDERS["twilio"].request()
    headers = {k: v for k, v in request.headers.items() if "Idempotency" not in k}
    found = _verify("twilio", headers, request.body)
    assert found.delivery_id is not None
    assert found.delivery_id.startswith("CA1:")
    other = SENDERS["twilio"].request(body=b"other")
    headers = {k: v for k, v in other.headers.items() if "Idempotency" not in k}
    assert _verify("twilio", headers, other.body).delivery_id != found.delivery_id


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("url", [URL, URL + "&bodySHA256=", URL + "&bodySHA256={}"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b""),
        ("application/json", b"{}"),
        (FORM, b""),
        (FORM, b"&&&&"),
        (FORM, b"=&=&&="),
    ],
)
def test_a_digest_in_twilios_address_is_always_held_against_the_body(
    url: str, kind: str, body: bytes
) -> None:
    """A body that was taken away, or whose form holds nothing, is not what was signed."""
    called = url.format(hashlib.sha256(b'{"amount":1}').hexdigest())
    headers = {"Content-Type": kind, "X-Twilio-Signature": b64(mac(called.encode(), "sha1"))}
    assert _verify("twilio", headers, b'{"amount":1}', called).verdict is (
        Verdict.VERIFIED if url.endswith("{}") and kind != FORM else Verdict.REJECTED
    )
    wanted = Verdict.REJECTED if body or url is not URL else Verdict.VERIFIED
    assert _verify("twilio", headers, body, called).verdict is wanted


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Basic abc", Reason.SIGNATURE_MISSING),
        ("Bearer", Reason.SIGNATURE_MALFORMED),
        ("bearer  other", Reason.SIGNATURE_INVALID),
        ("Bearer " + "x" * 5000, Reason.SIGNATURE_MALFORMED),
    ],
)
def test_bearer_tokens(header: str, reason: Reason) -> None:
    """Only a bearer's token counts, and only that of the header."""
    found = _verify("cloudevents", {"Authorization": header}, b"{}")
    assert (found.reason, found.signature) == (reason, None)
    url = f"{URL}&access_token={SECRET.decode().replace(' ', '_')}"
    assert _verify("cloudevents", {}, b"{}", url).reason is Reason.SIGNATURE_MISSING


def test_a_signature_has_one_spelling() -> None:
    """Capitals, white space and spare bits would be other spellings of the same signature."""
    body = b"{}"
    hexed = f"sha256={mac(body).hex()}"
    for text in (
        hexed.upper(),
        hexed.replace("=", "= "),
        f"{hexed[:20]} {hexed[20:]}",
        f"{hexed}0",
    ):
        found = _verify("github", {"X-Hub-Signature-256": text}, body)
        assert found.reason is Reason.SIGNATURE_MALFORMED
    plain = b64(mac(body))
    spare = plain[:-2] + chr(ord(plain[-2]) + 1) + "="
    for text in (spare, plain[:-1], plain.replace("=", "=="), f"{plain[:9]}\n{plain[9:]}"):
        found = _verify("shopify", {"X-Shopify-Hmac-SHA256": text}, body)
        assert found.reason is Reason.SIGNATURE_MALFORMED


def test_as_many_keys_as_are_allowed() -> None:
    """The right one is found as the last of sixteen; a seventeenth is an error."""
    keys = [Key(f"k{n}", b"x%d" % n) for n in range(15)] + [Key("right", SECRET)]
    request = SENDERS["github"].request()
    assert verifier_for("github", keys)(request).key_id == "right"
    with pytest.raises(Exception, match="keys: allowed are 1 to 16; given 17"):
        verifier_for("github", [*keys, Key("more", b"y")])
