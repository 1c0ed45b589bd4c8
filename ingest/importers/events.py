# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""A call and a mapping make an event, or the reason why there is none.

The verdict is what the status says (`outcomes`), and nothing is invented beside it: `signature_ok`,
`duplicate`, `key_id` and `signed_at` stay null, fingerprints need what a log seldom has.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from ..errors import shown
from ..fingerprint import Label, fingerprint
from ..prefix import hop_ip
from ..rfc3339 import from_us
from ..schema import (
    SCHEMA_VERSION,
    UNKNOWN_SENDER,
    UNMATCHED_ENDPOINT,
    CallbackEvent,
)
from ..vocabulary import Kind, Reason, SourceIpFrom, Verdict, clean_text
from ..wire import explained
from .call import MAX_PATH, Call, LineError, SkippedError
from .github import NOWHERE
from .mapping import Mapping, Network, Route, Where, takes
from .outcomes import ACCEPTED, DEFAULTS, IGNORE, outcome
from .paths import PLACEHOLDER, placeholders

NAMESPACE: Final = UUID("e69ba492-7e2b-525a-99e9-3d7aa42e4e48")
"""The UUID namespace of imported events' ids: UUIDv5 of `import.callwatch` as a DNS name."""

MOST_HOPS: Final = 20


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes events of one format's calls."""

    format_name: str
    mapping: Mapping
    receiver: str
    pepper: bytes | None = None

    def event(self, call: Call, position: str) -> CallbackEvent:
        """The event of a call; SkippedError where the mapping has none, LineError where it is none.

        position: which line it was, for the event's id; unused where the log itself names requests.
        """
        path = (call.path or "")[:MAX_PATH]
        if not takes(self.mapping.hosts, call.host):
            raise SkippedError(reason="host")
        if any(_is_meant(where, call, path) for where in self.mapping.ignore):
            raise SkippedError(reason="rule")
        route, captured = self._route(call, path)
        if route is None:
            return self._unmatched(call, path, position)
        if route.where.methods and call.method not in route.where.methods:
            raise SkippedError(reason="method")
        captured = {**call.captures, **captured}
        verdict, why = self._verdict(call, route, by_path="{sender}" in route.sender)
        told = clean_text(call.event_type, 128)
        facts: dict[str, Any] = {
            "endpoint": route.endpoint,
            "kind": route.kind,
            "sender": _filled(route.sender, captured, 128) or UNKNOWN_SENDER,
            "provider": route.provider,
            "verdict": verdict,
            "reason": why,
            "event_type": _filled(route.event_type, captured, 128) or told,
        }
        return self._made(call, position, facts)

    def _route(self, call: Call, path: str) -> tuple[Route | None, dict[str, str]]:
        for route in self.mapping.routes:
            if route.where.takes_host(call.host):
                captured = route.where.match(path)
                if captured is not None:
                    return route, captured
        return None, {}

    def _verdict(self, call: Call, route: Route, *, by_path: bool) -> tuple[Verdict, Reason | None]:
        if call.blocked:
            return Verdict.REJECTED, Reason.OTHER
        tables = (route.status, self.mapping.status, DEFAULTS[route.kind])
        word = outcome(call.status, tables)
        if word == IGNORE:
            raise SkippedError(reason=f"status_{call.status}")
        if word == ACCEPTED:
            word = route.accepted
        if word in (Verdict.VERIFIED, Verdict.UNVERIFIED):
            return Verdict(word), None
        named = any(str(call.status) in table for table in tables[:2])
        if word == Reason.ENDPOINT_UNKNOWN and by_path and not named:
            return Verdict.REJECTED, Reason.SENDER_UNKNOWN  # the endpoint is known: it matched
        return Verdict.REJECTED, Reason(word)

    def _unmatched(self, call: Call, path: str, position: str) -> CallbackEvent:
        is_known = call.status in (404, 405, 410)
        if self.mapping.unmatched == "ignore" or not is_known or call.blocked:
            raise SkippedError(reason="no_route")
        why = Reason.METHOD_NOT_ALLOWED if call.status == 405 else Reason.ENDPOINT_UNKNOWN
        facts = {
            "endpoint": UNMATCHED_ENDPOINT,
            "kind": Kind.WEBHOOK,
            "sender": UNKNOWN_SENDER,
            "verdict": Verdict.REJECTED,
            "reason": why,
            "path_fp": self._fp("path", path.encode("utf-8", "replace")),
        }
        return self._made(call, position, facts)

    def _made(self, call: Call, position: str, facts: dict[str, Any]) -> CallbackEvent:
        source, source_from = self._source(call)
        unique = call.unique or f"{self.receiver}\n{position}"
        name = f"{self.format_name}\n{unique}".encode("utf-8", "replace").decode()
        size = call.body_bytes
        if size is None and self.mapping.size == "request":
            size = call.request_bytes
        fields = {
            "schema_version": SCHEMA_VERSION,
            "id": str(uuid5(NAMESPACE, name)),
            "received_at": from_us(call.time_us),
            "receiver": self.receiver,
            "body_bytes": size or 0,
            "content_type": clean_text(call.content_type, 256),
            "method": clean_text(call.method, 32),
            "status": call.status,
            "duration_ms": call.duration_ms,
            "source_ip": source,
            "source_ip_from": source_from,
            "asn": call.asn,
            "country": call.country,
            "user_agent": clean_text(call.user_agent, 256),
            "tls_fp": clean_text(call.tls_fp, 128),
            "client_cert_fp": clean_text(call.client_cert_fp, 128),
            "delivery_fp": self._fp("delivery", call.delivery),
            "signature_fp": self._fp("signature", call.signature),
            **facts,
        }
        try:
            return CallbackEvent.model_validate(fields)
        except ValidationError as error:
            raise LineError(code="invalid_event", message=explained(error).message) from None

    def _source(self, call: Call) -> tuple[str, SourceIpFrom]:
        """The client's address: behind trusted proxies, the last one that is none of them."""
        peer = call.source_ip or NOWHERE
        trusted = self.mapping.trusted_proxies
        if peer == NOWHERE:
            return peer, SourceIpFrom.UNTRUSTED_HEADER
        if not call.forwarded_for or not _is_in(peer, trusted):
            return peer, self.mapping.source_ip_from
        hops = call.forwarded_for[-2048:].split(",")[-MOST_HOPS:]
        for hop in reversed(hops):
            found = hop_ip(hop.strip())
            if found is None:
                msg = f"forwarded_for: allowed are addresses; given {shown(hop.strip())}"
                raise LineError(code="bad_address", message=msg)
            if not _is_in(found, trusted):
                return found, SourceIpFrom.TRUSTED_PROXY
        return peer, self.mapping.source_ip_from

    def _fp(self, label: Label, data: bytes | None) -> str | None:
        if data is None or self.pepper is None:
            return None
        return fingerprint(self.pepper, label, data)


def _is_meant(where: Where, call: Call, path: str) -> bool:
    if where.methods and call.method not in where.methods:
        return False
    return where.takes_host(call.host) and where.match(path) is not None


def _is_in(text: str, networks: tuple[Network, ...]) -> bool:
    at = ip_address(text)
    return any(at.version == network.version and at in network for network in networks)


def _filled(text: str | None, captured: dict[str, str], limit: int) -> str | None:
    """A text with what its placeholders hold; a stranger may have written that."""
    if text is None or any(name not in captured for name in placeholders(text)):
        return None
    return clean_text(PLACEHOLDER.sub(lambda found: captured[found[1]], text), limit)
