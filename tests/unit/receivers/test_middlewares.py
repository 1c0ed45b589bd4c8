"""Attached in one line, every kind of application gives the same event and answers as before."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ingest.fingerprint import fingerprint
from ingest.receivers import verdict
from ingest.receivers.address import Privacy
from ingest.receivers.asgi import CallwatchMiddleware as AsgiMiddleware
from ingest.receivers.wsgi import CallwatchMiddleware as WsgiMiddleware
from ingest.schema import CallbackEvent
from ingest.signatures.base import SignedRequest, Verification
from ingest.vocabulary import Reason, Verdict
from tests.unit.receivers.apps import Work, accept, fastapi_app, flask_app
from tests.unit.receivers.conftest import PEPPER, Stream

BODY = b'{"type":"invoice.paid"}'
HOOKS = ["/hooks/{sender}"]
NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
HEADERS = {"user-agent": "Stripe/1.0", "content-type": "application/json"}

Post = Callable[..., httpx.Response]


@pytest.fixture(params=["asgi", "wsgi"])
def post(
    request: pytest.FixtureRequest, stream: Stream, ask_asgi: Post, ask_wsgi: Post
) -> Callable[..., httpx.Response]:
    """Posts to a watched application that does `work`, with the given options."""

    def send(work: Work = accept, options: dict[str, Any] | None = None, **more: Any) -> Any:
        given = {"endpoints": HOOKS, "publisher": stream.publisher, **(options or {})}
        more = {"content": BODY, "headers": HEADERS, **more}
        if request.param == "asgi":
            return ask_asgi(AsgiMiddleware(fastapi_app(work), **given), **more)
        return ask_wsgi(WsgiMiddleware(flask_app(work), **given), **more)

    return send


def test_a_callback_becomes_an_event(post: Post, stream: Stream) -> None:
    """What is known of the request and its answer, without a byte of the body."""
    before = datetime.now(UTC)
    assert post().status_code == 204
    event = stream.event()
    wanted = {
        "receiver": "shop/1@a",
        "endpoint": "/hooks/{sender}",
        "kind": "webhook",
        "sender": "acme",
        "verdict": "unverified",
        "reason": None,
        "body_bytes": len(BODY),
        "body_fp": fingerprint(PEPPER, "body", BODY),
        "path_fp": None,
        "content_type": "application/json",
        "user_agent": "Stripe/1.0",
        "method": "POST",
        "status": 204,
        "source_ip": "192.0.2.7",
        "source_ip_from": "socket",
        "sample_rate": 1.0,
    }
    assert {name: getattr(event, name) for name in wanted} == wanted
    assert before - timedelta(seconds=1) < event.received_at < datetime.now(UTC)
    assert event.duration_ms is not None
    assert 0 < event.duration_ms < 60_000


def test_the_handler_says_the_verdict(post: Post, stream: Stream) -> None:
    """What `verdict` is told stands in the event, ids and signatures as fingerprints only."""

    def work(body: bytes) -> int:
        assert verdict(
            "verified", sender="acme-stripe", provider="stripe", signature_ok=True, key_id="k1",
            signed_at=NOW, delivery_id="evt_1", signature=b"s" * 32, event_type="invoice.paid",
            duplicate=False, attempt=2, ext={"plan": "gold"},
        )  # fmt: skip
        return 200

    post(work)
    event = stream.event()
    assert (event.verdict, event.sender, event.provider) == ("verified", "acme-stripe", "stripe")
    assert (event.key_id, event.signed_at, event.event_type) == ("k1", NOW, "invoice.paid")
    assert (event.signature_ok, event.duplicate, event.attempt) == (True, False, 2)
    assert event.delivery_fp == fingerprint(PEPPER, "delivery", b"evt_1")
    assert event.signature_fp == fingerprint(PEPPER, "signature", b"s" * 32)
    assert event.ext == {"plan": "gold"}


def test_a_verification_is_a_verdict(post: Post, stream: Stream) -> None:
    """What a verifier gave can be told as it is."""
    found = Verification(Verdict.REJECTED, Reason.TIMESTAMP_STALE, True, "k1", NOW, "d", b"s")

    def work(body: bytes) -> int:
        return 401 if verdict(found) else 500

    assert post(work).status_code == 401
    event = stream.event()
    assert (event.verdict, event.reason, event.signature_ok) == (
        "rejected",
        "timestamp_stale",
        True,
    )
    assert (event.key_id, event.signed_at) == ("k1", NOW)
    assert event.delivery_fp is not None
    assert event.signature_fp is not None


@pytest.mark.parametrize(
    ("status", "options", "expected"),
    [
        (204, {}, ("unverified", None)),
        (401, {}, ("rejected", "other")),
        (403, {}, ("rejected", "other")),
        (400, {}, ("unverified", None)),
        (400, {"rejected_statuses": [400]}, ("rejected", "other")),
        (413, {"rejected_statuses": [413]}, ("rejected", "body_too_large")),
        (204, {"status_verifies": True}, ("verified", None)),
        (429, {"status_verifies": True}, ("rejected", "rate_limited")),
        (500, {"status_verifies": True}, ("unverified", None)),
    ],
)
def test_the_status_is_the_last_resort(
    post: Post, stream: Stream, status: int, options: dict[str, Any], expected: Any
) -> None:
    """Where nobody says a verdict, 401 and 403 mean rejected, and 2xx only what it is set to."""
    post(lambda _: status, options)
    assert (stream.event().verdict, stream.event().reason) == expected


def test_a_configured_verifier_judges(post: Post, stream: Stream) -> None:
    """It sees method, URL, headers and the whole body; its finding is the event's."""
    seen: list[SignedRequest] = []

    def verifier(request: SignedRequest) -> Verification:
        seen.append(request)
        return Verification(Verdict.VERIFIED, signature_ok=True, key_id="k1")

    post(options={"verifier": verifier}, path="/hooks/acme?a=b")
    assert (stream.event().verdict, stream.event().key_id) == ("verified", "k1")
    (request,) = seen
    assert (request.method, request.body) == ("POST", BODY)
    assert request.url == "http://test/hooks/acme?a=b"
    assert request.headers["user-agent"] == "Stripe/1.0"
    assert abs(request.now - datetime.now(UTC)) < timedelta(minutes=1)
    post(options={"verifier": {"acme": verifier}, "public_url": "https://api.example.com"})
    stream.events()
    assert seen[-1].url == "https://api.example.com/hooks/acme"
    post(options={"verifier": {"other": verifier}})
    assert (stream.event().reason, len(seen)) == ("sender_unknown", 2)
    post(lambda _: 204 if verdict("unverified") else 500, {"verifier": verifier})
    assert (stream.event().verdict, len(seen)) == ("unverified", 2)  # the handler knows better
    post(options={"verifier": verifier, "max_body": 10_000}, content=b"x" * 10_001)
    assert (stream.event().verdict, len(seen)) == ("unverified", 2)  # too large for us only
    assert stream.event().body_fp == fingerprint(PEPPER, "body", b"x" * 10_001)
    post(options={"verifier": verifier, "max_body": 10})  # also where it is small enough to keep
    assert (stream.event().verdict, len(seen)) == ("unverified", 2)


