"""The example receivers as real servers run them, with a view into each process.

`/stats` gives the account, threads, file descriptors and memory of the process that answers; at
its end each process leaves its account in `$CALLWATCH_TEST_STATS/PID.json`.
"""

import atexit
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import psutil


def _leave_account() -> None:
    account = json.dumps(_account())
    Path(os.environ["CALLWATCH_TEST_STATS"], f"{os.getpid()}.json").write_text(account)


if "CALLWATCH_TEST_STATS" in os.environ:
    atexit.register(_leave_account)  # first of all, so that it runs last: publishers are closed

from ingest.examples import django_app, fastapi_app, flask_app  # noqa: E402
from ingest.examples.intake import Intake  # noqa: E402
from ingest.receivers import default_publisher  # noqa: E402


@cache
def _intake() -> Intake:
    return Intake(publisher=default_publisher())


def _account() -> dict[str, Any]:
    process = psutil.Process()
    return {
        **asdict(_intake().publisher.stats()),
        "pid": os.getpid(),
        "threads": threading.active_count(),
        "files": process.num_fds(),
        "memory": process.memory_info().rss,
    }


def asgi() -> Any:
    """FastAPI."""
    app = fastapi_app.create_app(_intake())

    async def seen(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/stats":
            await app(scope, receive, send)
            if scope["type"] == "lifespan":  # uvicorn ends by the signal, without exit handlers
                _leave_account()
            return
        body = json.dumps(_account()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return seen


def flask() -> Any:
    """Flask."""
    return _wsgi(flask_app.create_app(_intake()))


def django() -> Any:
    """Django."""
    return _wsgi(django_app.create_app(_intake()))


def _wsgi(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def seen(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/stats":
            return app(environ, start_response)
        start_response("200 OK", [])
        return [json.dumps(_account()).encode()]

    return seen
