"""Receivers: from a request and a verdict to an event, attached in one line.

    from ingest.receivers.asgi import CallwatchMiddleware     # Starlette, FastAPI, any ASGI
    from ingest.receivers.wsgi import CallwatchMiddleware     # Flask, any WSGI
    MIDDLEWARE = ["ingest.receivers.django.CallwatchMiddleware", ...]

docs/receivers.md explains all of it. Importing this imports no web framework and no Kafka.
"""

from .address import Privacy, Proxies
from .options import Given, Options, load_options
from .plain import describe, record
from .settings import SettingsError
from .verdicts import verdict
from .watch import default_publisher

__all__ = [
    "Given",
    "Options",
    "Privacy",
    "Proxies",
    "SettingsError",
    "default_publisher",
    "describe",
    "load_options",
    "record",
    "verdict",
]
