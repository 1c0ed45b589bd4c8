"""docs/asyncapi.yaml: topics, records, keys and headers in AsyncAPI 3.0, from the models."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from alerts import reference
from alerts.alert import Alert, Status
from ingest import control, event_docs, schema
from ingest.records import CALLBACK_TYPE, CONTROL_TYPE, REPORT_TYPE
from ingest.topics import TOPICS, Topic
from ingest.version import __version__

_BINDING = "0.5.0"
_HEAD = "# Generated from the models by `make docs`; do not edit.\n"

KEYS = {
    "sender": "the sender in UTF-8; for `(unknown)` the network of `source_ip`, such as "
    "`192.0.2.0/24`. Partition = murmur2(key) mod N",
    "none": "none; reports are sent to every partition",
    "alert": "the alert's `id`",
    "network": "the network of the source; `mark` for a mark",
    "state": "compact JSON: `[partition, fence, epoch, table, chunk]`",
}

CHANNELS = {
    "callwatch.events": ("events", ["callback", "report", "control"]),
    "callwatch.events.rejected": ("rejected", ["rejected"]),
    "callwatch.sources": ("sources", ["observation", "mark"]),
    "callwatch.state": ("state", ["checkpoint"]),
    "callwatch.alerts": ("alerts", ["alert"]),
    "callwatch.alerts.dead": ("deadAlerts", ["alert"]),
}
OPERATIONS = {
    "receiveEvents": ("receive", "events", "Receivers publish; workers read."),
    "sendRejected": ("send", "rejected", "Workers set aside what is no event."),
    "sendSources": ("send", "sources", "Workers tell what concerns other senders too."),
    "receiveSources": ("receive", "sources", "The owner of a partition there merges them."),
    "sendState": ("send", "state", "Workers keep their state with its offset."),
    "receiveState": ("receive", "state", "The next owner of a partition restores it."),
    "sendAlerts": ("send", "alerts", "Workers tell every state of an incident."),
    "receiveAlerts": ("receive", "alerts", "The router brings alerts to people."),
}


def document() -> dict[str, Any]:
    """The whole document."""
    shared: dict[str, Any] = {}
    messages = dict(_messages(shared))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "callwatch",
            "version": __version__,
            "description": "Behavioural monitoring of webhook and redirect callbacks. "
            "Fields: docs/event.md and docs/alerts.md; topics: docs/kafka.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "localhost:9092",
                "protocol": "kafka",
                "description": "as CALLWATCH_KAFKA_BOOTSTRAP_SERVERS says",
            }
        },
        "channels": {CHANNELS[topic.name][0]: _channel(topic) for topic in TOPICS},
        "operations": {
            name: {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "summary": summary,
            }
            for name, (action, channel, summary) in OPERATIONS.items()
        },
        "components": {"messages": messages, "schemas": dict(sorted(shared.items()))},
    }


def text() -> str:
    """The document as YAML."""
    plain = json.loads(json.dumps(document()))  # equal parts are written out, not as aliases
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return _HEAD + str(body)


def _channel(topic: Topic) -> dict[str, Any]:
    _, names = CHANNELS[topic.name]
    settings: dict[str, Any] = {
        name: [value] if name == "cleanup.policy" else int(value) if value.isdigit() else value
        for name, value in topic.settings.items()
    }
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": settings,
                "bindingVersion": _BINDING,
            }
        },
    }


def _messages(shared: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    vectors = json.loads(event_docs.vectors_text())
    event = json.loads(vectors["events"][0]["canonical"])
    numbers = {name: _number(says) for name, says in _PLACES.items()}
    yield "callback", _message(
        "Metadata of one callback", "sender", event_headers(CALLBACK_TYPE),
        hoisted(schema.json_schema(), shared), event,
    )  # fmt: skip
    yield "report", _message(
        "Totals of one receiver process, once a minute", "none", event_headers(REPORT_TYPE),
        hoisted(schema.report_json_schema(), shared), REPORT,
    )  # fmt: skip
    yield "control", _message(
        "What a person said: a verdict, an override or a plan", "sender",
        event_headers(CONTROL_TYPE), hoisted(control.control_json_schema(), shared), CONTROL,
    )  # fmt: skip
    yield (
        "rejected",
        {
            **_message("The first 16 KiB of a record that is no event", "none", REJECTED_HEADERS),
            "contentType": "application/octet-stream",
        },
    )
    yield "observation", _message(
        "An event that concerns other senders too", "network", _object(numbers),
        {"$ref": "#/components/messages/callback/payload"},
    )  # fmt: skip
    yield "mark", _message("How far a partition of the events is", "network", _object(numbers))
    yield (
        "checkpoint",
        {
            **_message(
                "callwatch's own: a compressed snapshot in chunks, and its manifest", "state"
            ),
            "contentType": "application/octet-stream",
        },
    )
    alert = Alert.model_json_schema(mode="serialization")
    yield "alert", _message(
        "One state of one incident", "alert", None, hoisted(alert, shared),
        json.loads(reference.example(Status.OPEN).to_json()),
    )  # fmt: skip


def _message(
    summary: str,
    key: str,
    headers: dict[str, Any] | None = None,
    payload: dict[str, Any] | None = None,
    example: dict[str, Any] | None = None,
) -> dict[str, Any]:
    made: dict[str, Any] = {"summary": summary}
    if headers is not None:
        made["headers"] = headers
    if payload is not None:
        made["payload"] = payload
    if example is not None:
        made["examples"] = [{"payload": example}]
    keys = {"type": "null" if key == "none" else "string", "description": KEYS[key]}
    made["bindings"] = {"kafka": {"key": keys, "bindingVersion": _BINDING}}
    return made


def hoisted(model: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A model's schema with its definitions among the shared ones; one name means one thing."""
    own = model.get("$defs", {})
    for name, part in own.items():
        moved = _moved(part)
        if shared.setdefault(name, moved) != moved:
            msg = f"two different schemas are called {name}"
            raise ValueError(msg)
    rest = {name: part for name, part in model.items() if name not in ("$defs", "$schema", "$id")}
    found: dict[str, Any] = _moved(rest)
    return found


