"""Control records: what a person said about alerts, in the same log as the events.

A verdict on an alert, a detector put on trial for a sender, or a plan; each with a reason and an
end. They take effect where they stand in the log, so a replay of the log gives the same result.

Whoever may write events may not write these: a record carries an HMAC-SHA256 under a control key
that analysts and workers hold, over its canonical JSON (sorted keys, no blanks, ASCII) without the
`mac` itself. `id` makes a copied record harmless, `expires` bounds what must be remembered.

>>> key = bytes(32)
>>> sign({"kind": "plan", "sender": "a"}, key)["mac"][:16]
'370b76cc8ebbf810'
"""

import hmac
import json
import os
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

from .errors import ControlError, ControlKeyMissingError, shown
from .hex_secret import hex_secret
from .inventory import PlanKind
from .partition import record_key_of
from .records import CONTROL_TYPE, Record, record_headers
from .rfc3339 import to_us
from .schema import SCHEMA_VERSION, UNKNOWN_SENDER, Time, Wire
from .vocabulary import Text64, Text128, Text256, Uuid
from .wire import MAX_EVENT_BYTES, explained

KEY_VARIABLE: Final = "CALLWATCH_CONTROL_KEY"
MIN_KEY_BYTES: Final = 16
LONGEST: Final = timedelta(days=366)
"""Nothing is said for longer than a year: what is right for ever belongs into the configuration."""
SEVERITIES: Final = ("info", "low", "medium", "high", "critical")

_LABEL = b"callwatch.control.v1\0"
_ENVELOPE: Final = {"schema", "control"}


def _network(value: str) -> str:
    return str(ip_network(value))


Network = Annotated[str, AfterValidator(_network)]


class _Control(Wire):
    """What all control records have."""

    id: Uuid = Field(description="of this record; seen again it has no effect")
    at: Time = Field(description="when it was said; files are merged by it")
    by: Text128 | None = Field(None, description="who said it")
    sender: Text128 = Field(description="the sender it is about")
    reason: Text256 = Field(description="why, for people")
    expires: Time = Field(description="event time from which it has no effect")
    mac: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="HMAC-SHA256, hexadecimal")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.at < self.expires <= self.at + LONGEST:
            msg = f"expires: allowed is a time after `at`, within {LONGEST.days} days of it"
            raise ValueError(msg)
        if self.sender == UNKNOWN_SENDER:
            msg = f"sender: allowed is a sender; given {UNKNOWN_SENDER}"
            raise ValueError(msg)
        return self

    @property
    def expires_us(self) -> int:
        """The end, microseconds since 1970."""
        return to_us(self.expires)

    @property
    def at_us(self) -> int:
        """When it was said, microseconds since 1970."""
        return to_us(self.at)


class VerdictControl(_Control):
    """An analyst's verdict on an alert."""

    kind: Literal["verdict"] = "verdict"
    alert: Uuid = Field(description="id of the alert")
    verdict: Literal["benign", "attack"]
    detector: Text64
    finding: Text64 = Field(description="reason code of the alert")
    severity: Literal["info", "low", "medium", "high", "critical"] = Field(
        description="of the alert as it was judged: what is graver is told again"
    )
    source: Network | None = Field(None, description="only from here")


class OverrideControl(_Control):
    """A detector put on trial for a sender."""

    kind: Literal["override"] = "override"
    detector: Text64
    shadow: Literal[True] = True


class PlanControl(_Control):
    """Something announced, from `starts` until before `expires`."""

    kind: Literal["plan"] = "plan"
    plan: PlanKind
    starts: Time


Control = VerdictControl | OverrideControl | PlanControl
_ADAPTER: Final[TypeAdapter[Control]] = TypeAdapter(Annotated[Control, Field(discriminator="kind")])


