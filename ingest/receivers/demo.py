# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A small receiver to copy from: takes a Standard Webhooks callback, verifies, publishes, answers.

    uvicorn --factory ingest.receivers.demo:create_app

The order matters: the verdict first, then the answer, and the event beside both. Publishing
neither delays nor changes an answer.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI, Request, Response

from ..fingerprint import fingerprint
from ..kafka_transport import KafkaTransport
from ..publisher import Publisher
from ..schema import UNKNOWN_SENDER
from ..signatures.base import Verification
from ..signatures.standard_webhooks import verify
from ..vocabulary import Kind, Reason, SourceIpFrom, Verdict, clean_ip, clean_text
from .settings import Settings, load_settings

ENDPOINT = "/hooks/{sender}"
_STATUS = {Reason.BODY_TOO_LARGE: 413}


def create_app(
    settings: Settings | None = None,
    publisher: Publisher | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """The application; without arguments it is configured by CALLWATCH_* variables."""
    config = settings or load_settings()
    out = publisher or Publisher(
        KafkaTransport(topic=config.topic, **config.kafka.keywords()),
        receiver=config.receiver,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        out.start()  # reports flow from now on, also while nobody calls
        yield
        out.close()

    app = FastAPI(title="callwatch demo receiver", lifespan=lifespan, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post(ENDPOINT)
    async def receive(sender: str, request: Request) -> Response:
        received_at, began = now(), time.perf_counter()
        body, size = await _read(request, config.max_body)
        found = _judge(request, body, sender, config, received_at)
        accepted = found.verdict is Verdict.VERIFIED
        status = 204 if accepted else _STATUS.get(found.reason or Reason.OTHER, 401)
        event = _event(request, config, found, sender) | {
            "received_at": received_at,
            "body_bytes": size,
            "body_fp": fingerprint(config.pepper, "body", body) if body is not None else None,
            "status": status,
            "duration_ms": (time.perf_counter() - began) * 1000,
        }
        out.publish(event)
        return Response(status_code=status)

    return app


async def _read(request: Request, limit: int) -> tuple[bytes | None, int]:
    """The body and its size; None and what was read so far when it is over the limit."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            return None, size
        parts.append(part)
    return b"".join(parts), size


def _judge(
    request: Request, body: bytes | None, sender: str, config: Settings, now: datetime
) -> Verification:
    if body is None:
        return Verification(Verdict.REJECTED, Reason.BODY_TOO_LARGE)
    if sender != config.sender:
        return Verification(Verdict.REJECTED, Reason.SENDER_UNKNOWN)
    return verify(request.headers, body, config.keys, now=now)


def _event(
    request: Request, config: Settings, found: Verification, sender: str
) -> dict[str, object]:
    """What is recorded of a request. Whatever a stranger wrote is cleaned, never trusted."""
    peer = clean_ip(request.client.host) if request.client else None
    named, signature = found.delivery_id, found.signature
    delivery_fp = fingerprint(config.pepper, "delivery", named.encode()) if named else None
    signature_fp = fingerprint(config.pepper, "signature", signature) if signature else None
    return {
        "endpoint": ENDPOINT,
        "kind": Kind.WEBHOOK,
        "sender": sender if sender == config.sender else UNKNOWN_SENDER,
        "provider": "standard-webhooks",
        "verdict": found.verdict,
        "reason": found.reason,
        "signature_ok": found.signature_ok,
        "key_id": found.key_id,
        "signed_at": found.signed_at,
        "delivery_fp": delivery_fp,
        "signature_fp": signature_fp,
        "content_type": clean_text(request.headers.get("content-type"), 256),
        "method": clean_text(request.method, 32),
        "source_ip": peer or "0.0.0.0",  # noqa: S104 - a peer without an address (unix socket)
        "source_ip_from": SourceIpFrom.SOCKET if peer else SourceIpFrom.UNTRUSTED_HEADER,
        "user_agent": clean_text(request.headers.get("user-agent"), 256),
    }
