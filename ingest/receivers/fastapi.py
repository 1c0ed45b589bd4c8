# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A FastAPI dependency that verifies a callback before its handler runs.

    watched = Callback(verifier)

    @app.post("/hooks/{sender}")
    async def receive(found: Annotated[Verification, Depends(watched)]) -> Response: ...

The handler gets a `Verification` and decides; with `enforce` a rejected call is answered before
it, by 401 (413 where the body is too large). What was found is recorded by the middleware, which
knows the answer as well: attach `ingest.receivers.asgi.CallwatchMiddleware`, too.
"""

import logging
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from ..signatures.base import Verification, Verifier
from ..vocabulary import Reason, Verdict
from .asgi import signed_request
from .call import Call
from .verdicts import current, verdict

_log = logging.getLogger("callwatch.receiver")
MAX_BODY: Final = 1_048_576


class Callback:
    """Verifies the request at hand by one verifier, or by the one of the sender in its path.

    A body that cannot be had gives `unverified`: that of a lost client, or of a handler with
    `Form(...)`, which FastAPI reads first, where the middleware did not keep it (8 KiB; up to its
    `max_body` where it has a verifier itself).

    enforce: answer what is rejected; the answer is the same for every reason.
    public_url: scheme and host that senders call, where proxies change them.
    """

    def __init__(
        self,
        verifier: Verifier | Mapping[str, Verifier],
        *,
        enforce: bool = False,
        public_url: str | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self._verifier = verifier
        self._enforce = enforce
        self._public_url = public_url
        self._max_body = max_body

    async def __call__(self, request: Request) -> Verification:
        """What the verifier found; it never raises but for `enforce`."""
        found = await self._judge(request)
        verdict(found, sender=request.path_params.get("sender"))
        if self._enforce and found.verdict is not Verdict.VERIFIED:
            from fastapi import HTTPException

            raise HTTPException(413 if found.reason is Reason.BODY_TOO_LARGE else 401)
        return found

    async def _judge(self, request: Request) -> Verification:
        chosen: Any = self._verifier
        if isinstance(chosen, Mapping):
            chosen = chosen.get(request.path_params.get("sender", ""))
            if chosen is None:
                return Verification(Verdict.REJECTED, Reason.SENDER_UNKNOWN)
        try:
            body = await self._body(request)
            if body is None:
                return Verification(Verdict.REJECTED, Reason.BODY_TOO_LARGE)
            call = current.get()
            peer = request.client.host if request.client else None
            signed = signed_request(
                request.scope,
                public_url=self._public_url,
                body=body,
                now=datetime.now(UTC),
                source_ip=call.address() if isinstance(call, Call) else peer,
            )
            found: Verification
            if getattr(chosen, "may_block", False):  # it fetches certificates
                found = await run_in_threadpool(chosen, signed)
            else:
                found = chosen(signed)
        except (ClientDisconnect, _ReadBefore):
            return Verification(Verdict.UNVERIFIED)
        except Exception as error:  # fail open; `enforce` still answers it
            _log.error("a callback was not verified: %s", type(error).__name__)
            return Verification(Verdict.UNVERIFIED)
        return found

    async def _body(self, request: Request) -> bytes | None:
        if hasattr(request, "_body") or not request._stream_consumed:
            return await read_body(request, self._max_body)
        call = current.get()  # FastAPI has read a form of it: the middleware may have kept it
        body = call.body() if isinstance(call, Call) else None
        if body is None:
            raise _ReadBefore
        return body if len(body) <= self._max_body else None


class _ReadBefore(Exception):  # noqa: N818 - no error, a way out
    """The body was read by somebody else, and nobody kept it."""


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body, read no further than `limit` bytes; None when it is larger.

    Handlers get all of it again by `await request.body()`.
    """
    if hasattr(request, "_body"):
        body = await request.body()
        return body if len(body) <= limit else None
    parts: list[bytes] = []
    size = 0
    try:
        async with aclosing(request.stream()) as stream:
            async for part in stream:
                size += len(part)
                parts.append(part)
                if size > limit:
                    _put_back(request, b"".join(parts))
                    return None
    except ClientDisconnect:
        _put_back(request, b"".join(parts))
        raise
    body = b"".join(parts)
    request._body = body  # Starlette keeps it there itself
    return body


def _put_back(request: Request, data: bytes) -> None:
    """Let the request begin with what was read of it."""
    receive, more = request._receive, not request._stream_consumed
    waiting = [data]

    async def receive_again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": more}
        return await receive()

    request._receive = receive_again
    request._stream_consumed = False
