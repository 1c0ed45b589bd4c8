"""The example receivers: what they answer, and what they publish. Real servers run all three."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from ingest.examples import fastapi_app, flask_app
from ingest.examples.intake import Intake
from ingest.examples.settings import Settings, load_settings
from ingest.fingerprint import fingerprint
from ingest.publisher import Publisher
from ingest.receivers.settings import SettingsError
from ingest.schema import CallbackEvent
from ingest.transports import MemoryTransport
from tests.unit.receivers.conftest import Stream

NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PEPPER = bytes(range(32))
BODY = b'{"type":"invoice.paid"}'
ENV = {
    "CALLWATCH_SECRET": f"k1:{SECRET}",
    "CALLWATCH_PEPPER": PEPPER.hex(),
    "CALLWATCH_SENDER": "acme",
    "CALLWATCH_MAX_BODY": "1000",
}

Post = Callable[..., tuple[int, CallbackEvent]]


def _signed(at: datetime = NOW, body: bytes = BODY) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_1", at, body.decode()),
    }


@pytest.fixture(params=["fastapi", "flask"])
def post(
    request: pytest.FixtureRequest,
    stream: Stream,
    ask_asgi: Callable[..., httpx.Response],
    ask_wsgi: Callable[..., httpx.Response],
) -> Post:
    """Posts a callback to a receiver and gives the answer's status and the event."""
    waiting: list[tuple[str, bytes]] = []

    def enqueue(sender: str, body: bytes) -> bool:
        waiting.append((sender, body))
        return len(waiting) < 3

    intake = Intake(load_settings(ENV), stream.publisher, enqueue, now=lambda: NOW)

    def send(
        path: str, headers: dict[str, Any], body: bytes = BODY, peer: str = "192.0.2.7"
    ) -> tuple[int, CallbackEvent]:
        given: Any = {"headers": headers, "content": body, "peer": peer}
        if request.param == "fastapi":
            found = ask_asgi(fastapi_app.create_app(intake), path, **given)
        else:
            found = ask_wsgi(flask_app.create_app(intake), path, **given)
        return found.status_code, stream.event()

    return send


def test_a_signed_callback_is_accepted_and_published(post: Post) -> None:
    """204, and an event with everything that a detector needs but nothing of the body."""
    status, event = post("/hooks/acme", _signed() | {"content-type": "application/json"})
    assert status == 204
    signature = Webhook(SECRET).sign("msg_1", NOW, BODY.decode()).removeprefix("v1,")
    import base64

    wanted = {
        "receiver": "demo-receiver/0@local",
        "endpoint": "/hooks/{sender}",
        "kind": "webhook",
        "sender": "acme",
        "provider": "standard-webhooks",
        "verdict": "verified",
        "reason": None,
        "signature_ok": True,
        "key_id": "k1",
        "signed_at": NOW,
        "delivery_fp": fingerprint(PEPPER, "delivery", b"msg_1"),
        "signature_fp": fingerprint(PEPPER, "signature", base64.b64decode(signature)),
        "body_fp": fingerprint(PEPPER, "body", BODY),
        "body_bytes": len(BODY),
        "content_type": "application/json",
        "method": "POST",
        "status": 204,
        "source_ip": "192.0.2.7",
        "source_ip_from": "socket",
    }
    assert {name: getattr(event, name) for name in wanted} == wanted
    assert event.duration_ms is not None
    assert "invoice" not in event.model_dump_json()


@pytest.mark.parametrize(
    ("path", "headers", "status", "sender", "reason", "signature_ok"),
    [
        ("/hooks/acme", {}, 401, "acme", "signature_missing", None),
        ("/hooks/acme", _signed(body=b"{}"), 401, "acme", "signature_invalid", False),
        ("/hooks/acme", _signed(NOW - timedelta(hours=1)), 401, "acme", "timestamp_stale", True),
        ("/hooks/nobody", _signed(), 401, "(unknown)", "sender_unknown", None),
    ],
)
def test_a_refused_callback_is_published_with_its_reason(
    post: Post,
    path: str,
    headers: dict[str, str],
    status: int,
    sender: str,
    reason: str,
    signature_ok: bool | None,
) -> None:
    """401 for every fault alike; only the event tells which it was."""
    answered, event = post(path, headers)
    assert (answered, event.status) == (status, status)
    assert (event.sender, event.verdict, event.reason) == (sender, "rejected", reason)
    assert event.signature_ok is signature_ok


