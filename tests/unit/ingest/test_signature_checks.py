"""The checks around a signature: their order, their reasons, and stores that remember."""

import dataclasses
import hashlib
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import SignatureError
from ingest.signatures.base import ClientCertificate, SignedRequest, Verification
from ingest.signatures.checks import guarded
from ingest.signatures.client_cert import CertificateCheck, from_asgi, from_pem, from_xfcc
from ingest.signatures.deliveries import Deliveries, MemoryStore
from ingest.signatures.schemes import verifier_for
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import SENDERS, certificate, root, rsa_key

VERIFY = verifier_for("stripe", SENDERS["stripe"].keys)
CERT = ClientCertificate("ab" * 32, frozenset({"dns:batch.example"}))
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["type"]}


class Clock:
    """Seconds that only move when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _request(**fields: Any) -> SignedRequest:
    request = SENDERS["stripe"].request()
    headers = {**request.headers, "Content-Type": "application/json; charset=utf-8"}
    good = {"headers": headers, "source_ip": "192.0.2.7", "certificate": CERT}
    return dataclasses.replace(request, **{**good, **fields})


def _all(**changed: Any) -> Callable[[SignedRequest], Verification]:
    """Every check at once."""
    settings: dict[str, Any] = {
        "max_body": 200,
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
        "certificate": CertificateCheck({"batch": "dns:batch.example"}),
        "content_types": ["application/json"],
        "deliveries": Deliveries(MemoryStore(), refuse=True),
        "schema": jsonschema.Draft202012Validator(SCHEMA).validate,
    }
    return guarded(VERIFY, **{**settings, **changed})


def test_what_passes_all_checks_is_verified() -> None:
    """A good call keeps everything that its signature told, and is told to be no repeat."""
    found = _all()(_request())
    assert found == dataclasses.replace(VERIFY(_request()), duplicate=False)
    assert found.verdict is Verdict.VERIFIED


BAD: list[tuple[dict[str, Any], Reason]] = [
    ({"method": "GET"}, Reason.METHOD_NOT_ALLOWED),
    ({"body": b"x" * 201}, Reason.BODY_TOO_LARGE),
    ({"source_ip": "198.51.100.1"}, Reason.IP_DENIED),
    ({"certificate": None}, Reason.CERTIFICATE_INVALID),
    ({"headers": {}}, Reason.CONTENT_TYPE_UNSUPPORTED),
]


@pytest.mark.parametrize("count", range(1, len(BAD) + 1))
def test_the_first_failing_check_is_the_reason(count: int) -> None:
    """With several faults at once the order of the checks decides, as DESIGN has it."""
    faults: dict[str, Any] = {}
    for fields, _ in BAD[count - 1 :]:
        faults |= fields
    assert _all()(_request(**faults)) == Verification(Verdict.REJECTED, BAD[count - 1][1])


def test_a_wrong_signature_is_told_before_repeats_and_content() -> None:
    """Nobody unknown learns whether a delivery was seen or fits the schema, or uses up its id."""
    verify = _all()
    wrong = _request(body=b'{"id":"evt_1"}')
    assert verify(wrong).reason is Reason.SIGNATURE_INVALID
    assert verify(_request()).duplicate is False


@pytest.mark.parametrize("source", ["::ffff:192.0.2.7", "2001:db8::1", "192.0.2.255"])
def test_addresses_within_the_networks_may_call(source: str) -> None:
    """IPv4 written as IPv6 is the same address."""
    assert _all()(_request(source_ip=source)).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    "source", [None, "", "testclient", "2001:db9::1", "192.0.3.0", "fe80::1%e"]
)
def test_all_other_sources_are_denied(source: str | None) -> None:
    """Also one that nobody knows."""
    assert _all()(_request(source_ip=source)).reason is Reason.IP_DENIED


def test_repeats_are_told_or_refused() -> None:
    """By default a repeat is verified and told; a receiver that refuses them rejects it."""
    for refuse, reason in ((False, None), (True, Reason.DUPLICATE_DELIVERY)):
        verify = _all(deliveries=Deliveries(MemoryStore(), refuse=refuse))
        assert verify(_request()).duplicate is False
        again = verify(_request())
        assert (again.duplicate, again.reason, again.signature_ok) == (True, reason, True)


def test_a_handler_that_failed_lets_the_retry_in() -> None:
    """What was forgotten is new again."""
    deliveries = Deliveries(MemoryStore(), refuse=True, signatures=True)
    verify = _all(deliveries=deliveries)
    deliveries.forget(verify(_request()))
    assert verify(_request()).verdict is Verdict.VERIFIED


def test_content_that_does_not_fit_is_rejected_each_time() -> None:
    """A schema's error is no repeat when the provider sends the same again."""
    body = b'{"id":"evt_1"}'
    request = dataclasses.replace(
        SENDERS["stripe"].request(body=body), source_ip="192.0.2.7", certificate=CERT
    )
    verify = _all(content_types=None)
    for _ in range(2):
        found = verify(request)
        assert (found.reason, found.signature_ok) == (Reason.SCHEMA_INVALID, True)
    assert _all(content_types=None, schema=lambda _: False)(request).reason is (
        Reason.SCHEMA_INVALID
    )
    assert _all(content_types=None, schema=dict)(request).verdict is Verdict.VERIFIED


