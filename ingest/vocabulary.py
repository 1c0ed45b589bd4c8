"""The closed sets of words in an event, and the kinds of text that its fields allow."""

from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from .prefix import normal_ip


class Kind(StrEnum):
    """A server-to-server call, or a person's browser sent back (OAuth, payment return)."""

    WEBHOOK = "webhook"
    REDIRECT = "redirect"


class Verdict(StrEnum):
    """What the receiver decided; unverified = the endpoint has no verification configured."""

    VERIFIED = "verified"
    REJECTED = "rejected"
    UNVERIFIED = "unverified"


class Reason(StrEnum):
    """Why a callback was rejected: the first failing check, in the order of the checks."""

    ENDPOINT_UNKNOWN = "endpoint_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    IP_DENIED = "ip_denied"
    CERTIFICATE_INVALID = "certificate_invalid"
    CONTENT_TYPE_UNSUPPORTED = "content_type_unsupported"
    SENDER_UNKNOWN = "sender_unknown"
    RATE_LIMITED = "rate_limited"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    KEY_UNKNOWN = "key_unknown"
    KEY_RETIRED = "key_retired"
    SIGNATURE_INVALID = "signature_invalid"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_STALE = "timestamp_stale"
    TIMESTAMP_FUTURE = "timestamp_future"
    DUPLICATE_DELIVERY = "duplicate_delivery"
    SCHEMA_INVALID = "schema_invalid"
    REDIRECT_URI_MISMATCH = "redirect_uri_mismatch"
    STATE_MISSING = "state_missing"
    STATE_MISMATCH = "state_mismatch"
    STATE_REUSED = "state_reused"
    CODE_REUSED = "code_reused"
    CODE_EXPIRED = "code_expired"
    TOKEN_IN_QUERY = "token_in_query"  # noqa: S105 - a reason, no secret
    OTHER = "other"


class SourceIpFrom(StrEnum):
    """How much the source address can be believed."""

    SOCKET = "socket"
    TRUSTED_PROXY = "trusted_proxy"
    UNTRUSTED_HEADER = "untrusted_header"


TEXT_PATTERN: Final = r"^[^\u0000-\u001f\u007f-\u009f]+$"
UUID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
FINGERPRINT_PATTERN: Final = r"^[0-9a-f]{32}$"
COUNTRY_PATTERN: Final = r"^[A-Z]{2}$"

PATTERN_MEANS: Final = {
    TEXT_PATTERN: "text that is not empty and holds no control characters",
    UUID_PATTERN: "a UUID in canonical form (lower case, with hyphens)",
    FINGERPRINT_PATTERN: "32 hexadecimal digits in lower case",
    COUNTRY_PATTERN: "a country code of two capital letters (ISO 3166)",
}


@lru_cache(maxsize=4_096)
def _canonical_ip(text: str) -> str:
    try:
        return str(normal_ip(text))
    except ValueError:
        msg = "an IPv4 or IPv6 address without a zone"
        raise ValueError(msg) from None


def _text(limit: int) -> StringConstraints:
    return StringConstraints(max_length=limit, pattern=TEXT_PATTERN)


Text32 = Annotated[str, _text(32)]
Text64 = Annotated[str, _text(64)]
Text128 = Annotated[str, _text(128)]
Text256 = Annotated[str, _text(256)]
Uuid = Annotated[str, StringConstraints(pattern=UUID_PATTERN)]
Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)]
Country = Annotated[str, StringConstraints(pattern=COUNTRY_PATTERN)]
IpText = Annotated[str, StringConstraints(max_length=45), AfterValidator(_canonical_ip)]


def clean_text(value: object, limit: int) -> str | None:
    r"""Text from a request made fit for a field: controls become spaces, long text is cut.

    None when nothing is left. Receivers pass what a caller wrote (user agent, content type)
    through this, so that nobody makes his own event invalid by a strange byte.

    >>> clean_text("curl/8\x00\n", 256), clean_text(" ", 8), clean_text("abcdef", 3)
    ('curl/8', None, 'abc')
    """
    if not isinstance(value, str):
        return None
    kept = value[:limit]
    if kept.isprintable():  # nothing to clean, as nearly always: five times faster
        return kept.strip() or None
    kept = kept.encode("utf-8", "replace").decode()
    return "".join(" " if _is_control(c) else c for c in kept).strip() or None


def clean_ip(value: object) -> str | None:
    """An address in canonical form, or None when the value is none.

    >>> clean_ip("2001:DB8::1"), clean_ip("testclient")
    ('2001:db8::1', None)
    """
    try:
        return str(normal_ip(str(ip_address(value)))) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_control(c: str) -> bool:
    return c < " " or "\x7f" <= c <= "\x9f"
