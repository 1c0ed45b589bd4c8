# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""For handlers that verify by themselves and use no middleware: one call for one callback."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
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
    options: by default those of `CALLWATCH_*`, which are read once.

    Never raises: what is of a wrong type is left out. Empty where callwatch is off.
    """
    try:
        if disabled() or (known := options or _options()) is None:
            return {}
        said = {**(told(found) or {}), **{k: v for k, v in details.items() if v is not None}}
        fields = cleaned(said)
        fields.setdefault("verdict", Verdict.UNVERIFIED)
        fields.setdefault("endpoint", UNMATCHED_ENDPOINT)
        fields.setdefault("kind", Kind.WEBHOOK)
        fields.setdefault("sender", known.sender or UNKNOWN_SENDER)
        fields.setdefault("provider", known.provider)
        data = _bytes(body)
        now = datetime.now(UTC)
        address = clean_ip(source_ip)
        shown = NO_ADDRESS
        if address is not None:
            shown = known.privacy.shown(address, int(now.timestamp()) // 86_400)
        size = body_bytes if type(body_bytes) is int else len(data or b"")
        return {
            **fields,
            **_prints(known.pepper, data, delivery_id or said.get("delivery_id"),
                      _bytes(signature or said.get("signature"), text=False)),
            "receiver": known.receiver,
            "received_at": now,
            "body_bytes": min(max(size, 0), _MOST_BODY),
            "method": clean_text(method, 32),
            "content_type": clean_text(content_type, 256),
            "user_agent": clean_text(user_agent, 256),
            "status": status if type(status) is int and 100 <= status <= 599 else None,
            "source_ip": shown,
            "source_ip_from": source_ip_from if address else SourceIpFrom.UNTRUSTED_HEADER,
        }  # fmt: skip
    except Exception as error:  # fail open: whatever was passed
        _complain(f"a callback was not described: {type(error).__name__}")
        return {}


def _prints(
    pepper: bytes | None, body: bytes | None, named: object, signature: bytes | None
) -> dict[str, str]:
    if pepper is None:
        return {}
    found: dict[str, str] = {}
    if body is not None:
        found["body_fp"] = fingerprint(pepper, "body", body)
    if named:
        data = str(named).encode("utf-8", "surrogatepass")
        found["delivery_fp"] = fingerprint(pepper, "delivery", data)
    if signature:
        found["signature_fp"] = fingerprint(pepper, "signature", signature)
    return found


def _bytes(value: object, *, text: bool = True) -> bytes | None:
    """Bytes of what a handler gave as such; None where it is something else."""
    if isinstance(value, str) and text:
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None


@lru_cache(maxsize=1)
def _options() -> Options | None:
    """The options of the environment, read once; None where they are wrong."""
    try:
        return load_options()
    except Exception as error:  # fail open: what is wrong is in the environment
        _complain(f"callwatch is off, nothing is recorded: {str(error)[:200]}")
        return None


def _publisher() -> Publisher | None:
    if disabled():
        return None
    try:
        return default_publisher()
    except Exception as error:  # fail open: what is wrong is in the environment
        _complain(f"callwatch is off, nothing is recorded: {str(error)[:200]}")
        return None


_complained: set[str] = set()


def _complain(text: str) -> None:
    if text not in _complained and len(_complained) < 16:
        _complained.add(text)
        _log.error("%s", text)
