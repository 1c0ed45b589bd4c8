# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Reading what a stranger wrote: headers, encodings, times and bodies, all of bounded size.

What cannot be read raises `Fault`, which names the reason of the rejection.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ..rfc3339 import from_us
from ..vocabulary import Reason
from .base import SignedRequest

MAX_HEADER: Final = 8192  # characters; the longest honest one holds a few signatures of RSA
MAX_SIGNATURES: Final = 32  # a header of thousands must not cost thousands of comparisons
MAX_PARSED: Final = 1_048_576  # bytes of a body that is parsed
MAX_ID: Final = 256

_SECONDS: Final = re.compile(r"[0-9]{1,11}")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,14}")
_HEX: Final = re.compile(r"[0-9a-f]*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Fault(Exception):  # noqa: N818 - what a request lacks is no error of the program
    """A request that needs no look at its signature any more, and why."""

    def __init__(
        self,
        reason: Reason = Reason.SIGNATURE_MALFORMED,
        *,
        delivery_id: str | None = None,
        signature: bytes | None = None,
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.delivery_id = delivery_id
        self.signature = signature


def header(request: SignedRequest, name: str) -> str:
    """A header's value without white space around it, or nothing; `name` is in lower case.

    Given twice with different values it is malformed: nobody can say which one was meant.
    """
    found: str | None = None
    for key, value in request.headers.items():
        if len(key) == len(name) and key.lower() == name:
            if len(value) > MAX_HEADER or (found is not None and value.strip() != found):
                raise Fault
            found = value.strip()
    return found or ""


def needed(request: SignedRequest, name: str) -> str:
    """The header that holds the signature."""
    found = header(request, name)
    if not found:
        raise Fault(Reason.SIGNATURE_MISSING)
    return found


def stamped(
    text: str, parse: Callable[[str], datetime], signature: bytes, delivery_id: str | None = None
) -> datetime:
    """The time that was signed; without one a rejection still tells signature and delivery."""
    try:
        if text:
            return parse(text)
    except (Fault, ValueError):
        raise Fault(delivery_id=delivery_id, signature=signature) from None
    raise Fault(Reason.TIMESTAMP_MISSING, delivery_id=delivery_id, signature=signature)


def seconds(text: str) -> datetime:
    """A time from seconds since 1970, at most eleven digits."""
    if _SECONDS.fullmatch(text) is None:
        raise Fault
    return from_us(int(text) * 1_000_000)


def milliseconds(text: str) -> datetime:
    """A time from milliseconds since 1970, at most fourteen digits."""
    if _MILLISECONDS.fullmatch(text) is None:
        raise Fault
    return _EPOCH + timedelta(milliseconds=int(text))


def from_hex(text: str, size: int) -> bytes:
    """Bytes from lower-case hexadecimal digits of exactly `size` bytes."""
    if len(text) != 2 * size or _HEX.fullmatch(text) is None:
        raise Fault
    return bytes.fromhex(text)


def from_base64(text: str, size: int | None = None) -> bytes:
    """Bytes from canonical base64, of `size` bytes where that is known.

    Base64 that ends in other spare bits would be a second spelling of the same signature.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Fault from None
    spelled = base64.b64encode(raw)
    if not raw or not hmac.compare_digest(spelled, text.encode()) or size not in {None, len(raw)}:
        raise Fault
    return raw


def parsed(body: bytes) -> Any:
    """The JSON value of a body that is not too long; an object that names a field twice is bad.

    Two readers may take different ones of two fields: what was signed would not be what is used.
    """
    if len(body) > MAX_PARSED:
        raise Fault
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise Fault from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Fault
    return found


def body_field(request: SignedRequest, *path: str) -> Any:
    """A field of a JSON body, or None where it is not there."""
    try:
        value = parsed(request.body)
    except Fault:
        return None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def body_id(request: SignedRequest, *path: str) -> str | None:
    """The delivery id in a JSON body; of a list of events, one for all of them."""
    if path[:1] != ("[]",):
        return joined([body_field(request, *path)])
    try:
        listed = parsed(request.body)
    except Fault:
        return None
    listed = listed if isinstance(listed, list) else [listed]
    return joined(one.get(path[1]) if isinstance(one, dict) else None for one in listed)


def joined(ids: Iterable[object]) -> str | None:
    """One bounded id of several; None if one of them is missing or there is none."""
    texts = []
    for one in ids:
        if isinstance(one, bool) or not isinstance(one, str | int) or one == "":
            return None
        texts.append(str(one))
    return bounded(",".join(texts))


def bounded(text: str) -> str | None:
    """An id of at most 256 characters: a longer one is hashed, none is None."""
    if len(text) <= MAX_ID:
        return text or None
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def content_id(request: SignedRequest, *parts: str) -> str:
    """An id for a callback that has none of its own: its content, so that a retry has the same."""
    digest = hashlib.sha256(request.body).hexdigest()
    return ":".join([*(part[:64] for part in parts), digest])
