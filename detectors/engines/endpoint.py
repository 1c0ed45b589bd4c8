"""A worker's HTTP port: `/metrics` for Prometheus, `/healthz` and `/readyz` for probes.

It answers from the process's start on, while detectors are compiled too. Whoever can reach it may
open connections: so few are served at a time, none for long, and nothing is read of a request but
its first lines.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import TCPServer
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import click
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from detectors.engines.errors import EngineError
from detectors.engines.metrics import WorkerMetrics
from detectors.engines.seen import STARTING, Seen
from ingest.errors import shown

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_REQUESTS: Final = 32
"""Served at a time; more are closed."""
REQUEST_SECONDS: Final = 5.0
"""For a request as a whole: however slowly a client sends, or takes the answer."""
LOCAL: Final = "127.0.0.1"
_WHERE: Final = re.compile(
    r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)?:)?(?P<port>\d{1,5})", re.ASCII
)
TEXT: Final = "text/plain; charset=utf-8"


class Endpoint:
    """Listens from its making on; `seen` is asked in a thread, and raises where nobody answers."""

    def __init__(self, host: str, port: int) -> None:
        self._seen: Callable[[], Seen] | None = None
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _server(family, address[:2])
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            msg = f"--metrics {host}:{port}: cannot listen there: {why}"
            raise EngineError(msg) from None
        self._server.set_app(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="callwatch-metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def tell(self, seen: Callable[[], Seen]) -> None:
        """From now on answer with this."""
        self._seen = seen

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join(2.0)
        self._server.server_close()

    def _answer(self, environ: "WSGIEnvironment", respond: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in {"/metrics", "/healthz", "/readyz"}:
            return _plain(respond, "404 Not Found", "there are /metrics, /healthz and /readyz")
        if environ.get("REQUEST_METHOD") not in {"GET", "HEAD"}:
            return _plain(respond, "405 Method Not Allowed", "allowed is GET")
        try:
            seen = STARTING if self._seen is None else self._seen()
        except Exception:  # a timeout, or the loop has ended
            return _plain(respond, _UNAVAILABLE, "the worker does not answer")
        if path == "/healthz":
            return _plain(respond, "200 OK", "ok")
        if path == "/readyz":
            return _plain(respond, "200 OK" if seen.ready else _UNAVAILABLE, _readiness(seen))
        registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        registry.register(WorkerMetrics(seen))
        found: Iterable[bytes] = make_wsgi_app(registry)(environ, respond)
        return found


class Address(click.ParamType):
    """`HOST:PORT`, `[IPv6]:PORT`, or `PORT` on this machine alone; for a command's option."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The host and the port."""
        found = _WHERE.fullmatch(str(value))
        port = int(found["port"]) if found is not None else 0
        if found is None or not 1 <= port <= 65535:
            text = f"allowed is HOST:PORT, or PORT from 1 to 65535; given {shown(value)}"
            self.fail(text, param, ctx)
        return (found["host"] or LOCAL).strip("[]"), port


_UNAVAILABLE: Final = "503 Service Unavailable"


def _readiness(seen: Seen) -> str:
    if seen.ready:
        return "ready"
    if seen is STARTING:
        return "starting"
    waiting = [str(each.where) for each in seen.standings if not each.restored]
    return f"restoring {', '.join(waiting)}" if waiting else "no share of the partitions yet"


def _plain(respond: "StartResponse", status: str, text: str) -> list[bytes]:
    respond(status, [("Content-Type", TEXT)])
    return [f"{text}\n".encode()]


class _Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


class _Bounded(ThreadingWSGIServer):
    """A thread for each request, but not for any number of them."""

    request_queue_size = MOST_REQUESTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        self._until: dict[socket.socket, float] = {}
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Bind, and look no name up: that may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = (str(self.server_address[0]), self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve it, unless too many are."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._until[request] = monotonic() + REQUEST_SECONDS
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._served(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._served(request)

    def service_actions(self) -> None:
        """Cut those off whose time is over: called twice a second."""
        now = monotonic()
        for request, until in list(self._until.items()):
            if now >= until:
                with suppress(OSError):  # it has just been closed
                    request.shutdown(socket.SHUT_RDWR)

    def _served(self, request: Any) -> None:
        self._until.pop(request, None)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


def _server(family: int, address: Any) -> WSGIServer:
    made = type("Server", (_Bounded,), {"address_family": family})
    server: WSGIServer = made(address, _Quiet)
    return server
