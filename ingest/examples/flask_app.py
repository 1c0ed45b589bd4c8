# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A receiver in Flask.

gunicorn 'ingest.examples.flask_app:create_app()'
"""

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..receivers.wsgi import CallwatchMiddleware
from .intake import Intake


def create_app(intake: Intake | None = None) -> Flask:
    """The application; without an intake it is configured by CALLWATCH_* variables."""
    found = intake or Intake()
    app = Flask("callwatch-example")
    app.config["MAX_CONTENT_LENGTH"] = found.settings.max_body
    app.wsgi_app = CallwatchMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, publisher=found.publisher, **found.options()
    )

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/hooks/<sender>")
    def receive(sender: str) -> Response:
        try:
            body = request.get_data(cache=False)
        except RequestEntityTooLarge:
            body = None
        return Response(status=found.receive(sender, dict(request.headers), body))

    return app