def sign(fields: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """Return the fields with their `mac` under a key."""
    return {**fields, "mac": _mac(fields, key)}


def parse_control(value: bytes, key: bytes | None, *, unsigned: bool = False) -> Control:
    """Return the control record in a value; ControlError with one line when there is none.

    Without a key none is accepted, unless ``unsigned`` says that the value comes from a file that
    is trusted as the configuration is.
    """
    if len(value) > MAX_EVENT_BYTES:
        msg = f"control: allowed are {MAX_EVENT_BYTES} bytes; given {len(value)}"
        raise ControlError(msg)
    try:
        found = from_json(value, allow_inf_nan=False)
    except ValueError:
        msg = "control: allowed is JSON in UTF-8"
        raise ControlError(msg) from None
    if not isinstance(found, dict) or set(found) != _ENVELOPE:
        msg = 'control: allowed is {"schema": 1, "control": {...}}'
        raise ControlError(msg)
    schema, fields = found["schema"], found["control"]
    if type(schema) is not int or schema != SCHEMA_VERSION or not isinstance(fields, dict):
        msg = f"control: allowed is schema {SCHEMA_VERSION}; given {shown(schema)}"
        raise ControlError(msg)
    try:
        if not unsigned or key is not None:
            _authenticate(fields, key)
        return _ADAPTER.validate_json(json.dumps(fields))
    except ValidationError as error:
        msg = f"control: {explained(error).message}"
        raise ControlError(msg) from None
    except (ValueError, OverflowError, RecursionError):  # numbers and times beyond all bounds
        msg = "control: allowed are finite numbers and times before the year 9998"
        raise ControlError(msg) from None


def dump_control(control: Control, key: bytes | None = None) -> bytes:
    """Return a control record in its envelope, signed where a key is given."""
    fields = json.loads(control.model_dump_json(exclude_none=True))
    fields = fields if key is None else sign(fields, key)
    return json.dumps({"schema": SCHEMA_VERSION, "control": fields}, separators=(",", ":")).encode()


def control_json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a control record in its envelope."""
    control = _ADAPTER.json_schema(by_alias=True)
    return {
        "title": "ControlRecord",
        "type": "object",
        "properties": {
            "schema": {"type": "integer", "const": SCHEMA_VERSION},
            "control": {name: part for name, part in control.items() if name != "$defs"},
        },
        "required": ["schema", "control"],
        "additionalProperties": False,
        "$defs": control["$defs"],
    }


def control_record(control: Control, value: bytes) -> Record:
    """Return the record for the events topic: under the sender's key, in the sender's partition."""
    headers = record_headers(CONTROL_TYPE, control.id, control.by or "callwatch", control.at)
    return Record(record_key_of(control.sender), value, headers)


def control_key(environ: Mapping[str, str] | None = None) -> bytes | None:
    """Return the key of CALLWATCH_CONTROL_KEY or ..._FILE; None where neither is set."""
    env = os.environ if environ is None else environ
    if env.get(KEY_VARIABLE, "").strip() and env.get(f"{KEY_VARIABLE}_FILE"):
        msg = f"{KEY_VARIABLE}: allowed is one of it and {KEY_VARIABLE}_FILE; both are set"
        raise ControlError(msg)
    return hex_secret(env, KEY_VARIABLE, MIN_KEY_BYTES, ControlError)


def read_controls(path: Path, key: bytes | None) -> list[Control]:
    """Return the control records of a file of lines; ControlError names file and line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        msg = f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"
        raise ControlError(msg) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(parse_control(line, key, unsigned=True))
        except ControlError as error:
            msg = f"{path}:{number}: {error}"
            raise ControlError(msg) from None
    return found


def _authenticate(fields: Mapping[str, Any], key: bytes | None) -> None:
    if key is None:
        msg = f"control: no control key is set ({KEY_VARIABLE}), so none can be believed"
        raise ControlKeyMissingError(msg)
    given = fields.get("mac")
    rest = {name: value for name, value in fields.items() if name != "mac"}
    if not isinstance(given, str) or not hmac.compare_digest(
        given.encode(), _mac(rest, key).encode()
    ):
        msg = f"control: mac: {'is missing' if given is None else 'does not fit the control key'}"
        raise ControlError(msg)


def _mac(fields: Mapping[str, Any], key: bytes) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hmac.digest(key, _LABEL + canonical.encode(), "sha256").hex()
