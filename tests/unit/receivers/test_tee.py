"""The body of a WSGI request: read in every way, and watched without being noticed."""

import hashlib
import hmac
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.fingerprint import fingerprint
from ingest.receivers.wsgi import CallwatchMiddleware
from ingest.schema import CallbackEvent
from ingest.signatures.base import Key
from ingest.signatures.schemes import verifier_for
from tests.unit.receivers.conftest import PEPPER, Stream

BODY = b"first\nsecond\n"
SIGNATURE = "sha256=" + hmac.new(b"secret", BODY, hashlib.sha256).hexdigest()


class Lines:
    """A server's stream that is iterable, but no iterator, and has the methods of PEP 3333."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int | None = None) -> bytes:
        """Some of it."""
        return self._data.read(size)

    def readline(self, size: int | None = None) -> bytes:
        """A line."""
        return self._data.readline(size)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Lines."""
        return self._data.readlines(hint or -1)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._data


def _asked(
    stream: Stream, source: Any, read: Callable[[Any], Any], length: int | None = len(BODY)
) -> tuple[Any, CallbackEvent]:
    """What a handler read, and the event of its call."""
    found: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        found.append(read(environ["wsgi.input"]))
        start_response("204 No Content", [])
        return []

    watched = CallwatchMiddleware(
        app, publisher=stream.publisher, verifier=verifier_for("github", [Key("k", b"secret")])
    )
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/hooks/a", "SCRIPT_NAME": "", "SERVER_NAME": "h",
        "wsgi.url_scheme": "https", "REMOTE_ADDR": "192.0.2.7", "wsgi.input": source,
        "HTTP_X_HUB_SIGNATURE_256": SIGNATURE,
    }  # fmt: skip
    if length is not None:
        environ["CONTENT_LENGTH"] = str(length)
    watched(environ, lambda *_: None)
    return found[0], stream.event()


def _within(body: Any) -> bytes:
    with body as opened:
        assert opened is body
        return bytes(opened.read())


def _rest(body: Any) -> bytes:
    return b"" if body.closed else bytes(body.read())


def _into(body: Any) -> bytes:
    room = bytearray(100)
    return bytes(room[: body.readinto(room)])


WAYS: list[Callable[[Any], Any]] = [
    lambda body: body.read(),
    lambda body: body.read(-1),
    lambda body: body.read(None),
    lambda body: body.read(6) + body.read(7),
    lambda body: next(body) + next(body),
    b"".join,
    lambda body: b"".join(iter(body)),
    lambda body: b"".join(body.readlines()),
    lambda body: body.readline() + body.readline(),
    lambda body: body.read1(100),
    lambda body: body.read(0) + body.readline(0) + body.read(),
    lambda body: (body.read(), body.seek(0), body.read())[2],
    _within,
    _into,
]


@pytest.mark.parametrize("length", [len(BODY), None])
@pytest.mark.parametrize("read", WAYS)
def test_a_body_read_in_any_way_is_whole(
    stream: Stream, read: Callable[[Any], Any], length: int | None
) -> None:
    """The handler gets all of it as from the stream itself, and so does the verifier."""
    data, event = _asked(stream, io.BytesIO(BODY), lambda body: read(body) + _rest(body), length)
    assert data == BODY
    assert (event.verdict, event.body_bytes) == ("verified", len(BODY))
    assert event.body_fp == fingerprint(PEPPER, "body", BODY)


@pytest.mark.parametrize("read", [b"".join, lambda body: body.read(size=100)])
def test_a_stream_with_less_is_served_as_well(stream: Stream, read: Callable[[Any], Any]) -> None:
    """One that can be iterated but is no iterator, with named sizes."""
    data, event = _asked(stream, Lines(BODY), read)
    assert (data, event.verdict) == (BODY, "verified")


def test_what_a_stream_has_not_is_not_there(stream: Stream) -> None:
    """A handler that asks for a method before it calls it gets the answer of the stream."""
    names = ["read1", "readinto", "__next__", "__enter__", "__len__", "readlines", "seek"]
    for source in (Lines(BODY), io.BytesIO(BODY)):
        found, _ = _asked(stream, source, lambda body: [hasattr(body, one) for one in names])
        assert found == [hasattr(source, one) for one in names]


@pytest.mark.parametrize("read", [
    lambda body: body.read(0), lambda body: body.readline(0), lambda body: body.read1(0),
    lambda body: body.readinto(bytearray()), lambda body: body.read(3), lambda body: None,
])  # fmt: skip
@pytest.mark.parametrize("length", [len(BODY), None])
def test_a_size_of_nothing_says_nothing(
    stream: Stream, read: Callable[[Any], Any], length: int | None
) -> None:
    """A body that was not read is not judged: a correct signature is no invalid one."""
    _, event = _asked(stream, io.BytesIO(BODY), read, length)
    assert (event.verdict, event.reason, event.body_fp) == ("unverified", None, None)


@pytest.mark.parametrize("read", [
    lambda body: body.read(), lambda body: body.read(99) + body.read(99), _within, _into,
    b"".join, lambda body: body.readline() + body.readline(),
])  # fmt: skip
def test_a_lost_client_is_no_forger(stream: Stream, read: Callable[[Any], Any]) -> None:
    """An upload that ends before its announced length has no verdict on its signature."""
    data, event = _asked(stream, io.BytesIO(BODY[:8]), read)
    assert data == BODY[:8]
    assert (event.verdict, event.body_fp) == ("unverified", None)
