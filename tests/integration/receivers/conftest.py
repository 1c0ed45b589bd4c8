"""Real servers beside the test, and senders that sign what they post."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook

from tests.kafka.java import free_ports

ROOT = Path(__file__).parents[3]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"type":"invoice.paid","canary":"c4n4ry"}'
PATIENCE = 30.0  # seconds; nothing waits for it unless something is broken
APP = "tests.integration.receivers.served"
COMMANDS = {
    "uvicorn": ["uvicorn", "--factory", f"{APP}:asgi", "--port", "{port}", "--log-level", "error"],
    "gunicorn": ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", f"{APP}:flask()"],
    "gunicorn --preload": ["gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:{port}",
                           f"{APP}:flask()"],
    "gunicorn, Django": ["gunicorn", "--preload", "-w", "2", "-b", "127.0.0.1:{port}",
                         f"{APP}:django()"],
}  # fmt: skip


class Server:
    """A server process, its workers, and what they say of themselves."""

    def __init__(self, name: str, kafka: str, folder: Path, environ: dict[str, str]) -> None:
        (self.port,) = free_ports(1)
        self.accounts = folder / "accounts"
        self.accounts.mkdir()
        self.log = folder / "server.log"
        self.workers = 1 if name == "uvicorn" else 2
        command = [part.format(port=self.port) for part in COMMANDS[name]]
        given = {name: value for name, value in os.environ.items() if "CALLWATCH" not in name}
        given |= {
            "CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": kafka,
            "CALLWATCH_SECRET": f"k1:{SECRET}",
            "CALLWATCH_PEPPER": "00" * 16,
            "CALLWATCH_SENDER": "acme",
            "CALLWATCH_RECEIVER": "shop/1@a",
            "CALLWATCH_TEST_STATS": str(self.accounts),
            **environ,
        }
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, cwd=ROOT, env=given,
            )  # fmt: skip

    def __enter__(self) -> Self:
        self.until("it answers", self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def until(self, what: str, reached: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """What `reached` gave when it was true; fails after the deadline."""
        deadline = monotonic() + seconds
        while not (found := reached()):
            text = f"not within {seconds:g} s: {what} ({found!r})\n{self.log.read_text()[-3000:]}"
            assert monotonic() < deadline, text
            assert self._process.poll() is None, text
            sleep(0.02)
        return found

    def stats(self) -> list[dict[str, Any]]:
        """The account of every worker, by process."""
        found: dict[int, dict[str, Any]] = {}

        def asked() -> bool:
            account = json.loads(self._get("/stats"))
            found[account["pid"]] = account
            return len(found) == self.workers

        self.until("every worker has answered", asked)
        return [found[pid] for pid in sorted(found)]

    def post(self, count: int, signed: bool = True, size: int = 0) -> Counter[int]:
        """How many of `count` calls, sent by four clients at once, had which status."""

        def send(number: int) -> list[int]:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            body = BODY + " " * size
            statuses = []
            for _ in range(number):
                now, unique = datetime.now(UTC), f"msg_{uuid4()}"
                signature = Webhook(SECRET).sign(unique, now, body if signed else body + "x")
                headers = {
                    "webhook-id": unique,
                    "webhook-timestamp": str(int(now.timestamp())),
                    "webhook-signature": signature,
                    "cookie": "c4n4ry",
                }
                connection.request("POST", "/hooks/acme?token=c4n4ry", body, headers)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            connection.close()
            return statuses

        with ThreadPoolExecutor(4) as pool:
            return Counter(status for part in pool.map(send, [count // 4] * 4) for status in part)

    def stop(self) -> list[dict[str, Any]]:
        """End it in order; the last accounts of its workers. Nothing may have gone wrong inside."""
        pids = {account["pid"] for account in self.stats()}
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)
        text = self.log.read_text()
        assert "Traceback" not in text, text
        assert "c4n4ry" not in text
        return [json.loads((self.accounts / f"{pid}.json").read_text()) for pid in sorted(pids)]

    def _answers(self) -> bool:
        try:
            return bool(self._get("/healthz"))
        except OSError:
            return False

    def _get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address where connections are taken and nothing is ever answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)  # the kernel takes them; nobody reads
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"
