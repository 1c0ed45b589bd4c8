"""The callback event: metadata of one callback that a receiver verified or rejected.

No body, no secret and no query value is ever part of it. Nothing is coerced: a string is no
number and a number is no time. docs/event.md explains every field.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from . import rfc3339
from .vocabulary import (
    Country,
    Fingerprint,
    IpText,
    Kind,
    Reason,
    SourceIpFrom,
    Text32,
    Text64,
    Text128,
    Text256,
    Uuid,
    Verdict,
)
from .wire import MAX_EVENT_BYTES, dump_model, explained, parse_model

__all__ = [
    "FIELDS",
    "MAX_EVENT_BYTES",
    "SCHEMA_VERSION",
    "UNKNOWN_SENDER",
    "UNMATCHED_ENDPOINT",
    "CallbackEvent",
    "Kind",
    "Reason",
    "Report",
    "SourceIpFrom",
    "Verdict",
    "check_event",
    "dump_event",
    "dump_report",
    "json_schema",
    "parse_event",
    "parse_report",
    "report_json_schema",
]

SCHEMA_VERSION: Final = 1
UNKNOWN_SENDER: Final = "(unknown)"
UNMATCHED_ENDPOINT: Final = "(unmatched)"
_INT64: Final = 2**63 - 1


def _utc(value: object) -> object:
    if isinstance(value, str):
        return rfc3339.parse_time(value)
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return value
    if isinstance(value, datetime) and value.tzinfo is not None:
        return rfc3339.parse_time(value.isoformat())
    raise ValueError(rfc3339.ALLOWED)


def _scalar(value: object) -> object:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -_INT64 - 1 <= value <= _INT64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    msg = "a scalar (text, 64-bit integer, finite number, true, false or null)"
    raise ValueError(msg)


Time = Annotated[
    AwareDatetime,
    BeforeValidator(_utc),
    PlainSerializer(rfc3339.format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": rfc3339.PATTERN}),
]
Count = Annotated[int, Field(ge=0, le=_INT64)]
ExtValue = Annotated[
    str | int | float | bool | None,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
Ext = Annotated[dict[Text64, ExtValue], Field(max_length=8)]


class Wire(BaseModel):
    """What all values on the events topic share: strict, frozen, no unknown field, no NaN."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
    )


class CallbackEvent(Wire):
    """Metadata of one callback. The JSON name of `schema_version` is `schema`."""

    schema_version: int = Field(alias="schema", ge=1, le=_INT64, description="version, now 1")
    id: Uuid = Field(description="this record; seen again = the same record published twice")
    received_at: Time = Field(description="when the receiver got the request")
    receiver: Text128 = Field(description="`service/version@instance` that received it")
    endpoint: Text256 = Field(
        description="registered endpoint or route template, never a raw path; `(unmatched)` else"
    )
    kind: Kind = Field(description="server-to-server event, or browser redirect callback")
    sender: Text128 = Field(
        description="the claimed sender: account, tenant or integration; `(unknown)` if none"
    )
    provider: Text64 | None = Field(None, description="profile name, such as `stripe`")
    verdict: Verdict = Field(description="unverified = no verification is configured")
    reason: Reason | None = Field(
        None, description="first failing check; present exactly when rejected"
    )
    signature_ok: bool | None = Field(
        None, description="the signature itself was right, whatever the verdict"
    )
    duplicate: bool | None = Field(
        None, description="the receiver's idempotency store knew the delivery"
    )
    key_id: Text64 | None = Field(
        None, description="opaque label of the key; never the key or a hash of it"
    )
    signed_at: Time | None = Field(None, description="the timestamp under the signature")
    event_type: Text128 | None = Field(None, description="the provider's event type")
    event_created_at: Time | None = Field(None, description="the provider's creation time")
    delivery_fp: Fingerprint | None = Field(None, description="of the provider's delivery id")
    signature_fp: Fingerprint | None = Field(None, description="of the decoded signature")
    body_fp: Fingerprint | None = Field(None, description="of the raw body")
    path_fp: Fingerprint | None = Field(None, description="of a path that matched no endpoint")
    body_bytes: int = Field(ge=0, le=2**40, description="size of the request body in bytes")
    content_type: Text256 | None = Field(None, description="as received")
    method: Text32 | None = Field(None, description="as received")
    status: int | None = Field(None, ge=100, le=599, description="HTTP status as answered")
    duration_ms: float | None = Field(None, ge=0, description="time to the answer, milliseconds")
    attempt: int | None = Field(
        None, ge=1, le=1_000_000, description="from a retry header; 1 = the first attempt"
    )
    source_ip: IpText = Field(description="peer, or client behind trusted proxies")
    source_ip_from: SourceIpFrom = Field(description="how much the address can be believed")
    asn: int | None = Field(None, ge=0, le=2**32 - 1, description="autonomous system number")
    country: Country | None = Field(None, description="ISO 3166 code of two letters")
    user_agent: Text256 | None = Field(None, description="as received, cut to the limit")
    tls_fp: Text128 | None = Field(None, description="TLS client fingerprint, such as JA4")
    client_cert_fp: Text128 | None = Field(None, description="client certificate fingerprint")
    sample_rate: float = Field(
        1.0, gt=0, le=1, description="< 1 only where verified events are sampled"
    )
    ext: Ext | None = Field(None, description="the user's own scalars; detectors ignore it")

    @model_validator(mode="after")
    def _verdict_agrees(self) -> Self:
        rejected = self.verdict is Verdict.REJECTED
        if rejected and self.reason is None:
            msg = "reason: is missing; allowed: present exactly when the verdict is rejected"
            raise ValueError(msg)
        if not rejected and self.reason is not None:
            msg = (
                f"reason: allowed only when the verdict is rejected; "
                f"given {self.reason} with {self.verdict}"
            )
            raise ValueError(msg)
        if self.verdict is Verdict.VERIFIED and self.signature_ok is False:
            msg = "signature_ok: allowed are true and null when verified; given false"
            raise ValueError(msg)
        return self

    @property
    def received_at_us(self) -> int:
        """Microseconds since 1970 at which the request arrived."""
        return rfc3339.to_us(self.received_at)


