# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Watch a Django project by one entry, first in the list; sync and async alike.

    MIDDLEWARE = ["ingest.receivers.django.CallwatchMiddleware", ...]
    CALLWATCH = {"endpoints": ["/hooks/{sender}"]}     # or CALLWATCH_* in the environment

A view may leave its verdict in `request.callwatch`, or call `ingest.receivers.verdict`.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from ..signatures.base import SignedRequest
from .call import Call, announced
from .settings import SettingsError
from .tee import Tee
from .verdicts import current
from .watch import Watch, make_watch

ATTRIBUTE: Final = "callwatch"
_OWN: Final = ("publisher", "before_emit")

Handler = Callable[[Any], Any]


class CallwatchMiddleware:
    """Watches the callbacks that a Django project receives.

    The setting CALLWATCH holds `publisher`, `before_emit` and the options of
    `ingest.receivers.options.Given`; CALLWATCH_* variables hold what it leaves out.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        from django.conf import settings

        given = getattr(settings, "CALLWATCH", None) or {}
        if not isinstance(given, dict):
            msg = "CALLWATCH: allowed is a dict of options"
            raise SettingsError(msg)
        options = {name: value for name, value in given.items() if name not in _OWN}
        self.get_response = get_response
        self.watch = make_watch(given.get("publisher"), given.get("before_emit"), options)
        self._async = _is_awaited(get_response)
        if self._async:
            _mark_awaited(self)

    def __call__(self, request: Any) -> Any:
        """Pass a request on, watched where it is a callback."""
        if self._async:
            return self._awaited(request)
        call = self._begin(request)
        if call is None:
            return self.get_response(request)
        before = current.set(call)
        response = None
        try:
            response = self.get_response(request)
            return response
        finally:
            current.reset(before)
            self._end(call, request, response)

    async def _awaited(self, request: Any) -> Any:
        get_response = cast("Callable[[Any], Awaitable[Any]]", self.get_response)
        call = self._begin(request)
        if call is None:
            return await get_response(request)
        before = current.set(call)
        response = None
        try:
            response = await get_response(request)
            return response
        finally:
            current.reset(before)
            self._end(call, request, response)

    def _begin(self, request: Any) -> Call | None:
        watch = self.watch
        if watch is None:
            return None
        try:
            meta, headers = request.META, request.headers
            found = [(name, headers[name]) for name in watch.wanted if name in headers]
            call = watch.begin(request.method, request.path, meta.get("REMOTE_ADDR"), found)
            if call is not None:
                length = announced(headers.get("content-length"))
                request._stream = Tee(request._stream, call, watch, length)
            return call
        except Exception as error:  # fail open
            watch.fault(error)
            return None

    def _end(self, call: Call, request: Any, response: Any) -> None:
        watch = self.watch
        assert watch is not None
        call.done = True
        try:
            call.status = response.status_code if response is not None else 500
            match = getattr(request, "resolver_match", None)
            if match is not None:
                if call.template is None:
                    call.template = f"/{match.route}"
                if call.params is None:
                    call.params = {name: str(value) for name, value in match.kwargs.items()}
            make = None
            if watch.options.verifier is not None:
                make = lambda: _signed_request(watch, call, request)  # noqa: E731 - made when needed
            watch.end(call, getattr(request, ATTRIBUTE, None), make)
        except Exception as error:  # fail open
            watch.fault(error)


def _is_awaited(handler: Handler) -> bool:
    from asgiref.sync import iscoroutinefunction

    return bool(iscoroutinefunction(handler))


def _mark_awaited(middleware: Any) -> None:
    """Django asks this of a middleware that it shall await."""
    from asgiref.sync import markcoroutinefunction

    markcoroutinefunction(middleware)


def _signed_request(watch: Watch, call: Call, request: Any) -> SignedRequest:
    public = watch.options.public_url
    host = request.META.get("HTTP_HOST", "")
    base = public.rstrip("/") if public else f"{request.scheme}://{host}"
    return SignedRequest(
        method=call.method,
        url=base + request.get_full_path(),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=call.body() or b"",
        now=datetime.fromtimestamp(call.at_ns / 1e9, UTC),
        source_ip=call.address(),
    )
