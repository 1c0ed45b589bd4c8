"""Applications of every kind that do the same: read the body, do what a test says, answer."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from flask import Flask
from flask import Response as FlaskResponse
from flask import request as flask_request

Work = Callable[[bytes], int]
"""What a handler does with a body; gives the status of its answer."""


def accept(body: bytes) -> int:
    """204, whatever it is."""
    return 204


def fastapi_app(work: Work) -> FastAPI:
    """An ASGI application."""
    app = FastAPI()

    @app.api_route("/hooks/{sender}", methods=["GET", "POST"])
    async def receive(sender: str, request: Request) -> Response:
        return Response(status_code=work(await request.body()))

    @app.post("/threads/{sender}")
    def threaded(sender: str) -> Response:
        return Response(status_code=work(b""))

    return app


def flask_app(work: Work) -> Flask:
    """A WSGI application."""
    app = Flask("test")

    @app.route("/hooks/<sender>", methods=["GET", "POST"])
    def receive(sender: str) -> FlaskResponse:
        return FlaskResponse(status=work(flask_request.get_data()))

    return app


def django_urls(work: Work) -> str:
    """A module of URLs that does the same in Django; its name."""
    from types import ModuleType

    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def receive(request: HttpRequest, sender: str) -> HttpResponse:
        return HttpResponse(status=work(request.body))

    async def awaited(request: HttpRequest, sender: str) -> HttpResponse:
        await asyncio.sleep(0)
        return HttpResponse(status=work(request.body))

    def left(request: HttpRequest, sender: str) -> HttpResponse:
        request.callwatch = "verified"  # type: ignore[attr-defined]
        return HttpResponse(status=work(request.read(3) + request.read()))

    module = ModuleType("callwatch_test_urls")
    urls: Any = module
    urls.urlpatterns = [
        path("hooks/<str:sender>", receive),
        path("awaited/<str:sender>", awaited),
        path("left/<str:sender>", left),
    ]
    sys.modules[module.__name__] = module
    return module.__name__
