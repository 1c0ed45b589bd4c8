import json
import unicodedata
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from alerts.alert import (
    MAX_ALERT_BYTES,
    NAMESPACE,
    Alert,
    Quantity,
    Severity,
    Status,
    alert_id,
    from_rfc3339,
    to_rfc3339,
)
from alerts.errors import AlertError
from tests.unit.alerts.samples import HOSTILE, OPENED, hostile_alerts, make_alert, seeded

FORBIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def changed(**fields: object) -> bytes:
    """The plain alert as JSON with some fields overwritten."""
    return json.dumps(json.loads(make_alert().to_json()) | fields).encode()


def test_id_is_uuid5_of_compact_json() -> None:
    """An alert id can be computed by any language from the documented text."""
    text = '["payload-volume",["acmé","a\\"b"],1772323200000000]'
    assert alert_id("payload-volume", ["acmé", 'a"b'], OPENED) == str(uuid5(NAMESPACE, text))


def test_ids_differ_by_every_part() -> None:
    """Another detector, key, cut of the key, time or repeat is another incident."""
    ids = {
        alert_id("a", ["x", "y"], 1),
        alert_id("b", ["x", "y"], 1),
        alert_id("a", ["xy"], 1),
        alert_id("a", ["x,y"], 1),
        alert_id("a", ["x", "y"], 2),
        alert_id("a", ["x", "y"], 1, repeat=1),
        alert_id("a", ["x", "y"], 1, repeat=2),
    }
    assert len(ids) == 7


def test_key_is_no_bare_text() -> None:
    """A forgotten pair of brackets is an error, not the key of single letters."""
    with pytest.raises(TypeError, match="sequence of key columns"):
        alert_id("replay-burst", "acme", OPENED)


def test_severities_are_ordered_by_weight() -> None:
    """Severities sort from info to critical, not by the alphabet."""
    scale = ["info", "low", "medium", "high", "critical"]
    assert sorted(Severity) == [Severity(name) for name in scale]
    assert Severity.LOW < Severity.HIGH <= Severity.HIGH < Severity.CRITICAL
    assert not Severity.CRITICAL < Severity.HIGH
    assert Severity.MEDIUM >= Severity.LOW > Severity.INFO


def test_json_has_the_fields_in_order() -> None:
    """JSON fields stand in declaration order, nulls included, so lines compare byte by byte."""
    fields = json.loads(make_alert(sender=None).to_json())
    assert list(fields) == list(Alert.model_fields)
    assert fields["sender"] is None
    assert fields["opened_at"] == "2026-03-01T00:00:00.000000Z"
    assert fields["expected"] == {"failure_share": {"value": 0.01, "unit": "share"}}


@seeded
@given(hostile_alerts())
def test_round_trip_is_exact(alert: Alert) -> None:
    """Whatever names attackers chose, JSON gives back the same alert."""
    assert Alert.from_json(alert.to_json()) == alert


@seeded
@given(hostile_alerts())
def test_one_line_without_control_characters(alert: Alert) -> None:
    """An alert is one line of printable characters, so nothing in it acts on a terminal or log."""
    text = alert.to_json().decode()
    assert text.isprintable()
    assert not {unicodedata.category(char) for char in text} & FORBIDDEN
    assert len(text.splitlines()) == 1
    assert len(text.encode()) <= MAX_ALERT_BYTES


def test_the_largest_alert_fits() -> None:
    """An alert full of the longest names in the widest escapes stays below the size limit."""
    wide = "\U000e0041"
    alert = make_alert(
        senders=[wide * 256] * 20,
        sender_count=20,
        threat=[wide * 256] * 20,
        summary=wide * 500,
        expected={f"n{i:063}": Quantity(-1.2345678901234567e-300, wide * 32) for i in range(20)},
        observed={f"n{i:063}": Quantity(-1.2345678901234567e-300, wide * 32) for i in range(20)},
    )
    assert Alert.from_json(alert.to_json()) == alert


@pytest.mark.parametrize("text", HOSTILE)
def test_summary_is_made_printable(text: str) -> None:
    """A summary never carries an unprintable character, even before it is encoded."""
    assert make_alert(summary=f"seen: {text}").summary.isprintable()


@seeded
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_times_round_trip(us: int) -> None:
    """Every microsecond of the years 1 to 9999 survives being written and read."""
    assert from_rfc3339(to_rfc3339(us)) == us


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"score": 101}, "score: Input should be less than or equal to 100 (got 101)"),
        ({"score": "9"}, "score: Input should be a valid number (got '9')"),
        ({"score": float("nan")}, "score: Input should be a finite number (got nan)"),
        ({"confidence": -0.1}, "confidence: Input should be greater than or equal to 0 (got -0.1)"),
        ({"severity": "bad"}, "severity: Input should be 'info', 'low', 'medium', 'high'"),
        ({"opened_at": 1}, "opened_at: a time must be RFC 3339 text (got 1)"),
        ({"opened_at": "yesterday"}, "opened_at: a time must be RFC 3339 with"),
        ({"opened_at": "2026-02-30T00:00:00Z"}, "opened_at: day"),
        ({"source": "203.0.113.7/24"}, "source: 203.0.113.7/24 has host bits set"),
        ({"sources": ["a\nb"]}, "sources.0: 'a\\nb' does not appear to be"),
        ({"senders": ["a"] * 21}, "senders: Tuple should have at most 20 items"),
        ({"sender_count": 0}, "senders must not list more than are counted"),
        ({"status": "closed"}, "close_reason must be given exactly when"),
        ({"close_reason": "expired"}, "close_reason must be given exactly when"),
        ({"last_seen": "2020-01-01T00:00:00Z"}, "first_seen must not be later"),
        ({"id": "1"}, "id: String should match pattern"),
        ({"id": None, "score": 101, "count": -1, "config": ""}, "; and 1 more"),
    ],
)
def test_invalid_fields_are_named(fields: dict[str, object], fault: str) -> None:
    """What is wrong, where and what was given stand in one line."""
    with pytest.raises(AlertError) as caught:
        Alert.from_json(changed(**fields))
    message = str(caught.value)
    assert message.startswith("alert: ")
    assert fault in message
    assert message.isprintable()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'"\x1b[2J"',
        b'{"id":"' + b"\\ud800" + b'"}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b" " * (MAX_ALERT_BYTES + 1),
    ],
)
def test_garbage_is_one_printable_line(value: bytes) -> None:
    """Bytes that are no alert raise one bounded, printable line and nothing else."""
    with pytest.raises(AlertError) as caught:
        Alert.from_json(value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


@seeded
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(value: bytes) -> None:
    """Random bytes raise AlertError."""
    with pytest.raises(AlertError):
        Alert.from_json(value)


def test_unknown_fields_are_read_but_not_built() -> None:
    """A newer worker's fields are ignored when read; a misspelt one is an error when built."""
    assert Alert.from_json(changed(later_field=1)) == make_alert()
    with pytest.raises(ValidationError, match="later_field"):
        make_alert(later_field=1)


def test_half_a_surrogate_is_no_text() -> None:
    """Text that no encoder could write is refused where the alert is built."""
    with pytest.raises(ValidationError, match="unicode"):
        make_alert(sender="\ud800")
    assert make_alert(summary="\ud800").summary == "\\ud800"


def test_alerts_do_not_change() -> None:
    """An alert is frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        make_alert().status = Status.CLOSED  # type: ignore[misc]
