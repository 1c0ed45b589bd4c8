"""The generated parts of docs/alerts.md: fields from the model, examples from the encoders.

`python -m alerts.reference docs/alerts.md` writes them again; a test keeps them equal.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from alerts.alert import Alert, Quantity, Severity, Status, alert_id
from alerts.explain import runbook
from alerts.formats import ocsf
from alerts.threat import expand, techniques

_OPENED = 1_772_323_200_000_000
_NAMES = {"Quantity": "{value, unit}"}
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def example(status: Status = Status.OPEN) -> Alert:
    """The alert of the documentation: a replay that was accepted, in one of its states."""
    later = {Status.OPEN: 0, Status.UPDATED: 60_000_000, Status.CLOSED: 7_200_000_000}[status]
    repeats = 3 if status is Status.OPEN else 7
    return Alert(
        id=alert_id("replay-burst", ["acme-stripe"], _OPENED),
        detector="replay-burst",
        reason="same_signature",
        severity=Severity.CRITICAL,
        score=97.0,
        confidence=0.99,
        status=status,
        close_reason="expired" if status is Status.CLOSED else None,
        sender="acme-stripe",
        senders=("acme-stripe",),
        sender_count=1,
        provider="stripe",
        endpoint="/hooks/stripe",
        source="203.0.113.0/24",
        sources=("203.0.113.7",),
        source_count=1,
        first_seen=_OPENED - 4_000_000,
        last_seen=_OPENED + min(later, 42_000_000),
        opened_at=_OPENED,
        updated_at=_OPENED + later,
        count=repeats,
        summary=f"acme-stripe: one delivery came {repeats} times, and repeats were accepted.",
        expected={"presentations": Quantity(1.0, "events")},
        observed={"presentations": Quantity(float(repeats), "events")},
        events=("3f0a1c9e-7d55-4c1f-9a35-0a7c1f0e6b21",),
        threat=tuple(techniques("replay-burst", "same_signature", Severity.CRITICAL)),
        runbook=runbook("replay-burst", "same_signature"),
        config="0123456789ab",
    )


def field_table() -> str:
    """Every field of the alert in order, with type, bounds and meaning."""
    schema = Alert.model_json_schema(mode="serialization")
    as_built = Alert.model_json_schema()["properties"]
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, given in schema["properties"].items():
        is_time = given.get("type") == "string" and as_built[name].get("type") == "integer"
        type_ = "time" if is_time else _type(given, schema)
        rows.append(f"| `{name}` | {type_} | {given['description']} |")
    return "\n".join(rows)


def threat_table() -> str:
    """Every id of the example with its name, version and fit."""
    alert = example()
    entries = [(id_, expand(id_, alert.detector, alert.reason)) for id_ in alert.threat]
    return "\n".join(
        ["| id | meaning and fit |", "|---|---|", *(f"| `{id_}` | {one} |" for id_, one in entries)]
    )


def render(page: str) -> str:
    """The page with its generated parts written again."""
    parts = {
        "fields": field_table(),
        "native": _json(json.loads(example().to_json())),
        "ocsf": _json(ocsf.finding(example())),
        "threat": threat_table(),
        "life": _life(),
    }
    return _PART.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", page)


def _json(value: object) -> str:
    return f"```json\n{json.dumps(value, indent=1, ensure_ascii=False)}\n```"


def _life() -> str:
    """What changes between the states of one incident, natively and in OCSF."""
    rows = [
        "| `status` | `updated_at` | `count` | `close_reason` | OCSF activity | OCSF status |",
        "|---|---|---|---|---|---|",
    ]
    for status in Status:
        native, finding = json.loads(example(status).to_json()), ocsf.finding(example(status))
        rows.append(
            f"| {native['status']} | {native['updated_at']} | {native['count']} | "
            f"{native['close_reason'] or ''} | {finding['activity_id']} {finding['activity_name']} "
            f"| {finding['status_id']} {finding['status']} |"
        )
    return "\n".join(rows)


def _type(given: dict[str, Any], schema: dict[str, Any]) -> str:
    """A short name of a JSON Schema type, with its bounds."""
    if "anyOf" in given:
        return " or ".join(_type(one, schema) for one in given["anyOf"])
    if "$ref" in given:
        name = given["$ref"].rpartition("/")[2]
        values = schema["$defs"][name].get("enum")
        return ", ".join(values) if values else _NAMES[name]
    if "enum" in given:
        return ", ".join(given["enum"])
    if given["type"] == "array":
        return f"list of {_type(given['items'], schema)}, at most {given['maxItems']}"
    if given["type"] == "object":
        (item,) = given["patternProperties"].values()
        return f"map of names to {_type(item, schema)}, at most {given['maxProperties']}"
    low, high = given.get("minimum"), given.get("maximum")
    if high is not None:
        return f"{given['type']} {low:g} to {high:g}"
    if low is not None:
        return f"{given['type']} >= {low:g}"
    length = given.get("maxLength")
    return f"{given['type']} <= {length}" if length else str(given["type"])


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
