"""Certificates of PayPal and SNS: pinned, checked, bounded, never from where a request points."""

import dataclasses
import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ingest.signatures import certificates
from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.certificates import CACHED, FETCHES_A_MINUTE, Certificates, Pin
from ingest.signatures.reading import Fault
from ingest.signatures.schemes import verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import (
    ARN,
    NOW,
    PAYPAL_URL,
    SENDERS,
    SNS_URL,
    URL,
    WEBHOOK,
    b64,
    certificate,
    fetch,
    root,
    rsa_key,
    served,
    sns_body,
)

NAME = "messageverificationcerts.paypal.com"


class Net:
    """A network that counts what is asked of it."""

    def __init__(self, answer: Callable[[str], bytes] = fetch) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        return self.answer(url)


def _paypal(net: Callable[[str], bytes], at: datetime = NOW, **headers: str) -> Verification:
    verify = verifier_for("paypal", [Key("k1", WEBHOOK.encode())], fetch=net, roots=root()[1])
    request = SENDERS["paypal"].request(at)
    return verify(dataclasses.replace(request, headers={**request.headers, **headers}, now=at))


def _sns(body: bytes, net: Callable[[str], bytes] = fetch) -> Verification:
    verify = verifier_for("aws-sns", [Key("orders", ARN.encode())], fetch=net)
    return verify(SignedRequest("POST", URL, {}, body, NOW))


BAD_URLS = [
    "http://api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
    "https://evil.example/v1/notifications/certs/CERT-1",
    "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
    "https://evil.example#@api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/../../../evil",
    "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
    "https://api.paypal.com/v1/notifications/certs/CERT-1\n",
    "https://api.paypal.com/v1/notifications/certs/CERT%2F1",
    "https://www.paypal.com/v1/notifications/certs/CERT-1",
    "https://apiXpaypal.com/v1/notifications/certs/CERT-1",
    "HTTPS://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
    "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
    "file:///etc/passwd",
    "https://api.paypal.com/v1/notifications/certs/" + "a" * 300,
    "",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_nothing_is_fetched_from_anywhere_else(url: str) -> None:
    """Another scheme, host, port or path is refused before anybody is asked; a fake host too."""
    net = Net()
    held = Certificates(verifier_pin("paypal"), net, root()[1])
    with pytest.raises(Fault) as raised:
        held.public_key(url, NOW)
    assert raised.value.reason is Reason.CERTIFICATE_INVALID
    found = _paypal(net, **{"PAYPAL-CERT-URL": url})
    if url != url.strip():  # white space around a header is no part of it
        return
    assert (found.reason, found.signature is None) == (Reason.CERTIFICATE_INVALID, False)
    assert net.asked == []


def verifier_pin(scheme: str) -> Pin:
    """Where a scheme's certificates are."""
    from ingest.signatures import paypal, sns

    return paypal.PIN if scheme == "paypal" else sns.PIN


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://s3.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/evil.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem/../x.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.a.b.amazonaws.com/SimpleNotificationService-1.pem",
        *(
            f"https://sns.{host}/SimpleNotificationService-1.pem"
            for host in (
                "s3-us-west-2.amazonaws.com",
                "s3-accelerate.amazonaws.com",
                "s3-website-us-west-2.amazonaws.com",
                "s3-us-gov-west-1.amazonaws.com",
                "s3-fips-us-gov-west-1.amazonaws.com",
                "s3.amazonaws.com",
                "elb.amazonaws.com",
                "execute-api.amazonaws.com",
                "eu-west-1s.amazonaws.com",
                "eu-west-0.amazonaws.com",
                "EU-west-1.amazonaws.com",
                "eu-bucket-1.amazonaws.com",
                "eu-s3-west-1.amazonaws.com",
                "cn-north-1.amazonaws.com",
                "eu-west-1.amazonaws.com.cn",
                "us-gov-west-1.amazonaws.com.cn",
                "amazonaws.com",
            )
        ),
    ],
)
def test_sns_certificates_come_from_sns_alone(url: str) -> None:
    """A bucket in the same domain is not SNS."""
    net = Net()
    body = json.loads(sns_body("a", NOW)) | {"SigningCertURL": url}
    assert _sns(json.dumps(body).encode(), net).reason is Reason.CERTIFICATE_INVALID
    assert net.asked == []


