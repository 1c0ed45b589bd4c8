# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What GitHub says of the deliveries of a webhook: pages of its list, or single deliveries.

`gh api repos/OWNER/REPO/hooks/ID/deliveries --paginate` writes arrays one after the other; a
file may hold those, an array of arrays, single objects, or objects on lines of their own.

GitHub does not tell its own address: the unspecified one stands there, believed by nobody.
A delivery that never reached the receiver is none.

https://docs.github.com/en/rest/repos/webhooks (and the same for organisations and apps)
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import shown
from .call import Call, LineError, SkippedError, any_time, number, status_of, target, text

NOWHERE: Final = "0.0.0.0"  # noqa: S104 - no address to listen on: none is known
_BETWEEN: Final = re.compile(r"[\s,\[\]]*")
_NEXT: Final = re.compile(r"^[ \t,\[\]]*\{", re.MULTILINE)
_HEX: Final = re.compile(r"sha256=([0-9a-f]{64})")
MOST_READ_AGAIN: Final = 64 * 1024 * 1024
"""Characters that faults may make it read beyond twice the file's own."""
_WINDOW: Final = 4_096
_NEAR: Final = 64  # so close to the end of a window a fault may be that of the window
_NEEDED: Final = ("id", "guid", "delivered_at", "status_code", "event")


def objects(data: str) -> Iterator[tuple[int, dict[str, Any] | LineError]]:
    """The objects of a file, each with the line on which it begins; after a fault it goes on."""
    decoder = json.JSONDecoder()
    line, counted, read_again = 1, 0, 0
    at = _skip(data, 0)
    while at < len(data):
        line += data.count("\n", counted, at)
        counted = at
        try:
            found, at = _decoded(decoder, data, at)
        except _FaultError as fault:
            yield (
                line,
                LineError(code="not_json", message="allowed are JSON objects, or arrays of them"),
            )
            read_again += fault.read
            if read_again > MOST_READ_AGAIN + 2 * len(data):
                msg = "too many faults: the rest of the file is not read"
                yield line, LineError(code="not_json", message=msg)
                return  # nonsense, made to be read again from every line of it
            at = _resume(data, at)
            continue
        if isinstance(found, dict):
            yield line, found
        else:
            msg = f"allowed are objects; given {shown(found)}"
            yield line, LineError(code="not_object", message=msg)
        at = _skip(data, at)


class _FaultError(Exception):
    """No JSON stands there; `read` characters had to be looked at."""

    def __init__(self, read: int) -> None:
        super().__init__(read)
        self.read = read


def _decoded(decoder: json.JSONDecoder, data: str, at: int) -> tuple[Any, int]:
    """What stands at a place, and where it ends; _FaultError where that is no JSON.

    An error of the decoder counts all lines before it, so it sees a window that grows.
    """
    size, read = _WINDOW, 0
    while True:
        window = data[at : at + size]
        try:
            found, end = decoder.raw_decode(window)
            return found, at + end
        except json.JSONDecodeError as error:
            is_cut = at + size < len(data) and (
                error.pos >= size - _NEAR or error.msg.startswith("Unterminated")
            )
            read += len(window) if is_cut else error.pos + 1
        except (ValueError, RecursionError):
            read += len(window)
            is_cut = False
        if not is_cut:
            raise _FaultError(read)
        size *= 2


def parse(row: dict[str, Any]) -> Call:
    """A delivery as a call."""
    for name in _NEEDED:
        if row.get(name) is None:
            msg = f"{name}: is missing"
            raise LineError(code="missing_field", message=msg)
    for name in ("guid", "event"):
        if not isinstance(row[name], str):
            msg = f"{name}: allowed is text; given {shown(row[name])}"
            raise LineError(code="bad_value", message=msg)
    at = any_time(row["delivered_at"])
    status = status_of(row["status_code"])
    if status >= 500 and "connect" in str(row.get("status", "")).lower():
        raise SkippedError(
            reason="not_delivered"
        )  # 502 "failed to connect": the answer is GitHub's own
    host, path = target(text(row.get("url")) or "")
    headers = _headers(row)
    seconds = number(row.get("duration"))
    sent = _HEX.fullmatch(headers.get("x-hub-signature-256", ""))
    action = text(row.get("action"))
    return Call(
        time_us=at,
        status=status,
        source_ip=NOWHERE,
        method="POST",  # all that GitHub sends
        path=path or None,
        host=host,
        user_agent=text(headers.get("user-agent")),
        duration_ms=None if seconds is None else seconds * 1000.0,
        content_type=text(headers.get("content-type")),
        event_type=f"{row['event']}.{action}" if action else row["event"],
        delivery=row["guid"].encode("utf-8", "replace"),
        signature=bytes.fromhex(sent[1]) if sent else None,
        unique=f"{row['id']} {row['guid']}",
        captures={
            name: str(row[name])
            for name in ("event", "repository_id", "installation_id")
            if isinstance(row.get(name), str | int)
        },
    )


def _headers(row: dict[str, Any]) -> dict[str, str]:
    request = row.get("request")
    headers = request.get("headers") if isinstance(request, dict) else None
    if not isinstance(headers, dict):
        return {}
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}


def _skip(data: str, at: int) -> int:
    found = _BETWEEN.match(data, at)
    return found.end() if found else at


def _resume(data: str, at: int) -> int:
    """Where the next line begins with an object; the end, where none does."""
    end = data.find("\n", at)
    found = _NEXT.search(data, end + 1) if end >= 0 else None
    return found.end() - 1 if found else len(data)