@pytest.mark.parametrize("size", [0, 1, 8_192, 8_193, 300_000])
def test_bodies_of_any_size_pass_unchanged(post: Post, stream: Stream, size: int) -> None:
    """The application reads what was sent; size and fingerprint are those of the whole body."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    read: list[bytes] = []
    post(lambda data: read.append(data) or 204, content=body)  # type: ignore[func-returns-value]
    assert read == [body]
    event = stream.event()
    assert (event.body_bytes, event.body_fp) == (size, fingerprint(PEPPER, "body", body))


def test_other_paths_are_not_watched(post: Post, stream: Stream) -> None:
    """What is no endpoint leaves no trace; without any, whatever is sent to the application is."""
    assert post(path="/login").status_code == 404
    assert stream.publisher.stats().offered == 0
    post(options={"endpoints": []}, path="/login")
    assert (stream.event().endpoint, stream.event().status) == ("(unmatched)", 404)
    assert stream.event().path_fp == fingerprint(PEPPER, "path", b"/login")
    post(options={"endpoints": []})
    assert stream.event().endpoint in {"/hooks/{sender}", "/hooks/<sender>"}
    assert post(options={"endpoints": []}, method="GET").status_code == 204
    assert stream.publisher.stats().offered == 2


def test_a_subtree_names_what_it_does_not_know(post: Post, stream: Stream) -> None:
    """Below `/hooks/*` the framework names the endpoint, and strays become fingerprints."""
    post(options={"endpoints": ["/hooks/*"]})
    assert stream.event().endpoint in {"/hooks/{sender}", "/hooks/<sender>"}
    post(options={"endpoints": ["/hooks/*"]}, path="/hooks/a/b/etc")
    assert stream.event().endpoint == "(unmatched)"
    assert stream.event().path_fp is not None


def test_unknown_senders_have_one_name(post: Post, stream: Stream) -> None:
    """With known senders given, a name that a stranger invents is `(unknown)`."""
    for path in ("/hooks/acme", "/hooks/evil"):
        post(options={"senders": ["acme"]}, path=path)
    assert [event.sender for event in stream.events()] == ["acme", "(unknown)"]


def test_redirects_are_told_apart(post: Post, stream: Stream) -> None:
    """An endpoint to which browsers are sent back is watched for GET, too, without its query."""
    post(options={"redirects": HOOKS}, method="GET", path="/hooks/acme?code=secret", content=b"")
    event = stream.event()
    assert (event.kind, event.method, event.body_bytes) == ("redirect", "GET", 0)
    assert "secret" not in event.model_dump_json()


def test_verified_calls_are_sampled_and_no_others(post: Post, stream: Stream) -> None:
    """Rejected and unverified calls are all recorded; of the verified ones a share, and it says."""
    few = {"sample_rate": 1e-9}
    for found in ("verified", "rejected", "unverified"):
        post(lambda _, found=found: 204 if verdict(found) else 500, few)  # type: ignore[misc]
    assert [event.verdict for event in stream.events()] == ["rejected", "unverified"]
    assert {event.sample_rate for event in stream.events()} == {1.0}
    for _ in range(60):
        post(lambda _: 204 if verdict("verified") else 500, {"sample_rate": 0.9})
    verified = stream.events()[2:]
    assert len(verified) > 30
    assert {event.sample_rate for event in verified} == {0.9}


def test_addresses_go_through_proxies_and_privacy(post: Post, stream: Stream) -> None:
    """The client behind trusted proxies is recorded, as far as it may be."""
    forwarded = {"headers": {"x-forwarded-for": "6.6.6.6, 203.0.113.9"}, "peer": "10.0.0.1"}
    post(options={"proxies": "1"}, **forwarded)
    assert (stream.event().source_ip, stream.event().source_ip_from) == (
        "203.0.113.9",
        "trusted_proxy",
    )
    post(**forwarded)
    assert (stream.event().source_ip, stream.event().source_ip_from) == ("10.0.0.1", "socket")
    post(options={"privacy": Privacy("truncate")})
    assert stream.event().source_ip == "192.0.2.0"


def test_hostile_text_hides_nothing(post: Post, stream: Stream) -> None:
    """Whatever a caller writes and a handler repeats, the event is valid and there."""
    bad = "evil\x00\x85\ud800" + "x" * 5_000

    def work(body: bytes) -> int:
        said = verdict("nonsense", bad, sender=bad, key_id=bad, event_type=bad, endpoint=bad,
                       kind=bad, signed_at=datetime(2026, 1, 1), attempt=-1,  # noqa: DTZ001
                       delivery_id=bad, ext={bad: bad, "n": float("nan"), "i": 2**80})  # fmt: skip
        return 204 if said else 500

    headers = {"user-agent": b"a\x01b" + b"y" * 5_000, "content-type": b"\t"}
    assert post(work, headers=headers).status_code == 204
    event = stream.event()
    assert event.verdict == "unverified"
    assert (event.user_agent or "").startswith("a b")
    assert event.content_type is None
    assert len(event.sender) == 128
    assert event.ext == {"evil  ?" + "x" * 57: ("evil\x00\x85?" + "x" * 505)}
    assert stream.publisher.stats().dropped == {}


def test_an_application_that_fails_still_fails(stream: Stream, ask_asgi: Post) -> None:
    """Its exception passes unchanged, and the event says 500."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError

    app = AsgiMiddleware(broken, publisher=stream.publisher, endpoints=HOOKS)
    with pytest.raises(KeyError):
        ask_asgi(app)
    assert stream.event().status == 500

    def broken_too(environ: Any, start_response: Any) -> Any:
        raise KeyError

    watched = WsgiMiddleware(broken_too, publisher=stream.publisher, endpoints=HOOKS)
    with pytest.raises(KeyError):
        watched({"REQUEST_METHOD": "POST", "PATH_INFO": "/hooks/a", "wsgi.input": None}, None)
    assert stream.event().status == 500