REGIONS = (
    "us-east-1", "us-west-2", "us-gov-west-1", "us-gov-east-1", "us-iso-east-1", "us-isob-east-1",
    "eu-central-2", "eu-north-1", "ap-northeast-3", "ap-southeast-7", "ap-south-2", "sa-east-1",
    "ca-west-1", "me-central-1", "af-south-1", "il-central-1", "mx-central-1",
)  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        *(f"sns.{region}.amazonaws.com" for region in REGIONS),
        "sns.cn-north-1.amazonaws.com.cn",
        "sns.cn-northwest-1.amazonaws.com.cn",
    ],
)
def test_sns_certificates_of_every_region_are_believed(host: str) -> None:
    """The names of AWS's regions are those of the pin."""
    pin = verifier_pin("aws-sns")
    assert pin.url.fullmatch(f"https://{host}/SimpleNotificationService-1.pem") is not None
    assert pin.names.fullmatch(host) is not None


def test_a_certificate_of_a_bucket_is_not_snss() -> None:
    """Its name would be right in form alone."""
    names = verifier_pin("aws-sns").names
    assert names.fullmatch("sns.s3-us-west-2.amazonaws.com") is None
    assert names.fullmatch("sns.amazonaws.com") is not None
    assert names.fullmatch("sns.amazonaws.com.cn") is not None


def _served(pem: bytes) -> Callable[[str], bytes]:
    return lambda _: pem


def test_chain_name_and_date_of_paypals_certificate_are_checked() -> None:
    """Another issuer, another name, an ended or too early certificate is invalid."""
    public, by = rsa_key().public_key(), root()[0]
    stranger = rsa.generate_private_key(65537, 2048)
    bad = {
        "issuer": certificate(NAME, public, by=stranger),
        "name": certificate("www.paypal.com", public, by=by),
        "lookalike": certificate(f"{NAME}.evil.example", public, by=by),
        "ended": certificate(NAME, public, by=by, start=NOW - timedelta(days=30), days=29),
        "early": certificate(NAME, public, by=by, start=NOW + timedelta(seconds=1)),
        "none": b"no certificate",
        "empty": b"",
        "large": b"x" * 70_000,
    }
    for pem in bad.values():
        assert _paypal(_served(pem)).reason is Reason.CERTIFICATE_INVALID
    assert _paypal(_served(certificate(NAME, public, by=by))).verdict is Verdict.VERIFIED


def test_a_chain_over_another_certificate_leads_to_the_root() -> None:
    """What stands between is served beside; without it there is no way to the root."""
    middle = rsa.generate_private_key(65537, 2048)
    between = certificate("an issuer", middle.public_key(), by=root()[0], ca=True)
    leaf = certificate(NAME, rsa_key().public_key(), by=middle, issuer="an issuer")
    assert _paypal(_served(leaf + between)).verdict is Verdict.VERIFIED
    assert _paypal(_served(leaf)).reason is Reason.CERTIFICATE_INVALID


def test_name_and_date_of_snss_certificate_are_checked() -> None:
    """It has no chain: what is left is its name, its time and where it came from."""
    public, by, body = rsa_key().public_key(), root()[0], sns_body("a", NOW)
    early = NOW + timedelta(seconds=1)
    for pem in (
        certificate("sns.amazonaws.com", public, by=by, days=29),
        certificate("sns.amazonaws.com", public, by=by, start=early),
        certificate("sns.amazonaws.com.evil.example", public, by=by),
    ):
        assert _sns(body, _served(pem)).reason is Reason.CERTIFICATE_INVALID
    regional = certificate("sns.eu-west-1.amazonaws.com", public, by=by)
    assert _sns(body, _served(regional)).verdict is Verdict.VERIFIED


def test_a_weak_key_is_no_key() -> None:
    """RSA under 2,048 bits can be broken."""
    weak = rsa.generate_private_key(65537, 1024)
    body = sns_body("a", NOW)
    pem = certificate("sns.amazonaws.com", weak.public_key(), by=root()[0])
    assert _sns(body, _served(pem)).reason is Reason.CERTIFICATE_INVALID


def test_another_certificates_signature_is_wrong() -> None:
    """A good certificate of the same name with another key verifies nothing."""
    other = rsa.generate_private_key(65537, 2048).public_key()
    found = _paypal(_served(certificate(NAME, other, by=root()[0])))
    assert (found.reason, found.signature_ok) == (Reason.SIGNATURE_INVALID, False)


