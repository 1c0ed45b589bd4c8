"""The event: what is valid, what is not, and how a fault is named."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import EVENT_CODES, EventError
from ingest.schema import (
    MAX_EVENT_BYTES,
    CallbackEvent,
    Kind,
    Reason,
    Report,
    SourceIpFrom,
    Verdict,
    dump_event,
    dump_report,
    json_schema,
    parse_event,
    parse_report,
)

BASE: dict[str, Any] = {
    "schema": 1,
    "id": "2748a95e-57c0-4be0-a297-2f8abe8d0123",
    "received_at": "2026-11-20T08:30:00Z",
    "receiver": "shop/1.4.0@shop-1",
    "endpoint": "/hooks/stripe",
    "kind": "webhook",
    "sender": "acme-stripe",
    "verdict": "verified",
    "body_bytes": 512,
    "source_ip": "192.0.2.7",
    "source_ip_from": "socket",
}
FULL: dict[str, Any] = BASE | {
    "provider": "stripe",
    "verdict": "rejected",
    "reason": "timestamp_stale",
    "signature_ok": True,
    "duplicate": False,
    "key_id": "k1",
    "signed_at": "2026-11-20T08:20:00Z",
    "event_type": "invoice.paid",
    "event_created_at": "2026-11-20T08:19:59.5+01:00",
    "delivery_fp": "0" * 32,
    "signature_fp": "1" * 32,
    "body_fp": "a" * 32,
    "path_fp": "f" * 32,
    "content_type": "application/json",
    "method": "POST",
    "status": 401,
    "duration_ms": 3,
    "attempt": 2,
    "asn": 64500,
    "country": "IE",
    "user_agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks) ünïcode",
    "tls_fp": "t13d1715h2_5b57614c22b0",
    "client_cert_fp": "ab:cd",
    "sample_rate": 0.25,
    "ext": {"a": 1, "b": 1.5, "c": "text", "d": True, "e": None},
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"schema": 0}, "schema: allowed is greater than or equal to 1; given 0"),
    ({"schema": "1"}, 'schema: allowed is a valid integer; given "1"'),
    ({"schema": True}, "schema: allowed is a valid integer; given true"),
    ({"colour": 1}, "colour: is no known field; allowed are those of the schema"),
    ({"id": BASE["id"].upper()}, "id: allowed is a UUID in canonical form"),
    ({"id": BASE["id"].replace("-", "")}, "id: allowed is a UUID in canonical form"),
    ({"received_at": 1_763_627_400}, "received_at: allowed is RFC 3339 with an offset"),
    ({"received_at": "2026-11-20T08:30:00"}, "received_at: allowed is RFC 3339 with an offset"),
    ({"received_at": "2026-11-20 08:30:00Z"}, "received_at: allowed is RFC 3339 with an offset"),
    ({"received_at": "2026-11-31T08:30:00Z"}, "received_at: allowed is RFC 3339 with an offset"),
    ({"received_at": "0001-01-01T00:00:00+14:00"}, "received_at: allowed is RFC 3339"),
    ({"received_at": "0000-01-01T00:00:00Z"}, "received_at: allowed is RFC 3339"),
    ({"received_at": None}, "received_at: allowed is RFC 3339"),
    ({"receiver": ""}, "receiver: allowed is text that is not empty"),
    ({"receiver": "x" * 129}, "receiver: allowed is at most 128 characters"),
    ({"sender": "a\nb"}, "sender: allowed is text that is not empty and holds no control"),
    ({"sender": "a\x85"}, "sender: allowed is text that is not empty and holds no control"),
    ({"sender": 7}, "sender: allowed is a valid string; given 7"),
    ({"endpoint": "/" * 257}, "endpoint: allowed is at most 256 characters"),
    ({"kind": "email"}, "kind: allowed is 'webhook' or 'redirect'; given \"email\""),
    ({"verdict": "rejected"}, "reason: is missing; allowed: present exactly when"),
    ({"reason": "other"}, "reason: allowed only when the verdict is rejected; given other"),
    ({"signature_ok": False}, "signature_ok: allowed are true and null when verified"),
    ({"signature_ok": 1}, "signature_ok: allowed is a valid boolean; given 1"),
    ({"key_id": "k" * 65}, "key_id: allowed is at most 64 characters"),
    ({"delivery_fp": "A" * 32}, "delivery_fp: allowed is 32 hexadecimal digits in lower case"),
    ({"body_bytes": -1}, "body_bytes: allowed is greater than or equal to 0; given -1"),
    ({"body_bytes": 2**40 + 1}, "body_bytes: allowed is less than or equal to"),
    ({"body_bytes": 1.0}, "body_bytes: allowed is a valid integer; given 1.0"),
    ({"body_bytes": True}, "body_bytes: allowed is a valid integer; given true"),
    ({"body_bytes": "1"}, 'body_bytes: allowed is a valid integer; given "1"'),
    ({"status": 99}, "status: allowed is greater than or equal to 100; given 99"),
    ({"duration_ms": math.nan}, "duration_ms: allowed is a finite number; given nan"),
    ({"duration_ms": math.inf}, "duration_ms: allowed is a finite number; given inf"),
    ({"attempt": 0}, "attempt: allowed is greater than or equal to 1; given 0"),
    ({"source_ip": "192.0.2"}, "source_ip: allowed is an IPv4 or IPv6 address"),
    ({"source_ip": "fe80::1%eth0"}, "source_ip: allowed is an IPv4 or IPv6 address"),
    ({"asn": 2**32}, "asn: allowed is less than or equal to 4294967295"),
    ({"country": "ie"}, "country: allowed is a country code of two capital letters"),
    ({"user_agent": "x" * 257}, "user_agent: allowed is at most 256 characters"),
    ({"sample_rate": 0}, "sample_rate: allowed is greater than 0; given 0"),
    ({"sample_rate": None}, "sample_rate: allowed is a valid number; given null"),
    ({"ext": {str(n): n for n in range(9)}}, "ext: allowed is at most 8 entries; given an object"),
    ({"ext": {"a": [1]}}, "ext.a: allowed is a scalar"),
    ({"ext": {"a": 2**63}}, "ext.a: allowed is a scalar"),
    ({"ext": {"a": math.nan}}, "ext.a: allowed is a scalar"),
    ({"ext": {"": 1}}, 'ext."": allowed is text that is not empty'),
    ({"ext": []}, "ext: allowed is an object; given a list of 0"),
    ({"status": 1, "attempt": 0, "country": 5}, "status: allowed is greater than or equal to 100"),
]

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _parse(fields: dict[str, Any]) -> CallbackEvent:
    return parse_event(json.dumps(fields))


def _fault(value: bytes | str) -> EventError:
    with pytest.raises(EventError) as caught:
        parse_event(value)
    error = caught.value
    assert error.code in EVENT_CODES
    assert str(error) == error.message
    assert error.message.isascii()
    assert error.message.isprintable()
    assert len(error.message) < 400
    return error


def test_an_event_keeps_every_field() -> None:
    """Parsing, dumping and parsing again gives the same event, times in UTC with microseconds."""
    event = _parse(FULL)
    assert parse_event(dump_event(event)) == event
    wanted = FULL | {
        "received_at": "2026-11-20T08:30:00.000000Z",
        "signed_at": "2026-11-20T08:20:00.000000Z",
        "event_created_at": "2026-11-20T07:19:59.500000Z",
    }
    assert json.loads(dump_event(event)) == wanted


def test_only_the_documented_fields_are_required() -> None:
    """Without any one of its required fields an event is invalid, and the field is named."""
    assert _parse(BASE).sample_rate == 1.0
    for name in BASE:
        error = _fault(json.dumps({key: value for key, value in BASE.items() if key != name}))
        assert (error.code, error.field, error.message) == (
            "schema_invalid",
            name,
            f"{name}: is missing",
        )


@pytest.mark.parametrize(("change", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    """A wrong value gives one line: the field, what is allowed, what was given."""
    error = _fault(json.dumps(BASE | change))
    assert error.code == "schema_invalid"
    assert error.message.startswith(message)


def test_the_number_of_further_faults_is_told() -> None:
    """The first fault is named and the others are counted."""
    error = _fault(json.dumps(BASE | {"status": 1, "attempt": 0, "country": 5}))
    assert error.message.endswith("given 1 (and 2 more)")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b'{"a": NaN, "schema": 2}', "not_json"),
        ("\ud800", "not_json"),
        (b'{"a":"\\ud800"}', "not_json"),
        (b"[" * 10_000, "not_json"),
        (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "not_json"),
        (b'{"schema":1' + b"0" * 5_000 + b"}", "not_json"),
        (b"[]", "not_object"),
        (b"null", "not_object"),
        (b'"text"', "not_object"),
        (b"7", "not_object"),
        (b"{}", "schema_invalid"),
        (b"x" * (MAX_EVENT_BYTES + 1), "too_large"),
        (b'{"a":' * 100_000, "too_large"),
        (b"x" * 5_000_000, "too_large"),
        ("é" * (MAX_EVENT_BYTES // 2 + 1), "too_large"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_event_is_refused_with_a_code(value: bytes | str, code: str) -> None:
    """Garbage, deep nesting, huge numbers and huge values all end in one clean EventError."""
    assert _fault(value).code == code


def test_the_size_limit_is_exact() -> None:
    """16,384 bytes are allowed, one more is not."""
    room = MAX_EVENT_BYTES - len(json.dumps(BASE | {"ext": {"a": ""}}))
    assert _parse(BASE | {"ext": {"a": "x" * room}}).ext == {"a": "x" * room}
    assert _fault(json.dumps(BASE | {"ext": {"a": "x" * (room + 1)}})).code == "too_large"


def test_a_newer_schema_may_have_more_fields() -> None:
    """Of a higher version unknown top-level fields are ignored, and the rest is still checked."""
    event = _parse(BASE | {"schema": 2, "colour": {"deep": [1]}})
    assert event.schema_version == 2
    assert json.loads(dump_event(event))["schema"] == 2
    assert _fault(json.dumps(BASE | {"schema": 2, "colour": 1, "status": 1})).field == "status"
    assert _fault(json.dumps(BASE | {"schema": 2, "ext": {"a": {}}})).field == "ext"


def test_hostile_names_and_values_are_escaped() -> None:
    """Control and bidi characters of an attacker reach neither message nor field."""
    error = _fault(json.dumps(BASE | {"a\n\u202e\x1b[2J": 1}))
    assert error.message.startswith('"a\\n\\u202e\\u001b[2J": is no known field')
    assert error.field is None
    assert _fault(json.dumps(BASE | {"kind": "\x1b\u2028" + "x" * 9_000})).field == "kind"


def test_times_are_truncated_to_microseconds() -> None:
    """Digits after the microsecond are cut off, so that every reader finds the same integer."""
    event = _parse(BASE | {"received_at": "1970-01-01T01:00:00.0000019+01:00"})
    assert event.received_at_us == 1


def test_an_address_has_one_spelling() -> None:
    """An IPv6 address is compressed, and an IPv4-mapped one is IPv4."""
    assert _parse(BASE | {"source_ip": "2001:DB8:0::1"}).source_ip == "2001:db8::1"
    assert _parse(BASE | {"source_ip": "::ffff:192.0.2.7"}).source_ip == "192.0.2.7"


def test_an_event_can_be_made_in_python() -> None:
    """Receivers construct events by attribute names and Python's types, under the same rules."""
    event = CallbackEvent(
        schema_version=1,
        id=BASE["id"],
        received_at=datetime(2026, 11, 20, 9, 30, tzinfo=timezone(timedelta(hours=1))),
        receiver=BASE["receiver"],
        endpoint=BASE["endpoint"],
        kind=Kind.WEBHOOK,
        sender=BASE["sender"],
        verdict=Verdict.VERIFIED,
        body_bytes=512,
        source_ip=BASE["source_ip"],
        source_ip_from=SourceIpFrom.SOCKET,
    )
    assert event == _parse(BASE)
    assert event.received_at.tzinfo is UTC