def test_only_http_is_watched(stream: Stream) -> None:
    """Websockets pass through with their own receive and send."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    watched = AsgiMiddleware(app, publisher=stream.publisher)
    asyncio.run(watched({"type": "websocket"}, 1, 2))  # type: ignore[arg-type]
    assert seen == [({"type": "websocket"}, 1, 2)]
    assert stream.publisher.stats().offered == 0


def test_what_waits_is_sent_before_the_server_ends(stream: Stream) -> None:
    """Uvicorn ends by the signal it got, so the middleware flushes when the application is down."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})
        stream.publisher.offer({})
        await send({"type": "lifespan.shutdown.complete"})

    async def send(message: Any) -> None:
        waiting.append(stream.publisher.stats().waiting)

    waiting: list[int] = []
    watched = AsgiMiddleware(app, publisher=stream.publisher)
    asyncio.run(watched({"type": "lifespan"}, send, send))  # type: ignore[arg-type]
    assert waiting == [0, 0]
    assert stream.publisher.stats().offered == 1


def test_the_end_blocks_no_loop_and_all_of_it_has_one_deadline(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested middlewares whose broker is away take what the end may take together, not each."""
    from ingest import publisher as module
    from ingest.publisher import Publisher

    asked: list[float] = []
    loops: list[bool] = []
    now = 0.0

    def hasten(self: Publisher, timeout: float) -> bool:
        nonlocal now
        asked.append(timeout)
        loops.append(asyncio._get_running_loop() is not None)
        now += min(timeout, 1.5)
        return False

    monkeypatch.setattr(Publisher, "hasten", hasten)
    monkeypatch.setattr(Publisher, "close", hasten)
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    monkeypatch.setattr(module, "_publishers", [stream.publisher])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    async def send(message: Any) -> None: ...

    watched = AsgiMiddleware(app, publisher=stream.publisher)
    twice = AsgiMiddleware(watched, publisher=stream.publisher)  # type: ignore[arg-type]
    asyncio.run(twice({"type": "lifespan"}, send, send))  # type: ignore[arg-type]
    module._close_all()
    assert asked == [2.0, 0.5, 0.0]
    assert loops == [False] * 3
    asyncio.run(watched({"type": "lifespan"}, send, send))  # type: ignore[arg-type]
    assert asked[3:] == [2.0]  # a server that starts again has its own
    monkeypatch.undo()


def test_the_event_does_not_wait_for_background_tasks(stream: Stream) -> None:
    """It is offered when the answer is out, whatever the application does after that."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        assert stream.publisher.stats().offered == 0
        await send({"type": "http.response.body", "body": b""})
        assert stream.publisher.stats().offered == 1

    async def nothing(*_: Any) -> Any: ...

    scope = {"type": "http", "method": "POST", "path": "/hooks/a", "headers": [], "client": None}
    watched = AsgiMiddleware(app, publisher=stream.publisher, endpoints=HOOKS)
    asyncio.run(watched(scope, nothing, nothing))
    assert stream.event().status == 202
    assert stream.event().body_fp is None  # it was never read


def test_a_body_that_is_not_read_has_its_announced_size(post: Post, stream: Stream) -> None:
    """A handler that refuses by the headers alone leaves the body unread: no fingerprint of it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> Any: ...

    headers = [(b"content-length", b"5000")]
    scope = {"type": "http", "method": "POST", "path": "/hooks/a", "headers": headers}
    asyncio.run(
        AsgiMiddleware(app, publisher=stream.publisher, endpoints=HOOKS)(scope, nothing, nothing)
    )
    assert (stream.event().body_bytes, stream.event().body_fp) == (5_000, None)


def test_a_late_start_of_the_response_is_seen(stream: Stream, ask_wsgi: Post) -> None:
    """A generator that answers with its first block is watched to its end, verdict included."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        assert environ["wsgi.input"].read(5) + b"".join(environ["wsgi.input"]) == BODY
        verdict("verified")
        start_response("202 Accepted", [])
        yield b"a"
        yield b"b"

    watched = WsgiMiddleware(app, publisher=stream.publisher, endpoints=HOOKS)
    assert ask_wsgi(watched, content=BODY).text == "ab"
    assert (stream.event().status, stream.event().verdict) == (202, "verified")
    assert stream.event().body_fp == fingerprint(PEPPER, "body", BODY)


def test_a_generator_that_fails_before_it_answers_is_a_500(stream: Stream) -> None:
    """What a server answers to a first block that raises is what the event says."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        raise KeyError
        yield b""

    watched = WsgiMiddleware(app, publisher=stream.publisher, endpoints=HOOKS)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/hooks/a", "wsgi.input": None}
    response: Any = watched(environ, None)
    with pytest.raises(KeyError):
        next(iter(response))
    response.close()
    assert stream.event().status == 500


def test_a_response_is_handed_on_as_it_is(stream: Stream) -> None:
    """A server's own file wrapper is not hidden from the server."""
    response: list[bytes] = [b"file"]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return response

    watched = WsgiMiddleware(app, publisher=stream.publisher, endpoints=HOOKS)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/hooks/a", "wsgi.input": None}
    assert watched(environ, lambda *_: None) is response


@pytest.mark.parametrize("where", ["state", "environ", "thread"])
def test_a_verdict_may_be_left_elsewhere(
    where: str, stream: Stream, ask_asgi: Post, ask_wsgi: Post
) -> None:
    """In the request's state, in the environ, or said in a worker thread."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def receive(request: Request) -> Response:
        request.state.callwatch = "verified"
        return Response()

    def flask_like(environ: Any, start_response: Any) -> list[bytes]:
        environ["callwatch.verdict"] = {"verdict": "verified", "sender": "acme"}
        start_response("200 OK", [])
        return [b""]

    given: dict[str, Any] = {"publisher": stream.publisher, "endpoints": ["/hooks/*", "/threads/*"]}
    if where == "state":
        app = Starlette(routes=[Route("/hooks/{sender}", receive, methods=["POST"])])
        app.add_middleware(AsgiMiddleware, **given)
        ask_asgi(app)
    elif where == "environ":
        ask_wsgi(WsgiMiddleware(flask_like, **given))
    else:
        work = fastapi_app(lambda _: 200 if verdict("verified") else 500)
        ask_asgi(AsgiMiddleware(work, **given), path="/threads/acme")
    event: CallbackEvent = stream.event()
    assert (event.verdict, event.sender, event.status) == ("verified", "acme", 200)


def test_a_verdict_after_the_answer_changes_nothing(stream: Stream) -> None:
    """What a background task says is too late, and it is told so."""
    late: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": []})
        with stream.publisher._lock:  # the event is not made before
            await send({"type": "http.response.body", "body": b""})
            late.append(verdict("rejected", "signature_invalid"))

    async def nothing(*_: Any) -> Any: ...

    scope = {"type": "http", "method": "POST", "path": "/hooks/a", "headers": []}
    asyncio.run(AsgiMiddleware(app, publisher=stream.publisher)(scope, nothing, nothing))
    assert (late, stream.event().verdict) == ([False], "unverified")


def test_a_verdict_without_a_call_is_ignored() -> None:
    """Outside of a watched request nothing happens, and nothing is raised."""
    assert verdict("verified") is False


def test_a_verifier_never_holds_up_the_host(post: Post, stream: Stream) -> None:
    """It judges in a thread of its own, with all that it needs."""
    import threading

    class Slow:
        threads: list[str] = []  # noqa: RUF012 - one test's

        def __call__(self, request: SignedRequest) -> Verification:
            assert request.body == BODY
            self.threads.append(threading.current_thread().name)
            return Verification(Verdict.REJECTED, Reason.SIGNATURE_INVALID, delivery_id="d")

    post(options={"verifier": Slow(), "sample_rate": 1e-9})
    event = stream.event()
    assert (event.verdict, event.reason) == ("rejected", "signature_invalid")
    assert event.delivery_fp == fingerprint(PEPPER, "delivery", b"d")
    assert event.body_fp == fingerprint(PEPPER, "body", BODY)
    assert Slow.threads == ["callwatch-judge"]


def test_answer_and_other_events_wait_for_no_verifier(post: Post, stream: Stream) -> None:
    """While it hangs, the host answers and others' events are sent; its own follow."""
    import threading

    go = threading.Event()

    def hangs(request: SignedRequest) -> Verification:
        assert go.wait(20)
        return Verification(Verdict.VERIFIED)

    options = {"verifier": {"slow": hangs}, "sender": None}
    assert post(options=options, path="/hooks/slow").status_code == 204
    post(options=options, path="/hooks/acme")
    assert stream.publisher._courier.flush(20)
    assert [event.sender for event in stream.memory.events()] == ["acme"]
    assert stream.publisher.stats().judging == 1
    assert stream.publisher.stats().waiting_bytes > len(BODY)
    go.set()
    assert [event.verdict for event in stream.events()] == ["rejected", "verified"]


def test_what_a_verifier_verified_is_sampled(post: Post, stream: Stream) -> None:
    """Of the verified calls a share is recorded, also where the verdict comes later."""
    post(options={"verifier": lambda _: Verification(Verdict.VERIFIED), "sample_rate": 1e-9})
    assert stream.events() == []
    assert stream.publisher.stats().offered == 0


def test_a_verifier_that_fails_leaves_the_verdict_to_the_status(post: Post, stream: Stream) -> None:
    """The event is sent, and how many went without a finding is counted."""

    def fails(request: SignedRequest) -> Verification:
        raise ValueError(request.body)

    post(options={"verifier": fails}, content=b"x" * 20_000)
    event = stream.event()
    assert (event.verdict, event.body_fp) == (
        "unverified",
        fingerprint(PEPPER, "body", b"x" * 20_000),
    )
    assert stream.publisher.stats().unjudged == {"failed": 1}


def test_closing_sends_what_no_verifier_has_judged(post: Post, stream: Stream) -> None:
    """The account is exact, and a verifier that hangs costs no event."""
    import threading

    go = threading.Event()

    def hangs(request: SignedRequest) -> Verification:
        assert go.wait(20)
        return Verification(Verdict.VERIFIED)

    post(options={"verifier": hangs})
    assert stream.publisher.close(1)
    go.set()
    assert [event.verdict for event in stream.memory.events()] == ["unverified"]
    stats = stream.publisher.stats()
    assert (stats.offered, stats.sent, stats.unjudged) == (1, 1, {"late": 1})


def test_a_verifier_learns_whom_to_believe(post: Post, stream: Stream) -> None:
    """The address that it is given is the client's behind trusted proxies, else the peer's."""
    seen: list[str | None] = []

    def verifier(request: SignedRequest) -> Verification:
        seen.append(request.source_ip)
        return Verification(Verdict.VERIFIED)

    forwarded = {"headers": {"x-forwarded-for": "203.0.113.9"}, "peer": "10.0.0.1"}
    post(options={"verifier": verifier, "proxies": "1"}, **forwarded)
    post(options={"verifier": verifier}, **forwarded)
    stream.events()
    assert seen == ["203.0.113.9", "10.0.0.1"]