def test_paypal_needs_its_algorithm_and_ids() -> None:
    """Another algorithm than the one that is computed is not guessed at."""
    for name in ("PAYPAL-AUTH-ALGO", "PAYPAL-TRANSMISSION-ID"):
        assert _paypal(fetch, **{name: ""}).reason is Reason.SIGNATURE_MALFORMED
    assert _paypal(fetch, **{"PAYPAL-AUTH-ALGO": "none"}).reason is Reason.SIGNATURE_MALFORMED
    assert _paypal(fetch, **{"PAYPAL-TRANSMISSION-TIME": "now"}).reason is (
        Reason.SIGNATURE_MALFORMED
    )


def test_sns_messages_of_all_forms_and_versions_verify() -> None:
    """Version 1 and 2, with a subject, and the confirmation of a subscription."""
    more = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://x.example"}
    bodies = (
        sns_body("a", NOW, "1"),
        sns_body("a", NOW, "2", Subject="s\nMessage"),
        sns_body("ü\n", NOW, "2", **more),
    )
    for body in bodies:
        assert _sns(body).verdict is Verdict.VERIFIED
    swapped = json.loads(bodies[0]) | {"SignatureVersion": "2"}
    assert _sns(json.dumps(swapped).encode()).reason is Reason.SIGNATURE_INVALID
    unknown = json.loads(bodies[0]) | {"SignatureVersion": "3"}
    assert _sns(json.dumps(unknown).encode()).reason is Reason.SIGNATURE_MALFORMED


def test_sns_messages_of_other_topics_are_nobodys() -> None:
    """Everybody can have SNS sign his own; nothing is fetched for them."""
    net = Net()
    body = sns_body("a", NOW, TopicArn="arn:aws:sns:eu-west-1:999999999999:orders")
    found = _sns(body, net)
    assert (found.reason, found.delivery_id, net.asked) == (Reason.KEY_UNKNOWN, "evt_1", [])


def test_a_field_named_twice_is_malformed() -> None:
    """The handler might read the other one."""
    body = sns_body("a", NOW)
    assert _sns(body[:-1] + b', "Message": "b"}').reason is Reason.SIGNATURE_MALFORMED


def _held(net: Net) -> Certificates:
    pin = Pin(re.compile(r"https://a\.example/[0-9]+"), re.compile(re.escape(NAME)), chain=False)
    return Certificates(pin, net)


def test_a_certificate_is_fetched_once_a_day() -> None:
    """Then it is asked for again; one that is known costs no network."""
    net = Net(lambda _: served()[PAYPAL_URL])
    held = _held(net)
    for hours in (0, 1, 23):
        assert held.public_key("https://a.example/1", NOW + timedelta(hours=hours)) is not None
    assert len(net.asked) == 1
    held.public_key("https://a.example/1", NOW + timedelta(hours=24))
    assert len(net.asked) == 2


def _reason(held: Certificates, n: int, now: datetime = NOW) -> Reason | None:
    try:
        held.public_key(f"https://a.example/{n}", now)
    except Fault as fault:
        return fault.reason
    return None


def _away(_: str) -> bytes:
    raise OSError


def test_strangers_cannot_make_it_fetch_without_end() -> None:
    """Failures are remembered for a minute, a minute has twelve fetches, good ones stay known."""
    net = Net(lambda url: served()[PAYPAL_URL] if url.endswith("/1") else _away(url))
    held = _held(net)
    assert _reason(held, 1) is None
    assert {_reason(held, n) for n in range(2, 500)} == {Reason.KEY_UNKNOWN}
    assert len(net.asked) == FETCHES_A_MINUTE
    assert _reason(held, 1) is None
    later = NOW + timedelta(seconds=61)
    assert _reason(held, 2, later) is Reason.KEY_UNKNOWN
    assert len(net.asked) == FETCHES_A_MINUTE + 1
    assert _reason(held, 2, later + timedelta(seconds=59)) is Reason.KEY_UNKNOWN
    assert len(net.asked) == FETCHES_A_MINUTE + 1


def test_the_cache_is_bounded() -> None:
    """Sixteen certificates and sixteen failures are kept, the newest ones."""
    good, bad = Net(lambda _: served()[PAYPAL_URL]), Net(_away)
    for net, cache in ((good, "_good"), (bad, "_bad")):
        held = _held(net)
        for n in range(40):
            _reason(held, n, NOW + timedelta(minutes=2 * n))
        assert len(getattr(held, cache)) == CACHED
        assert len(held._fetched_us) <= FETCHES_A_MINUTE


