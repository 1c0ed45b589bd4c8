# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""How a handler says what it decided: `verdict(...)`, or a value in the request.

It may say so anywhere below the middleware, in threads and tasks too. Whatever it says is made
fit for the event later, so that nobody hides a call by a strange byte in what he claims.
"""

import math
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, Protocol

from ..signatures.base import Verification
from ..vocabulary import Kind, Reason, Verdict, clean_text

_SHORT: Final = {
    "sender": 128,
    "endpoint": 256,
    "provider": 64,
    "key_id": 64,
    "event_type": 128,
    "tls_fp": 128,
    "client_cert_fp": 128,
}
_AS_THEY_ARE: Final = ("duplicate", "signature_ok")
_TIMES: Final = ("signed_at", "event_created_at")
_FROM_VERIFICATION: Final = (
    "verdict",
    "reason",
    "signature_ok",
    "duplicate",
    "key_id",
    "signed_at",
    "delivery_id",
    "signature",
    "event_type",
    "event_created_at",
)
_NAMES: Final = (
    *_FROM_VERIFICATION[:2],
    *_SHORT,
    *_AS_THEY_ARE,
    *_TIMES,
    "kind",
    "delivery_id",
    "signature",
    "attempt",
)
_LONGEST_EXT: Final = 512
_MOST_EXT: Final = 8
_INT64: Final = 2**63 - 1


class Slot(Protocol):
    """A request that is being watched."""

    told: dict[str, Any] | None
    done: bool


current: ContextVar[Slot | None] = ContextVar("callwatch_call", default=None)


def verdict(
    found: Verification | Verdict | str,
    reason: Reason | str | None = None,
    *,
    sender: str | None = None,
    endpoint: str | None = None,
    provider: str | None = None,
    kind: Kind | str | None = None,
    signature_ok: bool | None = None,
    duplicate: bool | None = None,
    key_id: str | None = None,
    signed_at: datetime | None = None,
    delivery_id: str | None = None,
    signature: bytes | None = None,
    event_type: str | None = None,
    event_created_at: datetime | None = None,
    attempt: int | None = None,
    tls_fp: str | None = None,
    client_cert_fp: str | None = None,
    ext: Mapping[str, str | int | float | bool | None] | None = None,
) -> bool:
    """Say what was decided about the request at hand; False when it is not watched, or is answered
    already (in a background task, say). Never raises.

    found: what a verifier gave, or `verified`, `rejected` (with its reason) or `unverified`.
    delivery_id, signature: recorded as keyed fingerprints only; the signature decoded.
    Said twice, the later one counts.
    """
    try:
        slot = current.get()
        if slot is None or slot.done:
            return False
        said = {
            "reason": reason,
            "sender": sender,
            "endpoint": endpoint,
            "provider": provider,
            "kind": kind,
            "signature_ok": signature_ok,
            "duplicate": duplicate,
            "key_id": key_id,
            "signed_at": signed_at,
            "delivery_id": delivery_id,
            "signature": signature,
            "event_type": event_type,
            "event_created_at": event_created_at,
            "attempt": attempt,
            "tls_fp": tls_fp,
            "client_cert_fp": client_cert_fp,
            "ext": _ext(ext) if ext is not None else None,
        }
        given = {name: value for name, value in said.items() if value is not None}
        slot.told = _kept({**(told(found) or {}), **given})
    except Exception:  # fail open: whatever was passed
        return False
    return True


def told(value: object) -> dict[str, Any] | None:
    """What a handler left in its request, as a dict of the names of `verdict`; None = nothing."""
    if value is None:
        return None
    if isinstance(value, Verification):
        found = ((name, getattr(value, name, None)) for name in _FROM_VERIFICATION)
        return {name: one for name, one in found if one is not None}
    if isinstance(value, str):
        return {"verdict": value}
    if not isinstance(value, Mapping):
        return None
    return _kept(value)


def _kept(said: Mapping[str, Any]) -> dict[str, Any]:
    """What can get into an event, for nothing else shall be held until it is made."""
    found = {name: said[name] for name in _NAMES if _is_plain(said.get(name))}
    if isinstance(ext := said.get("ext"), Mapping):
        found["ext"] = _ext(ext)  # now: the host may change it
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, str | bytes | datetime) or _is_number(value)


def cleaned(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event that a handler told of, each of them valid; the rest is left out.

    >>> cleaned({"verdict": "rejected", "key_id": "k1 ", "duplicate": "no"})
    {'verdict': <Verdict.REJECTED: 'rejected'>, 'reason': <Reason.OTHER: 'other'>, 'key_id': 'k1'}
    """
    found: dict[str, Any] = {}
    judged = _word(Verdict, said.get("verdict"))
    if judged is not None:
        found["verdict"] = judged
        if judged is Verdict.REJECTED:
            found["reason"] = _word(Reason, said.get("reason")) or Reason.OTHER
    for name, limit in _SHORT.items():
        if (text := clean_text(said.get(name), limit)) is not None:
            found[name] = text
    for name in _AS_THEY_ARE:
        if isinstance(said.get(name), bool):
            found[name] = said[name]
    if judged is Verdict.VERIFIED and found.get("signature_ok") is False:
        del found["signature_ok"]
    for name in _TIMES:
        time = said.get(name)
        if isinstance(time, datetime) and time.tzinfo is not None:
            found[name] = time
    if (kind := _word(Kind, said.get("kind"))) is not None:
        found["kind"] = kind
    attempt = said.get("attempt")
    if type(attempt) is int and 1 <= attempt <= 1_000_000:
        found["attempt"] = attempt
    if isinstance(ext := said.get("ext"), Mapping) and (kept := _ext(ext)):
        found["ext"] = kept
    return found


def _word(kind: Any, value: object) -> Any:
    try:
        return kind(value)
    except ValueError:
        return None


def _ext(given: Mapping[Any, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in list(given.items())[:_MOST_EXT]:
        if (key := clean_text(name, 64)) is None:
            continue
        if isinstance(value, str):
            kept[key] = value[:_LONGEST_EXT].encode("utf-8", "replace").decode()
        elif value is None or _is_number(value):
            kept[key] = value
    return kept


def _is_number(value: object) -> bool:
    """Whether JSON and every reader of an event can hold it."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) <= _INT64
