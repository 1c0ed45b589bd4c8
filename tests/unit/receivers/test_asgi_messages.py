"""What passes between an ASGI server and its application, in every order that the spec allows."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from ingest.receivers import verdict
from ingest.receivers.asgi import CallwatchMiddleware
from ingest.receivers.fastapi import Callback
from ingest.signatures.base import SignedRequest, Verification
from ingest.vocabulary import Verdict
from tests.unit.receivers.conftest import PEER, Stream

Ask = Callable[..., httpx.Response]
START = {"type": "http.response.start", "status": 401, "headers": []}
BODY = {"type": "http.response.body", "body": b""}


def _run(app: Any, messages: Iterable[dict[str, Any]] = (), **scope: Any) -> list[dict[str, Any]]:
    """What an application answers to messages; after them the client is gone."""
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    whole = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/hooks/acme",
        "raw_path": b"/hooks/acme", "query_string": b"", "headers": [], "client": (PEER, 1),
        "scheme": "https", **scope,
    }  # fmt: skip
    asyncio.run(app(whole, receive, send))
    return sent


def _chunks(*parts: bytes, more: bool = False) -> list[dict[str, Any]]:
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": at < last or more}
        for at, part in enumerate(parts)
    ]


@pytest.mark.parametrize("last", [
    [BODY],
    [{**BODY, "more_body": True}, BODY],
    [{"type": "http.response.pathsend", "path": "/x"}],
    [{"type": "http.response.zerocopysend", "file": 1, "more_body": True},
     {"type": "http.response.zerocopysend", "file": 1}],
    [{"type": "http.response.trailers", "headers": [], "more_trailers": True},
     {"type": "http.response.trailers", "headers": []}],
])  # fmt: skip
@pytest.mark.parametrize("kind", ["early_hint", "push", "debug"])
def test_a_call_ends_with_its_answer(stream: Stream, kind: str, last: list[Any]) -> None:
    """Hints, pushes and debug messages come before it, and a verdict after them counts."""
    trailers = last[0]["type"] == "http.response.trailers"
    offered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": f"http.response.{kind}"})
        assert verdict("rejected", "signature_invalid")
        await send({**START, "trailers": trailers})
        if trailers:
            await send(BODY)
        for message in last:
            offered.append(stream.publisher.stats().offered)
            await send(message)
        offered.append(stream.publisher.stats().offered)

    watched = CallwatchMiddleware(app, publisher=stream.publisher)
    _run(watched)
    assert offered == [0] * len(last) + [1]
    event = stream.event()
    assert (event.verdict, event.reason, event.status) == ("rejected", "signature_invalid", 401)


def _fastapi(stream: Stream, callback: Callback, before: Any = None, verifier: Any = None) -> Any:
    """A handler that answers with the verdict and the body that it reads."""
    app = FastAPI()

    @app.post("/hooks/{sender}", dependencies=[Depends(before)] if before else [])
    async def receive(found: Annotated[Verification, Depends(callback)], request: Request) -> Any:
        try:
            body = b"(read before)" if before else await request.body()
        except ClientDisconnect:
            body = b"(lost)"
        return Response(f"{found.verdict} {found.reason}".encode() + b" " + body)

    return CallwatchMiddleware(app, publisher=stream.publisher, verifier=verifier)


def _good(request: SignedRequest) -> Verification:
    return Verification(Verdict.VERIFIED if request.body == b"body" else Verdict.REJECTED)


@pytest.mark.parametrize("parts", [(b"x" * 16,), (b"x" * 8, b"x" * 6, b"x" * 2), (b"x" * 10,) * 3])
def test_a_large_body_is_not_lost_to_the_handler(stream: Stream, parts: tuple[bytes, ...]) -> None:
    """It gets the verdict `body_too_large`, and reads all of the body itself."""
    sent = _run(_fastapi(stream, Callback(_good, max_body=10)), _chunks(*parts))
    assert sent[1]["body"] == b"rejected body_too_large " + b"".join(parts)
    assert (stream.event().reason, stream.event().body_bytes) == (
        "body_too_large", sum(map(len, parts)),
    )  # fmt: skip


def test_two_dependencies_may_read_a_large_body(stream: Stream) -> None:
    """The second one, with more room, finds it whole."""
    first = Callback(_good, max_body=3)
    sent = _run(_fastapi(stream, Callback(_good), before=first), _chunks(b"bo", b"d", b"y"))
    assert sent[1]["body"] == b"verified None (read before)"


def test_a_lost_client_has_no_verdict(stream: Stream) -> None:
    """The dependency raises nothing; the handler finds out as it would without it."""
    sent = _run(_fastapi(stream, Callback(_good)), _chunks(b"bo", more=True))
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"unverified None (lost)")


async def _form(request: Request) -> None:
    """Reads the stream, as FastAPI does for a handler with a form."""
    async for _ in request.stream():
        pass


def test_a_form_that_was_read_before_is_judged_where_it_was_kept(stream: Stream) -> None:
    """The middleware keeps small bodies; without it nothing is known, and nothing is raised."""
    app = _fastapi(stream, Callback(_good), before=_form)
    assert _run(app, _chunks(b"bo", b"dy"))[1]["body"] == b"verified None (read before)"
    assert _run(app.app, _chunks(b"body"))[1]["body"] == b"unverified None (read before)"
    assert _run(app, _chunks(b"x" * 9_000))[1]["body"] == b"unverified None (read before)"
    enforced = _fastapi(stream, Callback(_good, enforce=True), before=_form)
    assert _run(enforced.app, _chunks(b"body"))[0]["status"] == 401


def test_a_verifier_that_fails_is_no_answer(stream: Stream) -> None:
    """A fault in it gives `unverified`, and with `enforce` the call is refused all the same."""

    def faulty(request: SignedRequest) -> Verification:
        raise ZeroDivisionError

    sent = _run(_fastapi(stream, Callback(faulty)), _chunks(b"body"))
    assert sent[1]["body"] == b"unverified None body"
    sent = _run(_fastapi(stream, Callback(faulty, enforce=True)), _chunks(b"body"))
    assert sent[0]["status"] == 401


def test_both_give_a_verifier_the_same_request(stream: Stream, certificate: str) -> None:
    """The path as it was called, the client behind the proxies, and its certificate."""
    seen: list[Any] = []

    def verifier(request: SignedRequest) -> Verification:
        assert request.certificate is not None
        seen.append((request.url, request.source_ip, dict(request.headers)))
        return Verification(Verdict.UNVERIFIED)

    headers = [(b"host", b"shop.example"), (b"x-forwarded-for", b"203.0.113.9"), (b"a", b"1"),
               (b"A", b"2")]  # fmt: skip
    scope = {
        "path": "/hooks/a@b c", "raw_path": b"/hooks/a%40b%20c", "query_string": b"q=%20",
        "headers": headers, "extensions": {"tls": {"client_cert_chain": [certificate]}},
    }  # fmt: skip

    async def read(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        await send(BODY)

    given: Any = {"publisher": stream.publisher, "proxies": "1"}
    _run(CallwatchMiddleware(read, verifier=verifier, **given), _chunks(b"body"), **scope)
    dependency = _fastapi(stream, Callback(verifier)).app
    _run(CallwatchMiddleware(dependency, **given), _chunks(b"body"), **scope)
    stream.events()
    named = {"host": "shop.example", "x-forwarded-for": "203.0.113.9", "a": "1, 2"}
    assert seen == [("https://shop.example/hooks/a%40b%20c?q=%20", "203.0.113.9", named)] * 2


@pytest.fixture
def certificate() -> str:
    """A client's certificate in PEM form; nobody checks its signature here."""
    import ssl

    return ssl.DER_cert_to_PEM_cert(b"certificate")


def test_a_mounted_application_is_told_from_another(stream: Stream, ask_asgi: Ask) -> None:
    """Its endpoints begin with where it is mounted, by the template where that holds an id."""
    app = FastAPI()
    app.add_middleware(CallwatchMiddleware, publisher=stream.publisher)
    inner = FastAPI()

    @inner.post("/cb/{sender}")
    async def receive(sender: str) -> None: ...

    for where in ("/shop", "/pay", "/of/{customer}"):
        app.mount(where, inner)
    for path in ("/shop/cb/acme", "/pay/cb/acme", "/of/4711/cb/acme"):
        ask_asgi(app, path)
    assert [(event.endpoint, event.sender) for event in stream.events()] == [
        ("/shop/cb/{sender}", "acme"),
        ("/pay/cb/{sender}", "acme"),
        ("/of/{customer}/cb/{sender}", "acme"),
    ]