def test_the_words_are_in_the_documented_order() -> None:
    """Kinds, verdicts and reasons are numbered by their order, which is the documented one."""
    assert [*Kind] == ["webhook", "redirect"]
    assert [*Verdict] == ["verified", "rejected", "unverified"]
    assert [*SourceIpFrom] == ["socket", "trusted_proxy", "untrusted_header"]
    reasons = [*Reason]
    assert (len(reasons), reasons[0], reasons[12], reasons[-1]) == (
        26,
        "endpoint_unknown",
        "signature_invalid",
        "other",
    )


def test_an_event_cannot_be_changed() -> None:
    """Events are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        _parse(BASE).sender = "other"  # type: ignore[misc]


def test_an_error_survives_pickling() -> None:
    """Errors cross process borders whole."""
    import pickle

    error = pickle.loads(pickle.dumps(EventError("too_large", "value: too large", "id")))
    assert (error.code, error.message, error.field) == ("too_large", "value: too large", "id")


def test_a_report_keeps_every_field() -> None:
    """A report travels in its envelope and is checked like an event."""
    report = Report(
        receiver="shop/1@a",
        process="7-ab",
        started_at="2026-11-20T08:30:00Z",  # type: ignore[arg-type]
        at="2026-11-20T08:31:00Z",  # type: ignore[arg-type]
        offered=5,
        sent=3,
        dropped={"queue_full": 2},
        version="0.1.0",
        sampling=1.0,
    )
    value = dump_report(report)
    assert parse_report(value) == report
    assert list(json.loads(value)) == ["schema", "report"]
    with pytest.raises(EventError, match=r"report\.sent: allowed is greater than or equal to 0"):
        parse_report(value.replace(b'"sent":3', b'"sent":-3'))


def _json_schema_accepts(fields: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(fields))


def test_the_json_schema_agrees_with_the_model() -> None:
    """What the model refuses, the published JSON Schema refuses, but for what it cannot say."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert _json_schema_accepts(BASE)
    assert _json_schema_accepts(FULL)
    unsayable = {"received_at", "source_ip", "duration_ms", "body_bytes", "ext"}
    for change, message in WRONG:
        if not unsayable & change.keys():
            assert not _json_schema_accepts(BASE | change), message


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_never_breaks_the_parser(value: bytes | str) -> None:
    """Random bytes and text give an EventError and nothing else."""
    _fault(value)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), _json, min_size=1, max_size=4))
def test_random_values_never_break_the_parser(change: dict[str, Any]) -> None:
    """Any JSON in any field is accepted or refused with one line; what is accepted round-trips."""
    value = json.dumps(FULL | change)
    try:
        event = parse_event(value)
    except EventError:
        _fault(value)
    else:
        assert parse_event(dump_event(event)) == event


@given(st.text(min_size=1, max_size=20), _json)
def test_unknown_fields_are_always_refused(name: str, value: Any) -> None:
    """At version 1 no unknown field gets through, whatever its name."""
    if name not in FULL:
        try:
            text = json.dumps(BASE | {name: value})
        except ValueError:
            return
        assert _fault(text).code in {"schema_invalid", "not_json", "too_large"}
