"""Control records: what is accepted, under which key, and what a wrong one says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.control import (
    OverrideControl,
    PlanControl,
    VerdictControl,
    control_key,
    control_record,
    dump_control,
    parse_control,
    read_controls,
    sign,
)
from ingest.errors import ControlError, ControlKeyMissingError
from ingest.partition import partition_for

KEY = bytes(range(32))
AT = datetime(2026, 3, 1, tzinfo=UTC)
COMMON: dict[str, Any] = {
    "id": "3f0a1c9e-7d55-4c1f-9a35-0a7c1f0e6b21",
    "at": AT,
    "sender": "söder",
    "reason": "a pentest \u202e ticket 4711",
    "expires": AT + timedelta(days=30),
}
VERDICT = VerdictControl(
    **COMMON,
    alert="8fb9d1ed-dd6f-5782-99d5-36501a0897e0",
    verdict="benign",
    detector="replay-burst",
    finding="same_signature",
    severity="high",
    source="203.0.113.0/24",
)
PLAN = PlanControl(**COMMON, plan="rotation", starts=AT)
TRIAL = OverrideControl(**COMMON, detector="replay-burst")


def envelope(fields: dict[str, Any]) -> bytes:
    """Return fields as a value of the topic."""
    return json.dumps({"schema": 1, "control": fields}).encode()


def fields_of(value: bytes) -> dict[str, Any]:
    """Return the fields of a value."""
    found: dict[str, Any] = json.loads(value)["control"]
    return found


@pytest.mark.parametrize("control", [VERDICT, PLAN, TRIAL], ids=lambda one: one.kind)
def test_a_signed_record_comes_back_whole(control: Any) -> None:
    """Written and read under one key it is the same, in whatever order its keys stand."""
    value = dump_control(control, KEY)
    found = parse_control(value, KEY)
    assert found.model_copy(update={"mac": None}) == control
    turned = dict(reversed(fields_of(value).items()))
    assert parse_control(envelope(turned), KEY) == found
    assert parse_control(dump_control(control), None, unsigned=True) == control


def test_every_changed_field_is_noticed() -> None:
    """Another value of any field, one more or one less, makes the signature wrong."""
    fields = fields_of(dump_control(VERDICT, KEY))
    assert len(fields) == 13
    for name in fields:
        for changed in (
            {**fields, name: "other"},
            {key: value for key, value in fields.items() if key != name},
        ):
            with pytest.raises(ControlError, match=r"mac: (is missing|does not fit)"):
                parse_control(envelope(changed), KEY)
    with pytest.raises(ControlError, match="mac: does not fit the control key"):
        parse_control(envelope({**fields, "more": 1}), KEY)


def test_nothing_is_believed_without_a_key() -> None:
    """A worker that has no key accepts no record, and says which variable is missing."""
    for value in (dump_control(VERDICT, KEY), dump_control(VERDICT)):
        with pytest.raises(ControlKeyMissingError, match="CALLWATCH_CONTROL_KEY"):
            parse_control(value, None)
    with pytest.raises(ControlError, match="mac: is missing"):
        parse_control(dump_control(VERDICT), KEY, unsigned=True)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"expires": "2026-03-01T00:00:00Z"}, "expires: allowed is a time after `at`"),
        ({"expires": "2027-06-01T00:00:00Z"}, "within 366 days"),
        ({"sender": "(unknown)"}, "sender: allowed is a sender"),
        ({"reason": ""}, "reason"),
        ({"verdict": "fine"}, "verdict"),
        ({"source": "nowhere"}, "source"),
        ({"kind": "magic"}, "control: "),
        ({"more": 1}, "more"),
        ({"at": 5}, "at"),
        ({"severity": None}, "severity"),
    ],
)
def test_what_is_signed_may_be_wrong_all_the_same(changed: dict[str, Any], fault: str) -> None:
    """A record of an analyst with a fault is refused in one line that names it."""
    fields = {**fields_of(dump_control(VERDICT)), **changed}
    with pytest.raises(ControlError, match=fault) as caught:
        parse_control(envelope(sign(fields, KEY)), KEY)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        b"", b"null", b"{", b"[" * 5000, b"\xff", b'{"schema":1}',
        b'{"schema":1,"control":{"x":NaN}}', b'{"schema":1.0,"control":{}}',
        b'{"schema":1,"control":[]}', b'{"schema":true,"control":{}}',
        b'{"schema":2,"control":{}}', b'{"schema":1,"control":{},"x":1}', b" " * 20_000,
        b'{"schema":1,"control":{"mac":5}}', b'{"schema":1,"control":{"mac":"\xc3\xa9"}}',
        b'{"schema":1,"control":{"a":"\\ud800","mac":"00"}}',
    ],
)  # fmt: skip
def test_garbage_is_refused_in_one_line(value: bytes) -> None:
    """Nothing that an attacker can write is more than a fault of one line."""
    for key in (KEY, None):
        with pytest.raises(ControlError) as caught:
            parse_control(value, key)
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_record_goes_where_its_sender_is() -> None:
    """The key is the sender's, so it meets its sender's events; the type says what it is."""
    record = control_record(PLAN, dump_control(PLAN, KEY))
    assert partition_for(record.key or b"", 6) == partition_for("söder".encode(), 6)
    headers = dict(record.headers)
    assert headers["ce_type"] == b"callwatch.control.v1"
    assert headers["ce_id"].decode() == PLAN.id


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    """Hexadecimal, 16 bytes or more; a wrong one is named without being repeated."""
    file = tmp_path / "key"
    file.write_text(KEY.hex() + "\n")
    assert control_key({}) is None
    assert control_key({"CALLWATCH_CONTROL_KEY": KEY.hex()}) == KEY
    assert control_key({"CALLWATCH_CONTROL_KEY_FILE": str(file)}) == KEY
    for wrong in ("secret-word", "00" * 15):
        with pytest.raises(ControlError, match="16 bytes and more") as caught:
            control_key({"CALLWATCH_CONTROL_KEY": wrong})
        assert wrong not in str(caught.value)
    with pytest.raises(ControlError, match="cannot be read"):
        control_key({"CALLWATCH_CONTROL_KEY_FILE": str(tmp_path / "none")})
    with pytest.raises(ControlError, match="both are set"):
        control_key({"CALLWATCH_CONTROL_KEY": KEY.hex(), "CALLWATCH_CONTROL_KEY_FILE": str(file)})
    file.write_text("")
    with pytest.raises(ControlError, match="_FILE: allowed are 16 bytes"):
        control_key({"CALLWATCH_CONTROL_KEY_FILE": str(file)})


def test_the_same_key_may_come_from_different_places(tmp_path: Path) -> None:
    """An analyst's variable and a worker's file fit each other where their bytes do."""
    file = tmp_path / "key"
    file.write_text(f"  {KEY.hex(' ', 4).upper()}\n\n")
    theirs = control_key({"CALLWATCH_CONTROL_KEY": KEY.hex()})
    ours = control_key({"CALLWATCH_CONTROL_KEY_FILE": str(file)})
    assert parse_control(dump_control(PLAN, theirs), ours).id == PLAN.id
    with pytest.raises(ControlError, match="does not fit the control key") as caught:
        parse_control(dump_control(PLAN, KEY[::-1]), ours)
    assert caught.value.code == "control_invalid"
    with pytest.raises(ControlError, match="no control key is set") as caught:
        parse_control(dump_control(PLAN, theirs), None)
    assert caught.value.code == "control_key_missing"


def test_a_file_of_records_is_read_line_by_line(tmp_path: Path) -> None:
    """Blank lines are passed over; a wrong one is named with its number."""
    path = tmp_path / "control.jsonl"
    path.write_bytes(dump_control(PLAN) + b"\n\n" + dump_control(TRIAL) + b"\n")
    assert read_controls(path, None) == [PLAN, TRIAL]
    path.write_bytes(dump_control(PLAN) + b"\n{}\n")
    with pytest.raises(ControlError, match=r"control\.jsonl:2: control: allowed is"):
        read_controls(path, None)
    with pytest.raises(ControlError, match="cannot be read"):
        read_controls(tmp_path / "none", None)


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "[" * 300 + "]" * 300, '"' + "9" * 5000 + '"']
)
def test_a_record_beyond_all_bounds_is_refused_like_any_other(value: str) -> None:
    """Whatever anybody writes is an answer in one line, with a key and without: no other error."""
    text = f'{{"schema":1,"control":{{"mac":"a","x":{value}}}}}'.encode()
    for key in (KEY, None):
        with pytest.raises(ControlError):
            parse_control(text, key)
