"""A program that uses what receivers are promised, checked by mypy as strictly as it can."""

from datetime import UTC, datetime
from typing import assert_type

from callwatch_ingest import (
    CallbackEvent,
    JsonLinesTransport,
    KafkaTransport,
    MemoryTransport,
    Publisher,
    Reason,
    Verdict,
)
from callwatch_ingest.fingerprint import fingerprint
from callwatch_ingest.receivers import Privacy, Proxies, describe, load_options, record, verdict
from callwatch_ingest.receivers.asgi import Application, CallwatchMiddleware, Receive, Scope, Send
from callwatch_ingest.receivers.wsgi import CallwatchMiddleware as WsgiMiddleware
from callwatch_ingest.signatures.base import Key, SignedRequest, Verification, Verifier
from callwatch_ingest.signatures.checks import Guarded, guarded
from callwatch_ingest.signatures.deliveries import Deliveries, MemoryStore
from callwatch_ingest.signatures.redirect import Pending, Redirects
from callwatch_ingest.signatures.schemes import key_for, verifier_for


def coarse(event: CallbackEvent) -> CallbackEvent | None:
    """Keep the probes of the load balancer off the stream, and no user agent on it."""
    if event.endpoint == "/health":
        return None
    return event.model_copy(update={"user_agent": None})


def verifier(request: SignedRequest) -> Verification:
    """Whoever knows the word is believed."""
    if request.headers.get("x-word") == "please":
        return Verification(Verdict.VERIFIED, signature_ok=True, signed_at=request.now)
    return Verification(Verdict.REJECTED, Reason.SIGNATURE_INVALID, signature_ok=False)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An application."""
    said: bool = verdict("verified", key_id="k1", signed_at=datetime.now(UTC), ext={"plan": 1})
    assert_type(said, bool)


transport = MemoryTransport(partitions=3)
publisher = Publisher(
    transport, receiver="shop/1@a", max_bytes=1 << 20, drop="oldest", before_emit=coarse
)
application: Application = CallwatchMiddleware(
    app,
    publisher=publisher,
    endpoints=["/hooks/{sender}"],
    proxies=Proxies(count=1),
    privacy=Privacy("truncate"),
    sample_rate=0.5,
    verifier={"acme": verifier},
)
known: Verifier = verifier
watched = WsgiMiddleware(lambda environ, start: [b""], publisher=publisher, sender="acme")
fields = describe(Verdict.VERIFIED, source_ip="192.0.2.7", body=b"{}", sender="acme")
assert_type(record(fields, publisher), bool)
assert_type(publisher.flush(1.0), bool)
assert_type(transport.events(), list[CallbackEvent])
assert_type(publisher.stats().dropped, dict[str, int])
assert_type(fingerprint(b"0" * 16, "body", b""), str)
assert_type(load_options().sample_rate, float)
others = [KafkaTransport("localhost:9092", acks="all"), JsonLinesTransport("events.jsonl")]


class Redis:
    """A client with the arguments of redis-py."""

    def set(
        self, name: str | bytes, value: str | bytes | float, ex: int | None = None, nx: bool = False
    ) -> bool | None:
        """Keep a value under a name."""
        return True


signed: Verifier = verifier_for("stripe", [key_for("stripe", "k1", "s"), Key("k0", b"old", True)])
checked = guarded(signed, networks=["192.0.2.0/24"], deliveries=Deliveries(Redis(), scope="acme"))
assert_type(checked, Guarded)
also: Verifier = checked
redirects = Redirects(["https://shop.example/callback"], MemoryStore())
assert_type(redirects.begin("https://shop.example/callback", datetime.now(UTC)), Pending)
returned: Verifier = redirects.verifier(lambda request: None)
