"""Nothing of a request that is secret reaches the stream or a log, whoever records it."""

import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.receivers import describe, load_options, record, verdict
from ingest.receivers.asgi import CallwatchMiddleware as AsgiMiddleware
from ingest.receivers.wsgi import CallwatchMiddleware as WsgiMiddleware
from ingest.schema import CallbackEvent
from ingest.signatures.base import Key, SignedRequest, Verification
from ingest.signatures.standard_webhooks import verify
from ingest.vocabulary import Reason, Verdict
from tests.unit.receivers.apps import fastapi_app, flask_app
from tests.unit.receivers.conftest import PEPPER, Stream

Ask = Callable[..., httpx.Response]
CANARIES = st.lists(
    st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=12, max_size=24),
    min_size=9,
    max_size=9,
    unique=True,
)
SEEN = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
PRINTS = ("body_fp", "delivery_fp", "signature_fp", "path_fp")


def _forms(canary: str) -> list[bytes]:
    """A secret as it is, and as somebody might have written it."""
    raw = canary.encode()
    return [raw, raw[:10], raw.hex()[:20].encode(), quote(canary).encode(),
            base64.b64encode(raw)[:12], raw.lower()]  # fmt: skip


def _records(stream: Stream) -> bytes:
    """Every byte that would go to Kafka."""
    assert stream.publisher.flush(20)
    return b"\x00".join(
        part
        for record in stream.memory.records
        for part in (record.key or b"", record.value, *(value for _, value in record.headers))
    )


@given(CANARIES, st.sampled_from(["said", "left", "verifier", "raises", "fails", "status"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_no_secret_of_a_request_is_recorded(
    kind: str,
    stream: Stream,
    ask_asgi: Ask,
    ask_wsgi: Ask,
    caplog: pytest.LogCaptureFixture,
    canaries: list[str],
    how: str,
) -> None:
    """Body, query, path, cookie, credentials, ids, signatures: none in any form, nor in a log."""
    body, query, path, cookie, token, unique, signature, header, key = canaries
    secret = key.encode()

    def work(data: bytes) -> int:
        if how == "said":
            verdict("verified", delivery_id=unique, signature=signature.encode(), key_id="k1")
        elif how == "left":
            verdict(verify({"webhook-id": unique, "webhook-signature": signature}, data,
                           [Key("k1", secret)], now=SEEN))  # fmt: skip
        elif how == "fails":
            raise ValueError(token + body)
        return 204

    def verifier(request: SignedRequest) -> Verification:
        if how == "raises":
            raise ValueError(secret, request.headers, request.body)
        return Verification(Verdict.REJECTED, Reason.SIGNATURE_INVALID, False, None, None,
                            unique, signature.encode())  # fmt: skip

    options: dict[str, Any] = {"publisher": stream.publisher, "endpoints": ["/hooks/*"]}
    if how in {"verifier", "raises"}:
        options["verifier"] = verifier
    request: dict[str, Any] = {
        "path": f"/hooks/a/{path}?token={query}" if how == "status" else f"/hooks/a?token={query}",
        "content": f'{{"card":"{body}"}}' + " " * (20_000 if how == "verifier" else 0),
        "headers": {
            "authorization": f"Bearer {token}",
            "cookie": f"session={cookie}",
            "webhook-id": unique,
            "webhook-signature": f"v1,{signature}",
            "x-api-key": header,
        },
    }
    with caplog.at_level(logging.DEBUG, "callwatch"):
        try:
            if kind == "asgi":
                ask_asgi(AsgiMiddleware(fastapi_app(work), **options), **request)
            else:
                ask_wsgi(WsgiMiddleware(flask_app(work), **options), **request)
        except ValueError:
            assert how == "fails"  # the application's own, handed on
    sent = _records(stream)
    logged = "\n".join(
        entry.getMessage() for entry in caplog.records if entry.name.startswith("callwatch")
    )
    assert stream.publisher.stats().offered > 0
    for canary in canaries:
        for form in _forms(canary):
            assert form not in sent
            assert form not in logged.encode()


@given(CANARIES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_no_secret_is_described(stream: Stream, canaries: list[str]) -> None:
    """What a handler hands to `describe` as secret leaves it as a fingerprint."""
    body, unique, signature, *_ = canaries
    fields = describe("verified", source_ip="192.0.2.7", body=body.encode(), delivery_id=unique,
                      signature=signature.encode())  # fmt: skip
    assert record(fields, stream.publisher)
    sent = _records(stream) + repr(fields).encode()
    assert not [form for canary in canaries for form in _forms(canary) if form in sent]


def _prints(event: CallbackEvent) -> tuple[str | None, ...]:
    return tuple(getattr(event, name) for name in PRINTS)


def test_fingerprints_are_the_peppers(stream: Stream, ask_asgi: Ask, ask_wsgi: Ask) -> None:
    """Equal in all receivers that share a pepper, however they attach; all others with another."""
    found: dict[bytes, set[tuple[str | None, ...]]] = {}
    content = b'{"type":"invoice.paid"}'

    def work(data: bytes) -> int:
        return 204 if verdict("verified", delivery_id="msg_1", signature=b"s" * 32) else 500

    for pepper in (PEPPER, b"another pepper, longer"):
        for ask, kind, app in (
            (ask_asgi, AsgiMiddleware, fastapi_app(work)),
            (ask_wsgi, WsgiMiddleware, flask_app(work)),
        ):
            given: Any = {"publisher": stream.publisher, "pepper": pepper, "receiver": "other/2@b"}
            ask(kind(app, **given), content=content)  # type: ignore[operator]
            found.setdefault(pepper, set()).add(_prints(stream.event()))
        options = load_options({}, pepper=pepper)
        record(describe("verified", source_ip=None, body=content, delivery_id="msg_1",
                        signature=b"s" * 32, options=options), stream.publisher)  # fmt: skip
        found[pepper].add(_prints(stream.event()))
    one, two = found.values()
    assert len(one) == len(two) == 1
    for left, right in zip(one.pop()[:3], two.pop()[:3], strict=True):
        assert left is not None
        assert left != right


def test_a_pepper_is_in_no_text(stream: Stream) -> None:
    """Options and publishers may be printed."""
    options = load_options({"CALLWATCH_PEPPER": PEPPER.hex()}, receiver="a/1@b")
    for text in (repr(options), repr(stream.publisher), str(options)):
        assert PEPPER.hex() not in text
        assert repr(PEPPER)[2:-1] not in text


@pytest.mark.parametrize("how", ["offer", "publish"])
def test_a_value_in_the_wrong_field_is_not_logged(
    how: str, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver's log names field and rule: what was given may be a raw signature."""
    fields = describe("verified", source_ip="192.0.2.7")
    for wrong in (
        {"signature_fp": "CANARY"},
        {"ext": {"CANARY\n": "CANARY\n", "b": ["CANARY"]}},
        {"CANARY\n": 1},
        {"reason": "CANARY"},
        {"kind": "CANARY"},
        {"source_ip": "CANARY"},
        {"body_bytes": "CANARY"},
    ):
        stream.publisher._courier._warned_at.clear()
        getattr(stream.publisher, how)({**fields, **wrong})
        assert stream.publisher.flush(20)
    assert "signature_fp: allowed is 32 hexadecimal digits in lower case" in caplog.text
    assert caplog.text.count("an event was dropped") == 7
    assert "CANARY" not in caplog.text