def test_a_replay_under_a_fresh_id_is_known_by_its_signature() -> None:
    """GitHub's delivery id is not signed: the signature tells a replay where it is asked for."""
    verify = verifier_for("github", SENDERS["github"].keys)
    request = SENDERS["github"].request()
    fresh = dataclasses.replace(request, headers={**request.headers, "X-GitHub-Delivery": "new"})
    for signatures in (False, True):
        both = guarded(verify, deliveries=Deliveries(MemoryStore(), signatures=signatures))
        both(request)
        assert both(fresh).duplicate is signatures


def test_senders_that_share_a_store_do_not_share_ids() -> None:
    """The scope sets them apart."""
    store = MemoryStore()
    one, other = (Deliveries(store, scope=scope) for scope in ("one", "other"))
    found = Verification(Verdict.VERIFIED, delivery_id="1")
    assert [one.known(found), other.known(found), one.known(found)] == [False, False, True]


class Redis:
    """A store that answers as clients of Redis do."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, bool, int]] = []

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> Any:
        self.asked.append((name, value, nx, ex))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _awaited() -> bool:
    return True


@pytest.mark.parametrize(
    ("answer", "duplicate"),
    [
        (True, False),
        (b"OK", False),
        (None, True),
        (False, True),
        (OSError("away"), None),
        (7, None),
    ],
)
def test_a_store_elsewhere_is_believed_and_may_be_away(answer: Any, duplicate: bool | None) -> None:
    """Redis says True or None; one that is away turns nobody away; its names hold no id."""
    store = Redis(answer)
    verify = _all(deliveries=Deliveries(store, scope="shop", keep_s=60))
    found = verify(_request())
    assert found.duplicate is duplicate
    assert verify.may_block  # type: ignore[attr-defined]
    ((name, value, nx, ex),) = store.asked
    assert (value, nx, ex) == ("1", True, 60)
    assert name == "callwatch:delivery:" + hashlib.sha256(b"shop\x00evt_1").hexdigest()


def test_a_client_that_wants_to_be_awaited_is_no_answer() -> None:
    """Its coroutine is closed, not left behind with a warning."""
    assert _all(deliveries=Deliveries(Redis(_awaited())))(_request()).duplicate is None


def test_the_memory_is_bounded_and_forgets_in_time() -> None:
    """The oldest name goes when there is no room, every name when its time is over."""
    clock = Clock()
    store = MemoryStore(3, clock)
    assert [store.set(str(n), "1", nx=True, ex=10) for n in range(5)] == [True] * 5
    assert len(store) == 3
    assert store.set("4", "1", nx=True, ex=10) is None
    assert store.set("0", "1", nx=True, ex=10) is True
    clock.now = 10.0
    assert store.set("4", "1", nx=True, ex=10) is True
    assert len(store) == 1
    store.set("4", "1", nx=False, ex=0)
    assert len(store) == 0
    with pytest.raises(SignatureError, match="max_entries: allowed are 1 and more; given 0"):
        MemoryStore(0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 3)), max_size=60))
def test_the_memory_says_what_a_plain_dict_would(steps: list[tuple[int, int, int]]) -> None:
    """Random names, times to live and pauses: the answers are those of the definition."""
    clock, until = Clock(), dict[str, float]()
    store = MemoryStore(1000, clock)
    for name, ex, pause in steps:
        clock.now += pause
        key = str(name)
        new = until.get(key, 0.0) <= clock.now
        if new:
            until[key] = clock.now + ex
        assert store.set(key, "1", nx=True, ex=ex) is (True if new else None)


PEM = certificate("batch.example", rsa_key().public_key(), by=root()[0]).decode()
PRINT = hashlib.sha256(ssl.PEM_cert_to_DER_cert(PEM)).hexdigest()


def test_a_client_certificate_is_read_as_proxies_hand_it_over() -> None:
    """PEM plain and percent-encoded, an ASGI scope, Envoy's header: the same certificate."""
    wanted = ClientCertificate(PRINT, frozenset({"dns:batch.example"}))
    assert from_pem(PEM) == from_pem(quote(PEM, safe="")) == from_pem(PEM + PEM) == wanted
    scope = {"extensions": {"tls": {"client_cert_chain": [PEM], "client_cert_error": None}}}
    assert from_asgi(scope) == wanted
    assert from_xfcc(f'By=spiffe://a;Hash={PRINT};Subject="CN=a;b,O=c";DNS=batch.example') == wanted
    scope["extensions"]["tls"]["client_cert_error"] = "expired"  # type: ignore[index]
    assert from_asgi(scope) is None
    assert from_asgi({}) is None
    assert from_xfcc(f"Hash={PRINT},Hash={PRINT}") is None