def test_a_body_over_the_limit_is_not_read_to_its_end(post: Post) -> None:
    """413, the announced size, and no fingerprint of a body that was not seen whole."""
    status, event = post("/hooks/acme", _signed(), b"x" * 5_000)
    assert (status, event.reason, event.body_fp) == (413, "body_too_large", None)
    assert event.body_bytes == 5_000


def test_what_cannot_be_queued_is_sent_again(post: Post) -> None:
    """A full queue is 503 for a call that was verified, so that its sender tries again."""
    assert [post("/hooks/acme", _signed())[0] for _ in range(3)] == [204, 204, 503]
    status, event = post("/hooks/acme", _signed())
    assert (status, event.verdict, event.status) == (503, "verified", 503)


def test_hostile_headers_do_not_hide_an_event(post: Post) -> None:
    """Control characters and overlong values are cleaned, so the event is published."""
    headers = {"user-agent": "evil\x01agent" + "x" * 400, "content-type": "\t"}
    status, event = post("/hooks/acme", headers, peer="socket")
    assert status == 401
    assert event.user_agent == ("evil agent" + "x" * 400)[:256]
    assert event.content_type is None
    assert (event.source_ip, event.source_ip_from) == ("0.0.0.0", "untrusted_header")


def test_reports_flow_while_the_application_lives() -> None:
    """The application starts its publisher's reports and closes it at the end."""
    memory = MemoryTransport()
    intake = Intake(load_settings(ENV), Publisher(memory, receiver="shop/1@a"))
    app = fastapi_app.create_app(intake)

    async def live() -> int:
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return (await client.get("/healthz")).status_code

    assert anyio.run(live) == 200
    assert len(memory.reports()) >= 1
    assert memory.events() == []


def test_settings_come_from_variables_and_files(tmp_path: Path) -> None:
    """A secret may stand in a file; several keys have labels; secrets stay out of texts."""
    file = tmp_path / "secret"
    file.write_text(f"new:{SECRET}\nold:{SECRET}\n")
    env = {name: value for name, value in ENV.items() if name != "CALLWATCH_SECRET"}
    found = load_settings(
        env
        | {
            "CALLWATCH_SECRET_FILE": str(file),
            "CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
            "CALLWATCH_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "CALLWATCH_KAFKA_SASL_MECHANISM": "PLAIN",
            "CALLWATCH_KAFKA_SASL_USERNAME": "receiver",
            "CALLWATCH_KAFKA_SASL_PASSWORD": "canary",
        }
    )
    assert [key.label for key in found.keys] == ["new", "old"]
    assert found.kafka.bootstrap_servers == ("kafka:9092",)
    assert found.kafka.keywords()["sasl_plain_password"] == "canary"
    assert "canary" not in repr(found)
    assert PEPPER.hex() not in repr(found)
    assert Intake(found).publisher.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"CALLWATCH_SECRET": ""},
            "CALLWATCH_SECRET: is missing; set it, or CALLWATCH_SECRET_FILE",
        ),
        ({"CALLWATCH_SECRET": "k1:canary!"}, "CALLWATCH_SECRET: allowed are label:whsec_"),
        (
            {"CALLWATCH_SECRET": f"{SECRET} {SECRET}"},
            'CALLWATCH_SECRET: standard-webhooks: key 2: label: "k1" names another key already',
        ),
        ({"CALLWATCH_PEPPER": "canary"}, "CALLWATCH_PEPPER: allowed are 16 bytes and more"),
        ({"CALLWATCH_PEPPER": "00" * 15}, "CALLWATCH_PEPPER: allowed are 16 bytes and more"),
        ({"CALLWATCH_MAX_BODY": "many"}, "CALLWATCH_MAX_BODY: allowed is a number of bytes"),
        ({"CALLWATCH_SENDER_FILE": "/none"}, "CALLWATCH_SENDER_FILE: /none: cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(change: dict[str, str], message: str) -> None:
    """The error names the variable and what is allowed, never a secret."""
    with pytest.raises(SettingsError) as caught:
        load_settings(ENV | change)
    assert str(caught.value).startswith(message)
    assert "canary" not in str(caught.value)


def test_settings_are_read_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the environment counts."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    found = load_settings()
    assert isinstance(found, Settings)
    assert found.max_body == 1_000
