# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Watch a WSGI application (Flask, Django, any other) in one line.

    app.wsgi_app = CallwatchMiddleware(app.wsgi_app)     # Flask; any other: app = ...(app)

The body is counted and hashed as the application reads it. An application that answers before it
is asked for its first block, as Flask and Django do, gets its own response back, unwrapped.
"""

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Unpack
from urllib.parse import quote

from ..publisher import Hook, Publisher
from ..signatures.base import SignedRequest
from .call import Call, announced
from .options import Given
from .tee import Tee
from .verdicts import current
from .watch import Watch, make_watch

Environ = MutableMapping[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Any, Any], Iterable[bytes]]

VERDICT: Final = "callwatch.verdict"
"""A handler may leave its verdict in the environ under this key."""


class CallwatchMiddleware:
    """Watches the callbacks that a WSGI application receives; parameters as for ASGI."""

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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on, watched where it is a callback."""
        watch = self.watch
        if watch is None:
            return self.app(environ, start_response)
        call = None
        try:
            call = watch.begin(
                environ["REQUEST_METHOD"],
                _text(environ.get("SCRIPT_NAME", "")) + _text(environ.get("PATH_INFO", "")),
                environ.get("REMOTE_ADDR"),
                _headers(environ, watch),
            )
            if call is not None:
                environ["wsgi.input"] = Tee(
                    environ["wsgi.input"], call, watch, announced(environ.get("CONTENT_LENGTH"))
                )
        except Exception as error:  # fail open
            watch.fault(error)
            call = None
        if call is None:
            return self.app(environ, start_response)
        return self._watched(watch, call, environ, start_response)

    def _watched(
        self, watch: Watch, call: Call, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        def start_watched(status: str, *rest: Any, **more: Any) -> Any:
            written = start_response(status, *rest, **more)
            try:
                call.status = _status(status)
                if call.template is None:  # Flask forgets its request before it returns
                    call.template = _flask_template(environ)
            except Exception as error:  # fail open
                watch.fault(error)
            return written

        before = current.set(call)
        try:
            result = self.app(environ, start_watched)
        except BaseException as error:
            if isinstance(error, Exception):
                call.status = call.status or 500  # what the server will answer
            _end(watch, call, environ)
            raise
        finally:
            current.reset(before)
        if call.status is not None:
            _end(watch, call, environ)
            return result
        return _Response(result, watch, call, environ)


class _Response:
    """The response of an application that starts it with its first block: ends the call then."""

    def __init__(self, result: Iterable[bytes], watch: Watch, call: Call, environ: Environ) -> None:
        self._result = result
        self._blocks = iter(result)
        self._ended = (watch, call, environ)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        before = current.set(self._ended[1])
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except Exception:
            self._ended[1].status = self._ended[1].status or 500  # what the server will answer
            raise
        finally:
            current.reset(before)

    def close(self) -> None:
        """Close the application's response, and end the call."""
        try:
            if hasattr(self._result, "close"):
                self._result.close()
        finally:
            _end(*self._ended)


def _end(watch: Watch, call: Call, environ: Environ) -> None:
    if call.done:
        return
    call.done = True  # first: whatever happens now, it happens once
    try:
        request = None
        if watch.options.verifier is not None:
            request = lambda: _signed_request(watch, call, environ)  # noqa: E731 - made when needed
        watch.end(call, environ.get(VERDICT), request)
    except Exception as error:  # fail open
        watch.fault(error)


def _flask_template(environ: Environ) -> str | None:
    """The rule that Flask matched: Werkzeug leaves its request in the environ."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    return getattr(rule, "rule", None)


def _headers(environ: Environ, watch: Watch) -> list[tuple[str, str]]:
    found = []
    for name in watch.wanted:
        key = name.replace("-", "_").upper()
        if not key.startswith("CONTENT_"):
            key = f"HTTP_{key}"
        if value := environ.get(key):
            found.append((name, value))
    return found


def _status(line: str) -> int | None:
    return int(line[:3]) if line[:3].isascii() and line[:3].isdigit() else None


def _text(native: str) -> str:
    """A path as text: WSGI has its bytes as latin-1."""
    return (
        native
        if native.isascii()
        else native.encode("latin-1", "replace").decode("utf-8", "replace")
    )


def _signed_request(watch: Watch, call: Call, environ: Environ) -> SignedRequest:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if value := environ.get(name):
            headers[name.replace("_", "-").lower()] = value
    return SignedRequest(
        method=call.method,
        url=_url(watch.options.public_url, environ),
        headers=headers,
        body=call.body() or b"",
        now=datetime.fromtimestamp(call.at_ns / 1e9, UTC),
        source_ip=call.address(),
    )


def _url(public: str | None, environ: Environ) -> str:
    """The URL as the sender called it, query included; the raw path where the server tells it."""
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    base = public.rstrip("/") if public else f"{environ['wsgi.url_scheme']}://{host}"
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if raw.startswith("/"):
        return f"{base}{raw}"
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = quote(path.encode("latin-1", "replace"))
    query = environ.get("QUERY_STRING", "")
    return f"{base}{path}?{query}" if query else f"{base}{path}"
