"""Logs of one JSON object a line: nginx with `escape=json`, and Cloudflare's HTTP requests.

nginx: http://nginx.org/en/docs/http/ngx_http_log_module.html#log_format
Cloudflare: https://developers.cloudflare.com/logs/logpush/logpush-job/datasets/zone/http_requests/
"""

import json
from collections.abc import Mapping as Table
from datetime import tzinfo
from typing import Any, Final

from .call import (
    Call,
    LineError,
    SkippedError,
    address,
    any_time,
    host_name,
    number,
    status_of,
    target,
    text,
    whole,
)
from .combined import request_of

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "time": ("time_iso8601", "msec", "time_local", "time", "timestamp", "@timestamp"),
    "source_ip": ("remote_addr", "client_ip", "remote_ip"),
    "request": ("request",),
    "method": ("request_method", "method"),
    "path": ("request_uri", "uri", "path"),
    "status": ("status",),
    "host": ("host", "http_host", "server_name"),
    "user_agent": ("http_user_agent", "user_agent"),
    "forwarded_for": ("http_x_forwarded_for", "x_forwarded_for"),
    "duration_s": ("request_time",),
    "duration_ms": (),
    "body_bytes": ("content_length", "http_content_length"),
    "request_bytes": ("request_length",),
    "content_type": ("content_type", "http_content_type"),
    "country": (),
    "asn": (),
    "tls_fp": (),
    "unique": (),
}
"""Facts, and the keys under which they are looked for; the mapping's `[fields]` say others."""

_BLOCKS: Final = frozenset(
    {"block", "drop", "challenge", "jschallenge", "managedchallenge", "connectionclose"}
)


def object_of(line: str) -> dict[str, Any]:
    """The object of a line; LineError where there is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        msg = "allowed is one JSON object a line (nginx: `log_format NAME escape=json ...`)"
        raise LineError(code="not_json", message=msg) from None
    if not isinstance(found, dict):
        msg = "allowed is one JSON object a line"
        raise LineError(code="not_object", message=msg)
    return found


def parse_nginx(line: str, fields: Table[str, str], zone: tzinfo | None) -> Call:
    """A line of nginx as a call; `fields` name the keys of facts, where they are not nginx's."""
    row = object_of(line)

    def fact(name: str) -> Any:
        if name in fields:
            return _deep(row, fields[name])
        return next((row[key] for key in FIELDS[name] if row.get(key) is not None), None)

    at = any_time(_needed("time", fact("time")), zone)
    source = address(_needed("source_ip", fact("source_ip")))
    status = status_of(_needed("status", fact("status")))
    method, asked, path = _request(fact("method"), fact("path"), fact("request"))
    duration = number(fact("duration_ms"))
    if (seconds := number(fact("duration_s"))) is not None and duration is None:
        duration = seconds * 1000.0
    return Call(
        time_us=max(at - round((duration or 0.0) * 1000), 0),
        status=status,
        source_ip=source,
        method=method,
        path=path,
        host=asked or host_name(fact("host")),
        user_agent=text(fact("user_agent")),
        forwarded_for=text(fact("forwarded_for")),
        duration_ms=duration,
        body_bytes=whole(fact("body_bytes")),
        request_bytes=whole(fact("request_bytes")),
        content_type=text(fact("content_type")),
        country=_country(fact("country")),
        asn=_asn(fact("asn")),
        tls_fp=text(fact("tls_fp")),
        unique=text(fact("unique")),
    )


def parse_cloudflare(line: str, zone: tzinfo | None) -> Call:
    """A line of Cloudflare's dataset `http_requests` as a call."""
    row = object_of(line)
    at = any_time(_needed("EdgeStartTimestamp", row.get("EdgeStartTimestamp")), zone)
    source = address(_needed("ClientIP", row.get("ClientIP")))
    status = status_of(_needed("EdgeResponseStatus", row.get("EdgeResponseStatus")))
    path = row.get("ClientRequestPath") or row.get("ClientRequestURI")
    method, asked, path = _request(row.get("ClientRequestMethod"), path, None)
    ray = text(row.get("RayID"))
    shown_cert = str(row.get("ClientMTLSAuthStatus", "")).lower() == "ok"
    certificate = row.get("ClientMTLSAuthCertFingerprint")
    return Call(
        time_us=at,
        status=status,
        source_ip=source,
        method=method,
        path=path,
        host=asked or host_name(row.get("ClientRequestHost")),
        user_agent=text(row.get("ClientRequestUserAgent")),
        duration_ms=number(row.get("EdgeTimeToFirstByteMs")),
        request_bytes=whole(row.get("ClientRequestBytes")),
        country=_country(row.get("ClientCountry")),
        asn=_asn(row.get("ClientASN")),
        tls_fp=text(row.get("JA4")) or text(row.get("JA3Hash")),
        client_cert_fp=text(certificate) if shown_cert else None,
        unique=f"{ray} {at}" if ray else None,  # Logpush may deliver a line twice
        blocked=str(row.get("SecurityAction", "")).lower() in _BLOCKS,
    )


def _needed(name: str, value: Any) -> Any:
    if value is None:
        msg = f"{name}: is missing; `[fields]` of the mapping says where it is"
        raise LineError(code="missing_field", message=msg)
    return value


def _request(method: Any, path: Any, request: Any) -> tuple[str, str | None, str]:
    if isinstance(path, str) and isinstance(method, str):
        host, plain = target(path)
        if not plain.startswith("/") or not method.isalpha():
            raise SkippedError(reason="not_http")
        return method, host, plain
    if isinstance(request, str):
        return request_of(request)
    msg = "request, or method and path: is missing"
    raise LineError(code="missing_field", message=msg)


def _deep(row: dict[str, Any], key: str) -> Any:
    """The value of a key; dots lead into objects where no key has them."""
    found: Any = row
    if key in row:
        return row[key]
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _country(value: Any) -> str | None:
    code = str(value).upper()
    return code if len(code) == 2 and code.isascii() and code.isalpha() else None


def _asn(value: Any) -> int | None:
    return whole(value, 2**32 - 1) or None
