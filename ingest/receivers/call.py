# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""One watched request: what the host's thread notes of it, and the event that it becomes later.

The host's thread only keeps references to what cannot change any more (bytes, strings, numbers).
Whatever takes time (fingerprints of small bodies, addresses, checks) is done by `fields`, in the
publisher's thread, and verifiers judge in others. A body is kept only while it is small or there
is a verifier; larger ones are hashed as they arrive.
"""

import hmac
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ..fingerprint import FINGERPRINT_BYTES, fingerprint
from ..schema import SCHEMA_VERSION, UNKNOWN_SENDER, UNMATCHED_ENDPOINT
from ..signatures.base import SignedRequest, Verifier
from ..vocabulary import Kind, Reason, SourceIpFrom, Verdict, clean_text
from .address import client_address
from .verdicts import cleaned

if TYPE_CHECKING:
    from .options import Options

DEFERRED_BODY: Final = 8_192
"""Bodies up to so many bytes are hashed in the publisher's thread, larger ones as they arrive."""
_PER_HEADER: Final = 160  # bytes of Python objects beside the text
_LARGEST: Final = 2**40
_DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BY_STATUS: Final = {
    405: Reason.METHOD_NOT_ALLOWED,
    413: Reason.BODY_TOO_LARGE,
    415: Reason.CONTENT_TYPE_UNSUPPORTED,
    429: Reason.RATE_LIMITED,
}