@given(st.text(max_size=60) | st.text(alphabet='Hash=;,"URI:ab0', max_size=60))
def test_a_strange_certificate_is_none(text: str) -> None:
    """Nothing that a header holds raises or passes."""
    check = CertificateCheck({"a": PRINT})
    for read in (from_pem, from_xfcc):
        assert check(read(text)) is None


def test_certificates_are_known_by_fingerprint_or_name() -> None:
    """With colons and in capitals too; the label is the key's where nothing is signed."""
    colons = ":".join(PRINT[i : i + 2].upper() for i in range(0, 64, 2))
    for text in (PRINT, colons, f"sha256:{PRINT}", "dns:batch.example"):
        verify = guarded(None, certificate=CertificateCheck({"batch": text}))
        found = verify(_request(certificate=from_pem(PEM)))
        assert (found.verdict, found.key_id, found.signature_ok) == (
            Verdict.VERIFIED,
            "batch",
            None,
        )
        other = ClientCertificate("cd" * 32, frozenset({"dns:other.example"}))
        assert verify(_request(certificate=other)).reason is Reason.CERTIFICATE_INVALID


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: guarded(None), "verifier: allowed is none only where a client certificate"),
        (lambda: guarded(VERIFY, networks=["192.0.2.1/24"]), "networks: allowed are networks such"),
        (lambda: guarded(VERIFY, networks=[]), "networks: allowed are one and more; given 0"),
        (lambda: guarded(VERIFY, max_body=-1), "max_body: allowed are 0 bytes and more; given -1"),
        (lambda: CertificateCheck({}), "certificate: allowed are one and more"),
        (lambda: CertificateCheck({"a": "batch"}), "certificate 'a': allowed are a SHA-256"),
    ],
)
def test_a_wrong_check_is_an_error_at_start(make: Callable[[], object], text: str) -> None:
    """One line says what is allowed."""
    with pytest.raises(SignatureError) as raised:
        make()
    assert str(raised.value).startswith(text)


@given(
    st.dictionaries(
        st.sampled_from(["method", "url", "headers", "body", "source_ip", "certificate"]),
        st.none() | st.integers() | st.text(),
    )
)
def test_strange_requests_get_a_reason(fields: dict[str, Any]) -> None:
    """A request of any shape is judged; nothing of it is shown."""
    found = _all()(_request(**fields))
    assert (found.reason is None) == (found.verdict is Verdict.VERIFIED)
