# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""For handlers that verify by themselves and use no middleware: one call for one callback."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, Unpack

from ..fingerprint import fingerprint
from ..publisher import Publisher
from ..schema import UNKNOWN_SENDER, UNMATCHED_ENDPOINT, CallbackEvent
from ..signatures.base import Verification
from ..vocabulary import Kind, Reason, SourceIpFrom, Verdict, clean_ip, clean_text
from .address import NO_ADDRESS
from .options import Options, load_options
from .verdicts import cleaned, told
from .watch import default_publisher, disabled

_MOST_BODY: Final = 2**40
_log = logging.getLogger("callwatch.receiver")


class Details(TypedDict, total=False):
    """What may be told of a callback beside its verdict; strange characters are cleaned away."""

    reason: Reason | str | None
    sender: str | None
    endpoint: str | None
    provider: str | None
    kind: Kind | str | None
    signature_ok: bool | None
    duplicate: bool | None
    key_id: str | None
    signed_at: datetime | None
    event_type: str | None
    event_created_at: datetime | None
    attempt: int | None
    tls_fp: str | None
    client_cert_fp: str | None
    ext: Mapping[str, str | int | float | bool | None] | None


def record(event: CallbackEvent | Mapping[str, Any], publisher: Publisher | None = None) -> bool:
    """Record a callback by its event, or by the fields of one; False when it was dropped at once.

    Never raises and takes microseconds: the event is checked in the publisher's thread. Without
    `publisher` the one that `CALLWATCH_*` describe is used.
    """
    if publisher is None:
        found = _publisher()
        if found is None:
            return False
        publisher = found
    return publisher.offer(event)


def describe(
    found: Verification | Verdict | str,
    *,
    source_ip: str | None,
    body: bytes | None = None,
    body_bytes: int | None = None,
    delivery_id: str | None = None,
    signature: bytes | None = None,
    method: str | None = None,
    content_type: str | None = None,
    user_agent: str | None = None,
    status: int | None = None,
    source_ip_from: SourceIpFrom = SourceIpFrom.SOCKET,
    options: Options | None = None,
    **details: Unpack[Details],
) -> dict[str, Any]:
    """The fields of an event for `record`; body, delivery id and signature as fingerprints only.

    found: what a verifier gave, or `verified`, `rejected` (with its reason) or `unverified`.
    """
    options = options or load_options()
    said = {**(told(found) or {}), **{k: v for k, v in details.items() if v is not None}}
    fields = cleaned(said)
    fields.setdefault("verdict", Verdict.UNVERIFIED)
    fields.setdefault("endpoint", UNMATCHED_ENDPOINT)
    fields.setdefault("kind", Kind.WEBHOOK)
    fields.setdefault("sender", options.sender or UNKNOWN_SENDER)
    fields.setdefault("provider", options.provider)
    prints: dict[str, str] = {}
    if options.pepper is not None:
        if body is not None:
            prints["body_fp"] = fingerprint(options.pepper, "body", body)
        if named := delivery_id or said.get("delivery_id"):
            data = str(named).encode("utf-8", "surrogatepass")
            prints["delivery_fp"] = fingerprint(options.pepper, "delivery", data)
        if decoded := signature or said.get("signature"):
            prints["signature_fp"] = fingerprint(options.pepper, "signature", decoded)
    now = datetime.now(UTC)
    address = clean_ip(source_ip)
    shown = NO_ADDRESS
    if address is not None:
        shown = options.privacy.shown(address, int(now.timestamp()) // 86_400)
    size = body_bytes if body_bytes is not None else len(body or b"")
    return {
        **fields,
        **prints,
        "receiver": options.receiver,
        "received_at": now,
        "body_bytes": min(max(size, 0), _MOST_BODY),
        "method": clean_text(method, 32),
        "content_type": clean_text(content_type, 256),
        "user_agent": clean_text(user_agent, 256),
        "status": status,
        "source_ip": shown,
        "source_ip_from": source_ip_from if address else SourceIpFrom.UNTRUSTED_HEADER,
    }


def _publisher() -> Publisher | None:
    if disabled():
        return None
    try:
        return default_publisher()
    except Exception as error:  # fail open: what is wrong is in the environment
        _complain(error)
        return None


_complained: set[str] = set()


def _complain(error: Exception) -> None:
    text = str(error)[:200]
    if text not in _complained and len(_complained) < 16:
        _complained.add(text)
        _log.error("callwatch is off, nothing is recorded: %s", text)
