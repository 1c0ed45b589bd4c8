"""For handlers without a middleware: `record`, `describe`, and the dependency of FastAPI."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response

from ingest.fingerprint import fingerprint
from ingest.receivers import default_publisher, describe, load_options, record
from ingest.receivers.asgi import CallwatchMiddleware
from ingest.receivers.fastapi import Callback
from ingest.schema import parse_event
from ingest.signatures.base import SignedRequest, Verification
from ingest.vocabulary import Reason, Verdict
from tests.unit.receivers.conftest import PEPPER, Stream

FOUND = Verification(Verdict.VERIFIED, signature_ok=True, key_id="k1", delivery_id="d")
Ask = Callable[..., httpx.Response]


def test_what_a_handler_knows_becomes_an_event(stream: Stream) -> None:
    """The verdict, some details, and the body as a fingerprint; `record` queues it."""
    fields = describe(
        FOUND, source_ip="192.0.2.7", body=b"{}", endpoint="/hooks/a", sender="acme", status=204,
        user_agent="a\x00b", signature=b"s",
    )  # fmt: skip
    assert record(fields, stream.publisher)
    event = stream.event()
    assert (event.verdict, event.key_id, event.sender) == ("verified", "k1", "acme")
    assert (event.body_bytes, event.body_fp) == (2, fingerprint(PEPPER, "body", b"{}"))
    assert event.delivery_fp == fingerprint(PEPPER, "delivery", b"d")
    assert event.signature_fp == fingerprint(PEPPER, "signature", b"s")
    assert (event.user_agent, event.source_ip) == ("a b", "192.0.2.7")
    other = describe("rejected", source_ip=None, options=load_options(sender="x"))
    assert record(other, stream.publisher)
    assert (stream.event().reason, stream.event().sender) == ("other", "x")
    assert stream.event().source_ip_from == "untrusted_header"


def test_what_is_recorded_cannot_be_changed_afterwards(stream: Stream) -> None:
    """A dict is copied, and the time is that of the call."""
    fields: dict[str, Any] = describe("verified", source_ip="192.0.2.7", ext={"a": 1})
    event = parse_event(_json(fields))
    with stream.publisher._lock:  # the thread cannot look before the changes
        record(fields, stream.publisher)
        record(event, stream.publisher)
        fields["sender"] = "changed"
        fields["ext"]["a"] = 2
        assert event.ext is not None
        event.ext["a"] = 2
    assert [(one.sender, one.ext) for one in stream.events()] == [("(unknown)", {"a": 1})] * 2


@pytest.mark.parametrize("wrong", [{}, {"sender": 7}, {"ext": 5}, {1: 2}, None, 7, "text", [1]])
def test_nonsense_is_dropped_and_counted(stream: Stream, wrong: Any) -> None:
    """Whatever is passed, nothing is raised, and the account is exact."""
    record(wrong, stream.publisher)
    stream.publisher.flush(20)
    stats = stream.publisher.stats()
    assert (stats.offered, stats.sent, sum(stats.dropped.values())) == (1, 0, 1)


def test_large_values_count_against_the_bound(stream: Stream) -> None:
    """A dict of megabytes is not held where there is no room for it."""
    stream.publisher._outbox._max_bytes = 10_000
    assert record({"sender": "x" * 20_000}, stream.publisher) is False
    assert record({"ext": {"a": "x" * 20_000}}, stream.publisher) is False
    assert stream.publisher.stats().dropped == {"queue_full": 2}


def test_record_finds_its_publisher(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Without one given it is that of the environment."""
    monkeypatch.setenv("CALLWATCH_EVENTS_TO", str(tmp_path / "events.jsonl"))
    assert record(describe("verified", source_ip="192.0.2.7"))
    assert default_publisher().close(20)
    assert '"verdict":"verified"' in (tmp_path / "events.jsonl").read_text()


@pytest.mark.parametrize("off", [{"CALLWATCH_DISABLED": "1"}, {}])
def test_a_wrong_environment_never_reaches_the_handler(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, off: dict[str, str]
) -> None:
    """A pepper that is none, or the kill switch: nothing is described, and nothing is raised."""
    for name, value in {"CALLWATCH_PEPPER": "zz", **off}.items():
        monkeypatch.setenv(name, value)
    assert describe("verified", source_ip="192.0.2.7", body=b"x") == {}
    assert record(describe("verified", source_ip="192.0.2.7")) is False


