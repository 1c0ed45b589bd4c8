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
_NEEDED: Final = ("id", "guid", "delivered_at", "status_code", "event")


def objects(data: str) -> Iterator[tuple[int, dict[str, Any] | LineError]]:
    """The objects of a file, each with the line on which it begins; after a fault it goes on."""
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    at = _skip(data, 0)
    while at < len(data):
        line += data.count("\n", counted, at)
        counted = at
        try:
            found, at = decoder.raw_decode(data, at)
        except (ValueError, RecursionError):
            yield (
                line,
                LineError(code="not_json", message="allowed are JSON objects, or arrays of them"),
            )
            at = _resume(data, at)
            continue
        if isinstance(found, dict):
            yield line, found
        else:
            msg = f"allowed are objects; given {shown(found)}"
            yield line, LineError(code="not_object", message=msg)
        at = _skip(data, at)


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
