# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Watch an ASGI application (Starlette, FastAPI, Django, any other) in one line.

    app = CallwatchMiddleware(app)          # or app.add_middleware(CallwatchMiddleware)

Pure ASGI: it changes no message, reads no body that the application does not read, and answers
nothing. The body is counted and hashed as it passes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Unpack
from urllib.parse import quote

from ..publisher import Hook, Publisher, server_ends, server_starts
from ..signatures.base import ClientCertificate, SignedRequest
from .call import Call
from .options import Given
from .verdicts import current
from .watch import Watch, make_watch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODIES: Final = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend")
_TRAILERS: Final = ("http.response.trailers",)
STATE: Final = "callwatch"
"""A handler may leave its verdict in `request.state.callwatch`."""


class CallwatchMiddleware:
    """Watches the callbacks that an ASGI application receives.

    publisher: by default one made of `CALLWATCH_*`, shared by all middlewares of the process.
    before_emit: sees every event and returns it, another one, or None to keep it off the stream.
    given: the settings of `ingest.receivers.options.Given`, over those of the environment.
    """

    def __init__(
        self,
        app: Application,
        *,
        publisher: Publisher | None = None,
        before_emit: Hook | None = None,
        **given: Unpack[Given],
    ) -> None:
        self.app = app
        self.watch = make_watch(publisher, before_emit, given)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, watched where it is a callback."""
        watch = self.watch
        if watch is not None and scope["type"] == "lifespan":
            server_starts()
            watch.publisher.start()  # reports flow from now on, also while nobody calls
            await self.app(scope, receive, _flushing(watch, send))
            return
        if watch is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = None
        try:
            wanted = watch.wanted_bytes
            peer = scope.get("client")
            call = watch.begin(
                scope["method"],
                scope["path"],
                peer[0] if peer else None,
                [header for header in scope["headers"] if header[0] in wanted],
            )
        except Exception as error:  # fail open
            watch.fault(error)
        if call is None:
            await self.app(scope, receive, send)
            return

        call.root = scope.get("root_path") or ""
        receive, send = _watched(watch, call, scope, receive, send)
        before = current.set(call)
        try:
            await self.app(scope, receive, send)
        except Exception:
            call.status = call.status or 500  # what the server will answer
            raise
        finally:
            try:
                current.reset(before)
                if not call.done:
                    _end(watch, call, scope)
            except Exception as error:  # fail open
                watch.fault(error)


def _watched(
    watch: Watch, call: Call, scope: Scope, receive: Receive, send: Send
) -> tuple[Receive, Send]:
    """The application's receive and send, which tell the call what passes."""
    last: tuple[str, ...] = _BODIES  # hints and pushes come before the start, and end nothing

    async def receive_watched() -> Message:
        message = await receive()
        try:
            if not call.done and message["type"] == "http.request":
                if chunk := message.get("body"):
                    call.add(chunk)
                if not message.get("more_body"):
                    call.whole = True
        except Exception as error:  # fail open
            watch.fault(error)
            call.done = True
        return message

    async def send_watched(message: Message) -> None:
        nonlocal last
        await send(message)
        try:
            if message["type"] == "http.response.start":
                call.status = message["status"]
                if message.get("trailers"):
                    last = _TRAILERS
            elif (
                message["type"] in last
                and not (message.get("more_body") or message.get("more_trailers"))
                and not call.done
            ):
                _end(watch, call, scope)  # now, not after background tasks
        except Exception as error:  # fail open
            watch.fault(error)

    return receive_watched, send_watched


def _flushing(watch: Watch, send: Send) -> Send:
    """Send what waits before the server ends: uvicorn ends by its signal, without exit handlers."""

    async def send_flushed(message: Message) -> None:
        if message["type"] == "lifespan.shutdown.complete":
            try:
                await _off_the_loop(watch.publisher)
            except Exception as error:  # fail open
                watch.fault(error)
        await send(message)

    return send_flushed


async def _off_the_loop(publisher: Publisher) -> None:
    """Other tasks of the host end meanwhile; without asyncio's loop (trio) they have to wait."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        server_ends(publisher)
        return
    await loop.run_in_executor(None, server_ends, publisher)


def _end(watch: Watch, call: Call, scope: Scope) -> None:
    call.done = True  # first: whatever happens now, it happens once
    if call.template is None and (route := scope.get("route")) is not None:
        call.template = _mounted(call, scope, route)
    if call.params is None:
        call.params = scope.get("path_params")
    state = scope.get("state")
    left = state.get(STATE) if isinstance(state, Mapping) else None
    request = None
    if watch.options.verifier is not None:
        request = lambda: _signed_request(watch, call, scope)  # noqa: E731 - made where it is needed
    watch.end(call, left, request)


def _mounted(call: Call, scope: Scope, route: Any) -> str | None:
    """The template of a route, under that of the application's mount where it is known."""
    inner: str | None = getattr(route, "path_format", None) or getattr(route, "path", None)
    root = scope.get("root_path") or ""
    mount = root.removeprefix(call.root)
    if not inner or not mount or not call.path.startswith(f"{root}/"):
        return inner
    segments = mount.split("/")
    for name, value in (scope.get("path_params") or {}).items():
        if f"{{{name}}}" not in inner:  # of the mount: what stands there may be an id
            if str(value) not in segments:
                return inner
            segments[segments.index(str(value))] = f"{{{name}}}"
    return "/".join(segments) + inner


def _signed_request(watch: Watch, call: Call, scope: Scope) -> SignedRequest:
    return signed_request(
        scope,
        public_url=watch.options.public_url,
        body=call.body() or b"",
        now=datetime.fromtimestamp(call.at_ns / 1e9, UTC),
        source_ip=call.address(),
    )


def signed_request(
    scope: Scope, *, public_url: str | None, body: bytes, now: datetime, source_ip: str | None
) -> SignedRequest:
    """The request of a scope as its sender signed it."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        key = name.decode("latin-1").lower()
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return SignedRequest(
        method=scope["method"],
        url=_url(public_url, scope, headers.get("host", "")),
        headers=headers,
        body=body,
        now=now,
        source_ip=source_ip,
        certificate=_certificate(scope),
    )


def _certificate(scope: Scope) -> ClientCertificate | None:
    if "tls" not in (scope.get("extensions") or ()):
        return None
    from ..signatures.client_cert import from_asgi

    return from_asgi(scope)


def _url(public: str | None, scope: Scope, host: str) -> str:
    """The URL as the sender called it, query included."""
    base = public.rstrip("/") if public else f"{scope.get('scheme', 'http')}://{host}"
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(scope["path"])
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{base}{path}?{query}" if query else f"{base}{path}"