class Call:
    """A request that is being watched, and the draft of its event."""

    # What most calls never set stands here: an instance costs no more than what it holds.
    template: str | None = None
    root = ""
    params: Mapping[str, str] | None = None
    status: int | None = None
    told: dict[str, Any] | None = None
    pending: tuple[Verifier, SignedRequest] | None = None
    hasher: hmac.HMAC | None = None
    body_size = 0
    whole = False
    done = False
    sample_rate = 1.0
    duration_ns = -1

    def __init__(
        self,
        options: "Options",
        method: str,
        path: str,
        peer: str | None,
        headers: Sequence[tuple[str | bytes, str | bytes]],
    ) -> None:
        self.options = options
        self.method = method
        self.path = path
        self.peer = peer
        self.headers = headers  # only those of the allowlist
        self.parts: list[bytes | bytearray] = []  # one at most: many small ones cost much
        self.at_ns = time.time_ns()
        self.began_ns = time.perf_counter_ns()

    # --- in the host's thread ------------------------------------------------------------------

    def add(self, chunk: bytes) -> None:
        """Take note of a piece of the body as it passes."""
        if type(chunk) is not bytes:
            chunk = bytes(chunk)  # a buffer that the server may use again
        self.body_size += len(chunk)
        if self.hasher is not None:
            self.hasher.update(chunk)
        elif self.body_size <= self.options.keep_body:
            self._keep(chunk)
        elif self.options.pepper is not None:
            self._hash(self.options.pepper, chunk)
        else:
            self.parts = []

    def _keep(self, chunk: bytes) -> None:
        if not self.parts:
            self.parts.append(chunk)
            return
        joined = self.parts[0]
        if type(joined) is not bytearray:
            self.parts[0] = joined = bytearray(joined)
        joined += chunk

    def _hash(self, pepper: bytes, more: bytes = b"") -> None:
        """The body is too large to be kept: hash it from here on."""
        hasher = hmac.new(pepper, b"body\x00", "sha256")
        for part in self.parts:
            hasher.update(part)
        hasher.update(more)
        self.parts = []
        self.hasher = hasher

    def body(self) -> bytes | None:
        """The whole body, where it was read to its end and is small enough to be kept."""
        if not self.whole or self.hasher is not None or self.body_size > self.options.keep_body:
            return None
        if not self.parts:
            return b""
        joined = self.parts[0] = bytes(self.parts[0])  # held once, whoever asks
        return joined

    def cost(self) -> int:
        """Bytes that this holds beside what every event does."""
        held = self.body_size if self.parts else 0
        if self.pending is not None:
            for name, text in self.pending[1].headers.items():
                held += len(name) + len(text) + _PER_HEADER
            held += len(self.pending[1].url) + 4_096
        for _, value in self.headers:
            held += len(value) + _PER_HEADER
        if self.told is not None:
            held += sum([getsizeof(one) for one in self.told.values()])
            if isinstance(ext := self.told.get("ext"), dict):
                held += sum([getsizeof(name) + getsizeof(one) for name, one in ext.items()])
        return held + getsizeof(self.path)

    def let_go(self) -> None:
        """Keep no more of the body than is needed from here on."""
        if self.parts and self.body_size > DEFERRED_BODY:
            if self.options.pepper is not None:
                self._hash(self.options.pepper)
            self.parts = []

    def judged(self) -> Verdict:
        """The verdict, as sampling needs to know it."""
        said = self.told.get("verdict") if self.told else None
        if said is not None:
            return Verdict.VERIFIED if said == "verified" else Verdict.REJECTED
        return self._by_status()[0]

    def _by_status(self) -> tuple[Verdict, Reason | None]:
        """What the answer says where nobody else did."""
        status = self.status or 0
        if status in self.options.rejected_statuses:
            return Verdict.REJECTED, _BY_STATUS.get(status, Reason.OTHER)
        if self.options.status_verifies:
            if 200 <= status < 300:
                return Verdict.VERIFIED, None
            if status in _BY_STATUS:
                return Verdict.REJECTED, _BY_STATUS[status]
        return Verdict.UNVERIFIED, None

    def address(self) -> str | None:
        """Whose request it is, as a verifier may believe it."""
        found, source = client_address(self.peer, self._read_headers()[3], self.options.proxies)
        return None if source is SourceIpFrom.UNTRUSTED_HEADER else found

    # --- in the publisher's thread -------------------------------------------------------------

    def fields(self) -> dict[str, Any]:
        """The fields of the event; everything in them is checked, cut or a fingerprint."""
        options = self.options
        agent, content_type, length, forwarded = self._read_headers()
        address, source = client_address(self.peer, forwarded, options.proxies)
        verdict, reason = self._by_status()
        said = cleaned(self.told) if self.told else {}
        if "verdict" not in said:
            said |= {"verdict": verdict, "reason": reason}
        params = self.params or {}
        sender = said.get("sender") or clean_text(params.get("sender"), 128) or options.sender
        if sender is None or (options.senders is not None and sender not in options.senders):
            sender = UNKNOWN_SENDER
        endpoint = said.get("endpoint") or clean_text(self.template, 256)
        redirect = self.template is not None and self.template in options.redirects
        size = self.body_size if self.whole else max(self.body_size, length)
        status = self.status
        return {
            "schema": SCHEMA_VERSION,
            "id": str(uuid4()),
            "received_at": _EPOCH + timedelta(microseconds=self.at_ns // 1_000),
            "receiver": options.receiver,
            "kind": Kind.REDIRECT if redirect else Kind.WEBHOOK,
            "provider": options.provider,
            "body_bytes": min(size, _LARGEST),
            "content_type": clean_text(content_type, 256),
            "method": clean_text(self.method, 32),
            "status": status if status is not None and 100 <= status <= 599 else None,
            "duration_ms": self.duration_ns / 1e6 if self.duration_ns >= 0 else None,
            "source_ip": options.privacy.shown(address, self.at_ns // 10**9 // _DAY_S),
            "source_ip_from": source,
            "user_agent": clean_text(agent, 256),
            "sample_rate": self.sample_rate,
            **said,
            "sender": sender,
            "endpoint": endpoint or UNMATCHED_ENDPOINT,
            **self._fingerprints(endpoint is None),
        }

    def _fingerprints(self, unmatched: bool) -> dict[str, str]:
        pepper = self.options.pepper
        if pepper is None:
            return {}
        found = {}
        if self.hasher is not None:
            if self.whole:
                found["body_fp"] = self.hasher.digest()[:FINGERPRINT_BYTES].hex()
        elif (self.parts or not self.body_size) and (body := self.body()) is not None:
            found["body_fp"] = fingerprint(pepper, "body", body)
        said = self.told or {}
        named, signature = said.get("delivery_id"), said.get("signature")
        if isinstance(named, str) and named:
            found["delivery_fp"] = fingerprint(pepper, "delivery", _bytes(named))
        if isinstance(signature, bytes) and signature:
            found["signature_fp"] = fingerprint(pepper, "signature", signature)
        if unmatched:
            found["path_fp"] = fingerprint(pepper, "path", _bytes(self.path))
        return found

    def _read_headers(self) -> tuple[str | None, str | None, int, list[str]]:
        agent = content_type = None
        length, forwarded = 0, []
        for name, value in self.headers:
            name = name.decode("latin-1") if isinstance(name, bytes) else name
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if name == "user-agent":
                agent = text
            elif name == "content-type":
                content_type = text
            elif name == "content-length":
                length = announced(text) or 0
            elif name == self.options.proxies.header:
                forwarded.append(text)
        return agent, content_type, length, forwarded


def announced(length: str | None) -> int | None:
    """The length that a sender announced for a body, where it is one.

    >>> announced("512"), announced("-1"), announced("9" * 5000)
    (512, None, None)
    """
    text = length or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 14 else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