@pytest.mark.parametrize("wrong", [
    {"signature": "text"}, {"body": {}}, {"body_bytes": "5"}, {"status": "204"}, {"status": 7},
    {"source_ip": 7}, {"sender": 7}, {"kind": []}, {"ext": "x"}, {"signed_at": 5},
    {"delivery_id": 7},
    {"found": object()}, {"found": "nonsense"}, {"method": b"POST"}, {"no_such_detail": 1},
])  # fmt: skip
def test_a_wrong_type_costs_that_field_only(stream: Stream, wrong: dict[str, Any]) -> None:
    """Whatever a handler passes, it gets the fields of a valid event."""
    fields = describe(**{"found": "verified", "source_ip": "192.0.2.7", **wrong})
    assert record(fields, stream.publisher)
    assert stream.event().sender == "(unknown)"


def test_a_body_may_be_text_or_a_buffer(stream: Stream) -> None:
    """Its fingerprint is that of its bytes."""
    for body in (b"{}", "{}", bytearray(b"{}"), memoryview(b"{}")):
        fields = describe("verified", source_ip="192.0.2.7", body=body)  # type: ignore[arg-type]
        assert (fields["body_bytes"], fields["body_fp"]) == (2, fingerprint(PEPPER, "body", b"{}"))


def test_the_environment_is_read_once(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither files nor the host's name are read for each call, right or wrong as they are."""
    read: list[int] = []

    def load() -> Any:
        read.append(1)
        return load_options()

    monkeypatch.setattr("ingest.receivers.plain.load_options", load)
    for _ in range(3):
        assert describe("verified", source_ip="192.0.2.7")["receiver"] == "shop/1@a"
    assert read == [1]


def _verifier(request: SignedRequest) -> Verification:
    if request.headers.get("x-signature") == "good" and request.body == b"body":
        return FOUND
    return Verification(Verdict.REJECTED, Reason.SIGNATURE_INVALID, signature_ok=False)


@pytest.mark.parametrize("enforce", [False, True])
def test_a_dependency_verifies_before_the_handler(
    stream: Stream, ask_asgi: Ask, enforce: bool
) -> None:
    """The handler gets what was found, or is not called; the event has it in both cases."""
    called: list[Verdict] = []
    app = FastAPI()
    watched = Callback({"acme": _verifier}, enforce=enforce, max_body=10)

    @app.post("/hooks/{sender}")
    async def receive(found: Annotated[Verification, Depends(watched)], request: Request) -> Any:
        called.append(found.verdict)
        assert await request.body() in {b"body", b""}
        return Response(status_code=204 if found.verdict is Verdict.VERIFIED else 400)

    middleware = CallwatchMiddleware(app, publisher=stream.publisher)
    good = {"x-signature": "good"}
    asked = [("/hooks/acme", good, b"body"), ("/hooks/acme", {}, b"body"),
             ("/hooks/other", good, b"body"), ("/hooks/acme", good, b"x" * 11)]  # fmt: skip
    statuses = [
        ask_asgi(middleware, path, headers=headers, content=body).status_code
        for path, headers, body in asked
        if enforce or (path == "/hooks/acme" and len(body) < 11)
    ]
    assert statuses == ([204, 401, 401, 413] if enforce else [204, 400])
    assert called == ([Verdict.VERIFIED] if enforce else [Verdict.VERIFIED, Verdict.REJECTED])
    reasons = [event.reason for event in stream.events()]
    assert (
        reasons == [None, "signature_invalid", "sender_unknown", "body_too_large"][: len(statuses)]
    )
    assert stream.events()[0].body_fp == fingerprint(PEPPER, "body", b"body")


def _json(fields: dict[str, Any]) -> bytes:
    from pydantic_core import to_json

    more = {"schema": 1, "id": "2748a95e-57c0-4be0-a297-2f8abe8d0123"}
    found: bytes = to_json({**fields, **more, "received_at": datetime.now(UTC)})
    return found
