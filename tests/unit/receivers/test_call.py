"""Whatever a request holds, its event is valid: nobody hides a call by what he sends."""

import doctest
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.publisher import Publisher
from ingest.receivers import call as module
from ingest.receivers.address import Privacy, parse_proxies
from ingest.receivers.asgi import CallwatchMiddleware as AsgiMiddleware
from ingest.receivers.call import Call
from ingest.receivers.options import Options
from ingest.receivers.verdicts import told
from ingest.receivers.wsgi import CallwatchMiddleware as WsgiMiddleware
from ingest.schema import check_event, parse_event
from ingest.transports import MemoryTransport

TEXT = st.text(max_size=40)
NAMES = st.sampled_from(
    ["content-type", "user-agent", "content-length", "x-forwarded-for", "forwarded", "x-other"]
)
BYTES = st.binary(max_size=60)
ANY = st.one_of(
    TEXT, st.integers(), st.floats(), st.booleans(), st.none(), BYTES, st.datetimes(),
    st.lists(TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=3),
)  # fmt: skip
SAID = st.dictionaries(
    st.sampled_from(
        ["verdict", "reason", "sender", "endpoint", "provider", "kind", "signature_ok", "ext",
         "duplicate", "key_id", "signed_at", "delivery_id", "signature", "event_type", "attempt",
         "event_created_at", "tls_fp", "client_cert_fp", "unknown"]
    ),
    st.one_of(ANY, st.sampled_from(["verified", "rejected", "other", "redirect"])),
)  # fmt: skip
OPTIONS = [
    Options("shop/1@a", pepper=bytes(16), endpoints=("/*",)),
    Options("shop/1@a", proxies=parse_proxies("1"), privacy=Privacy("truncate")),
    Options("shop/1@a", proxies=parse_proxies("10.0.0.0/8", "forwarded"), status_verifies=True,
            privacy=Privacy("pseudonym", bytes(16)), senders=frozenset({"a"})),
]  # fmt: skip


def test_examples_in_docstrings_are_true() -> None:
    """What the docstrings show is what the code gives."""
    assert doctest.testmod(module).failed == 0


@given(
    st.sampled_from(OPTIONS), TEXT, TEXT, st.one_of(st.none(), TEXT),
    st.lists(st.tuples(NAMES, BYTES), max_size=6), SAID, TEXT, st.lists(BYTES, max_size=3),
    st.one_of(st.none(), st.integers(-10, 1_000)),
)  # fmt: skip
def test_every_call_is_a_valid_event(
    options: Options,
    method: str,
    path: str,
    peer: str | None,
    headers: list[tuple[str, bytes]],
    said: dict[str, Any],
    template: str,
    body: list[bytes],
    status: int | None,
) -> None:
    """Any method, path, peer, headers, verdict, route, body and status give an event."""
    raw = [(name.encode(), value) for name, value in headers]
    call = Call(options, method, path, peer, raw)
    call.told, call.template, call.status = said, template, status
    call.params = {"sender": path}
    for part in body:
        call.add(part)
    call.whole = bool(body)
    assert call.cost() >= 0
    event = check_event(call.fields())
    assert event.body_bytes >= sum(map(len, body))


@given(BYTES, BYTES, st.lists(st.tuples(NAMES, BYTES), max_size=6), BYTES)
def test_middlewares_take_any_request(
    path: bytes, query: bytes, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    """Whatever a server lets through, one event comes out, and no fault is counted."""
    import asyncio

    memory = MemoryTransport()
    publisher = Publisher(memory, receiver="shop/1@a", report_every=None, linger=0)
    given: Any = {"publisher": publisher, "pepper": bytes(16), "receiver": "shop/1@a"}
    text = path.decode("latin-1")

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None: ...

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("204 No Content", [])
        return []

    one, two = AsgiMiddleware(asgi, **given), WsgiMiddleware(wsgi, **given)
    scope = {"type": "http", "method": "POST", "path": text, "query_string": query,
             "headers": [(name.encode(), value) for name, value in headers]}  # fmt: skip
    asyncio.run(one(scope, receive, send))
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": text, "wsgi.input": io.BytesIO(body),
               **{_key(name): value.decode("latin-1") for name, value in headers}}  # fmt: skip
    two(environ, lambda *_: None)
    assert one.watch is not None
    assert two.watch is not None
    assert (one.watch.faults, two.watch.faults) == (0, 0)
    assert publisher.close(20)
    assert [event.status for event in memory.events()] == [204, 204]
    assert all(parse_event(record.value) for record in memory.records)


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key.startswith("CONTENT_") else f"HTTP_{key}"


def test_a_body_in_small_messages_costs_what_it_holds() -> None:
    """However it is cut, the bytes are joined as they come, and what is accounted is about all."""
    import tracemalloc

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    call = Call(OPTIONS[0], "POST", "/h", None, [])
    for number in range(4_000):
        call.add(bytes([number & 255, number >> 8]))
    call.whole = True
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(call.body() or b"") == 8_000
    assert held < 2 * (call.cost() + 2_048)


def test_only_what_an_event_can_hold_is_kept_of_a_verdict() -> None:
    """Unknown names and nested values are let go; long texts count with all their bytes."""
    call = Call(OPTIONS[0], "POST", "/h", None, [])
    said = {"verdict": "verified", "payload": {"x": "y" * 10**6}, "sender": ["z" * 10**6]}
    call.told = told(said)
    assert call.told == {"verdict": "verified"}
    call.told = told({"verdict": "verified", "delivery_id": "é€" * 500_000})
    assert call.cost() > 2_000_000


def test_what_waits_as_a_dict_is_accounted_with_all_its_bytes() -> None:
    """Bytes count, and values that no event can have are not kept at all."""
    memory = MemoryTransport()
    publisher = Publisher(memory, receiver="shop/1@a", report_every=None, linger=3600)
    assert publisher.offer({"body_fp": b"x" * 5_000_000})
    assert publisher.stats().waiting_bytes > 5_000_000
    assert publisher.offer({"blob": b"x" * 5_000_000, "sender": ["y" * 10**6]})
    assert publisher.stats().waiting_bytes < 5_010_000
    publisher.close(20)
    assert publisher.stats().dropped == {"too_large": 1, "invalid": 1}
