# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A receiver in FastAPI.

uvicorn --factory ingest.examples.fastapi_app:create_app
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from ..receivers.asgi import CallwatchMiddleware
from ..receivers.fastapi import read_body
from .intake import ENDPOINT, Intake


def create_app(intake: Intake | None = None) -> FastAPI:
    """The application; without an intake it is configured by CALLWATCH_* variables."""
    found = intake or Intake()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        found.publisher.start()  # reports flow from now on, also while nobody calls
        yield
        found.publisher.close()

    app = FastAPI(title="callwatch example", lifespan=lifespan, openapi_url=None)
    app.add_middleware(CallwatchMiddleware, publisher=found.publisher, **found.options())

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post(ENDPOINT)
    async def receive(sender: str, request: Request) -> Response:
        body = await read_body(request, found.settings.max_body)
        return Response(status_code=found.receive(sender, request.headers, body))

    return app