FIELDS: Final = {field.alias or name: field for name, field in CallbackEvent.model_fields.items()}
"""Of the event, by their names in JSON."""


class Report(Wire):
    """Totals of one receiver process since it started, sent once a minute to every partition.

    `offered` - `sent` - the sum of `dropped` is what still waits in the process.
    """

    receiver: Text128
    process: Text64
    started_at: Time
    at: Time
    offered: Count
    sent: Count
    dropped: Annotated[dict[Text32, Count], Field(max_length=32)]
    version: Text64
    sampling: float = Field(gt=0, le=1)


class _ReportEnvelope(Wire):
    schema_version: int = Field(alias="schema", ge=1, le=_INT64)
    report: Report


def parse_event(value: bytes | str) -> CallbackEvent:
    """The event in a record's value; EventError with one line when there is none.

    Of a schema version above `SCHEMA_VERSION` unknown top-level fields are ignored: the caller
    counts the event as `newer_schema` when its `schema_version` is higher.
    """
    return parse_model(CallbackEvent, value, SCHEMA_VERSION)


def check_event(fields: Mapping[str, Any]) -> CallbackEvent:
    """The event with these fields, of Python's own types; EventError when it is none."""
    try:
        return CallbackEvent.model_validate(fields)
    except ValidationError as error:
        raise explained(error) from None


def dump_event(event: CallbackEvent) -> bytes:
    """The event as compact JSON in UTF-8, nulls left out."""
    return dump_model(event)


def parse_report(value: bytes | str) -> Report:
    """The report in a record's value; EventError with one line when there is none."""
    return parse_model(_ReportEnvelope, value, SCHEMA_VERSION).report


def dump_report(report: Report) -> bytes:
    """A report in its envelope, `{"schema":1,"report":{...}}`, as compact JSON in UTF-8."""
    return dump_model(_ReportEnvelope(schema_version=SCHEMA_VERSION, report=report))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event of this version, for publishers in any language."""
    schema = CallbackEvent.model_json_schema(by_alias=True)
    schema["properties"]["schema"]["const"] = SCHEMA_VERSION
    rejected = {"properties": {"verdict": {"const": "rejected"}}}
    verified = {"properties": {"verdict": {"const": "verified"}}}
    schema["allOf"] = [
        {
            "if": rejected,
            "then": {"properties": {"reason": {"type": "string"}}, "required": ["reason"]},
            "else": {"properties": {"reason": {"type": "null"}}},
        },
        {"if": verified, "then": {"properties": {"signature_ok": {"not": {"const": False}}}}},
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:callwatch:callback:v{SCHEMA_VERSION}",
        **schema,
    }


def report_json_schema() -> dict[str, Any]:
    """The JSON Schema of a report in its envelope."""
    schema = _ReportEnvelope.model_json_schema(by_alias=True)
    schema["properties"]["schema"]["const"] = SCHEMA_VERSION
    return {**schema, "title": "Report"}
