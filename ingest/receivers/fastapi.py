# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A FastAPI dependency that verifies a callback before its handler runs.

    watched = Callback(verifier)

    @app.post("/hooks/{sender}")
    async def receive(found: Annotated[Verification, Depends(watched)]) -> Response: ...

The handler gets a `Verification` and decides; with `enforce` a rejected call is answered before
it, by 401 (413 where the body is too large). What was found is recorded by the middleware, which
knows the answer as well: attach `ingest.receivers.asgi.CallwatchMiddleware`, too.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ..signatures.base import SignedRequest, Verification, Verifier
from ..vocabulary import Reason, Verdict
from .verdicts import verdict

MAX_BODY: Final = 1_048_576


class Callback:
    """Verifies the request at hand by one verifier, or by the one of the sender in its path.

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
        body = await read_body(request, self._max_body)
        if body is None:
            return Verification(Verdict.REJECTED, Reason.BODY_TOO_LARGE)
        url = str(request.url)
        if self._public_url is not None:
            _, slash, rest = url.partition("://")[2].partition("/")
            url = self._public_url.rstrip("/") + slash + rest
        signed = SignedRequest(
            method=request.method,
            url=url,
            headers=request.headers,
            body=body,
            now=datetime.now(UTC),
            source_ip=request.client.host if request.client else None,
        )
        found: Verification
        if getattr(chosen, "may_block", False):  # it fetches certificates
            found = await run_in_threadpool(chosen, signed)
        else:
            found = chosen(signed)
        return found


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body, read no further than `limit` bytes; None when it is larger.

    Handlers get it again by `await request.body()`.
    """
    if hasattr(request, "_body"):
        body = await request.body()
        return body if len(body) <= limit else None
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    body = b"".join(parts)
    request._body = body  # Starlette keeps it there itself
    return body