def _moved(part: Any) -> Any:
    if isinstance(part, list):
        return [_moved(one) for one in part]
    if not isinstance(part, dict):
        return part
    if "discriminator" in part:  # OpenAPI's object; AsyncAPI's is a name alone
        part = {**part, "discriminator": part["discriminator"]["propertyName"]}
    return {
        name: value.replace("#/$defs/", "#/components/schemas/")
        if name == "$ref" and isinstance(value, str)
        else _moved(value)
        for name, value in part.items()
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _number(says: str) -> dict[str, Any]:
    return {"type": "string", "pattern": "^[0-9]+$", "description": says}


def event_headers(kind: str) -> dict[str, Any]:
    """CloudEvents 1.0 in binary mode."""
    return _object(
        {
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_id": {"type": "string", "description": "the record's id"},
            "ce_source": {"type": "string", "description": "the receiver, percent-encoded"},
            "ce_type": {"type": "string", "const": kind},
            "ce_time": {"type": "string", "format": "date-time"},
            "content-type": {"type": "string", "const": "application/json"},
        }
    )


_PLACES = {
    "partition": "of the events",
    "place": "its offset there",
    "now": "stream time of that partition, microseconds since 1970",
}
REJECTED_HEADERS = _object(
    {
        "topic": {"type": "string"},
        "partition": _number("where it stood"),
        "offset": _number("where it stood"),
        "reason": {"type": "string", "description": "a fixed word"},
        "message": {"type": "string", "description": "what is wrong, in one line"},
        "last": _number("of a batch that cannot be read: its last offset; else missing"),
    }
)
REPORT: dict[str, Any] = {
    "schema": 1,
    "report": {
        "receiver": "shop/1.4.0@shop-1",
        "process": "2f3a9c1e",
        "started_at": "2026-11-20T08:00:00.000000Z",
        "at": "2026-11-20T08:30:00.000000Z",
        "offered": 1200,
        "sent": 1198,
        "dropped": {"queue_full": 2},
        "version": "0.1.0",
        "sampling": 1.0,
    },
}
CONTROL: dict[str, Any] = {
    "schema": 1,
    "control": {
        "kind": "plan",
        "id": "2748a95e-57c0-4be0-a297-2f8abe8d0125",
        "at": "2026-11-20T08:30:00.000000Z",
        "sender": "acme-stripe",
        "reason": "new signing key",
        "plan": "rotation",
        "starts": "2026-11-21T00:00:00.000000Z",
        "expires": "2026-11-22T00:00:00.000000Z",
    },
}