@pytest.mark.parametrize(
    ("scheme", "at", "reason"),
    [
        ("aws-sns", NOW - timedelta(seconds=3601), Reason.TIMESTAMP_STALE),
        ("aws-sns", NOW + timedelta(seconds=301), Reason.TIMESTAMP_FUTURE),
        ("paypal", NOW - timedelta(days=5), Reason.KEY_UNKNOWN),
        ("paypal", NOW + timedelta(days=2), Reason.KEY_UNKNOWN),
    ],
)
def test_nothing_is_fetched_for_another_time(scheme: str, at: datetime, reason: Reason) -> None:
    """Only a certificate that is known tells whether an old signature was right."""
    net = Net()
    roots = {"roots": root()[1]} if scheme == "paypal" else {}
    verify = verifier_for(scheme, SENDERS[scheme].keys, fetch=net, **roots)
    found = verify(dataclasses.replace(SENDERS[scheme].request(at), now=NOW))
    assert (found.reason, found.signature_ok, net.asked) == (reason, None, [])
    assert found.signature is not None
    assert verify(SENDERS[scheme].request()).verdict is Verdict.VERIFIED
    assert verify(dataclasses.replace(SENDERS[scheme].request(at), now=NOW)).signature_ok is True


@pytest.mark.parametrize("size", [1, 32, 64, 255, 257, 2048])
def test_nothing_is_fetched_for_what_cannot_be_a_signature(size: int) -> None:
    """RSA's signatures are as long as its keys."""
    net = Net()
    found = _paypal(net, **{"PAYPAL-TRANSMISSION-SIG": b64(b"x" * size)})
    assert (found.reason, net.asked) == (Reason.SIGNATURE_MALFORMED, [])
    body = json.loads(sns_body("a", NOW)) | {"Signature": b64(b"x" * size)}
    found = _sns(json.dumps(body).encode(), net)
    assert (found.reason, net.asked) == (Reason.SIGNATURE_MALFORMED, [])


class Hanging:
    """A network that does not answer before it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Semaphore(0), threading.Event()

    def __call__(self, _: str) -> bytes:
        self.asked.release()
        assert self.go.wait(20)
        raise OSError


def test_nobody_waits_longer_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses a host has and however slowly it answers; nor for others' fetches."""
    monkeypatch.setattr(certificates, "TIMEOUT_S", 0.05)
    hanging = Hanging()
    net = Net(hanging)
    held = _held(net)
    for n in range(1, 10):
        assert _reason(held, n) is Reason.KEY_UNKNOWN
    assert len(net.asked) == len(held._left) == certificates.FETCHING
    hanging.go.set()
    for thread in held._left:
        thread.join(20)
    assert _reason(held, 1, NOW + timedelta(seconds=59)) is Reason.KEY_UNKNOWN
    assert len(net.asked) == certificates.FETCHING  # the address is remembered for a minute
    net.answer = lambda _: served()[PAYPAL_URL]
    assert _reason(held, 1, NOW + timedelta(seconds=60)) is None
    with held._lock:
        assert _reason(held, 2, NOW + timedelta(seconds=60)) is Reason.KEY_UNKNOWN
        assert _reason(held, 1, NOW + timedelta(seconds=60)) is None


class Answer:
    """An HTTP answer."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status = status
        self._data = data

    def read(self, most: int) -> bytes:
        return self._data[:most]


@pytest.mark.parametrize(
    ("status", "size", "good"), [(200, 5, True), (301, 5, False), (200, 70_000, False)]
)
def test_the_fetcher_follows_no_redirect_and_reads_no_flood(
    status: int, size: int, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is no 200 of bounded size is no certificate."""
    made: list[tuple[Any, ...]] = []

    class Link:
        def __init__(self, *place: Any, timeout: float, context: Any) -> None:
            made.append((*place, timeout, context.check_hostname))

        def request(self, method: str, path: str, headers: Any) -> None:
            made.append((method, path))

        def getresponse(self) -> Answer:
            return Answer(status, b"x" * size)

        def close(self) -> None:
            made.append(("closed",))

    monkeypatch.setattr("http.client.HTTPSConnection", Link)
    if good:
        assert certificates.https_get(PAYPAL_URL) == b"xxxxx"
    else:
        with pytest.raises(OSError, match="certificate: allowed is status 200"):
            certificates.https_get(PAYPAL_URL)
    assert made[0] == ("api.paypal.com", 443, certificates.TIMEOUT_S, True)
    assert made[1:] == [("GET", "/v1/notifications/certs/CERT-360caa42-fca2a594"), ("closed",)]
    with pytest.raises(OSError, match="allowed are https"):
        certificates.https_get(SNS_URL.replace("https", "http"))
