"""The parts of docs/ that are generated from the model: JSON Schema, tables and test vectors.

python -m ingest.event_docs [docs]
"""

import json
import sys
from pathlib import Path
from typing import Any

from .fingerprint import TEST_VECTORS, Label, fingerprint
from .partition import murmur2, partition_for
from .prefix import source_prefix
from .records import event_record
from .schema import FIELDS, CallbackEvent, json_schema, parse_event
from .vocabulary import PATTERN_MEANS, Reason


def schema_text() -> str:
    """docs/schema/callback.v1.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=True) + "\n"


def field_table() -> str:
    """A row for every field of the event: name, type and limits, meaning."""
    schema = json_schema()
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for shown, field in FIELDS.items():
        kind = _kind(schema["properties"][shown], schema["$defs"])
        label = f"**`{shown}`**" if field.is_required() else f"`{shown}`"
        rows.append(f"| {label} | {kind} | {field.description} |")
    return "\n".join(rows)


def reason_list() -> str:
    """The reasons in the order of the checks."""
    return ", ".join(f"`{reason}`" for reason in Reason) + "."


def vector_table() -> str:
    """Fingerprint test vectors; pepper and data in hex."""
    rows = ["| pepper (hex) | label | data (hex) | fingerprint |", "|---|---|---|---|"]
    for pepper, label, data, expected in TEST_VECTORS:
        shown = f"`{data.hex()}`" if data else "(empty)"
        rows.append(f"| `{pepper.hex()}` | {label} | {shown} | `{expected}` |")
    return "\n".join(rows)


_KEYS = (b"", b"a", b"ab", b"abc", b"acme-stripe", b"acme/\xc3\xa9", bytes(range(256)))
_PARTITIONS = (1, 6, 12, 100)
_ADDRESSES = (
    "192.0.2.7",
    "::ffff:192.0.2.7",
    "::ffff:c000:207",
    "2001:DB8:1:2::3",
    "2001:db8::1",
    "1:0:2::9",
    "0:1::1",
    "::1",
)
_DATA: tuple[tuple[bytes, Label, bytes], ...] = (
    (b"p" * 16, "delivery", "Zustellung-\u00e9".encode()),
    (bytes(range(200)), "body", bytes(range(256)) * 5),  # a pepper longer than SHA-256's block
    (bytes(range(32)), "signature", b"\x00"),
    (bytes(range(32)), "body", b"\x00"),
)
_EVENTS: tuple[dict[str, object], ...] = (
    {
        "schema": 1,
        "id": "2748a95e-57c0-4be0-a297-2f8abe8d0123",
        "received_at": "2026-11-20T08:30:00.123456Z",
        "receiver": "caf\u00e9/1.4.0@shop 1",
        "endpoint": "/hooks/{sender}",
        "kind": "webhook",
        "sender": "acme-stripe",
        "verdict": "rejected",
        "reason": "signature_invalid",
        "signature_ok": False,
        "body_bytes": 512,
        "duration_ms": 1.25,
        "source_ip": "2001:db8::7",
        "source_ip_from": "trusted_proxy",
        "user_agent": 'a "quoted" \U0001f680 agent',
    },
    {
        "schema": 1,
        "id": "2748a95e-57c0-4be0-a297-2f8abe8d0124",
        "received_at": "2026-11-20T08:30:01.000000Z",
        "receiver": "shop/1.4.0@shop-1",
        "endpoint": "(unmatched)",
        "kind": "webhook",
        "sender": "(unknown)",
        "verdict": "rejected",
        "reason": "endpoint_unknown",
        "path_fp": "ceade1a17b5d4adeafd49a7c933d608f",
        "body_bytes": 0,
        "source_ip": "203.0.113.9",
        "source_ip_from": "socket",
    },
)


def vectors_text() -> str:
    """docs/fingerprint-vectors.json: what a publisher in another language checks itself against.

    Bytes are in hex. The canonical form of an event is compact JSON in UTF-8, fields in the order
    of the schema, nulls and a `sample_rate` of 1 left out; other forms are read as well.
    """
    computed = [(*one, fingerprint(*one)) for one in _DATA]
    keys = [{"key": key.hex(), "murmur2": murmur2(key), "partition": _parts(key)} for key in _KEYS]
    vectors = {
        "fingerprints": [
            {"pepper": pepper.hex(), "label": label, "data": data.hex(), "fingerprint": expected}
            for pepper, label, data, expected in (*TEST_VECTORS, *computed)
        ],
        "partitions": keys,
        "prefixes": [{"ip": ip, "prefix": source_prefix(ip)} for ip in _ADDRESSES],
        "events": [_event_vector(fields) for fields in _EVENTS],
    }
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


def canonical(event: CallbackEvent) -> str:
    """An event as the vectors have it."""
    fields = event.model_dump(mode="json", exclude_none=True)
    if fields["sample_rate"] == 1:
        del fields["sample_rate"]
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _event_vector(fields: dict[str, object]) -> dict[str, object]:
    event = parse_event(json.dumps(fields))
    record = event_record(event)
    return {
        "event": dict(sorted(fields.items())),
        "canonical": canonical(event),
        "key": (record.key or b"").hex(),
        "headers": {name: value.decode() for name, value in record.headers},
        "partition": _parts(record.key or b""),
    }


def _parts(key: bytes) -> dict[str, int]:
    return {str(count): partition_for(key, count) for count in _PARTITIONS}


def filled(text: str) -> str:
    """A document with its generated parts written anew between their markers."""
    parts = {"fields": field_table(), "reasons": reason_list(), "vectors": vector_table()}
    for name, part in parts.items():
        start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            msg = f"the document has no {start.strip()} ... {end}"
            raise ValueError(msg)
        text = f"{before}{start}{part}\n{end}{after}"
    return text


def write(docs: Path) -> None:
    """Write the generated files and parts below `docs`."""
    (docs / "schema").mkdir(exist_ok=True)
    (docs / "schema" / "callback.v1.json").write_text(schema_text(), "utf-8")
    (docs / "fingerprint-vectors.json").write_text(vectors_text(), "utf-8")
    page = docs / "event.md"
    page.write_text(filled(page.read_text("utf-8")), "utf-8")


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return _kind(
            next(item for item in schema["anyOf"] if item != {"type": "null"}), definitions
        )
    if "$ref" in schema:
        words = definitions[schema["$ref"].rpartition("/")[2]]["enum"]
        return ", ".join(words) if len(words) <= 4 else "one of the reasons below"
    if schema.get("format") == "date-time":
        return "RFC 3339 with offset"
    if schema.get("type") == "object":
        return f"map of scalars, at most {schema['maxProperties']}"
    if "const" in schema:
        return f"{schema['type']}, {schema['const']}"
    if "pattern" in schema and "maxLength" not in schema:
        return PATTERN_MEANS[schema["pattern"]]
    return f"{schema['type']}{_limits(schema)}"


def _limits(schema: dict[str, Any]) -> str:
    words = {
        "maxLength": "at most {} characters",
        "minimum": ">= {}",
        "exclusiveMinimum": "> {}",
        "maximum": "<= {}",
    }
    found = [text.format(schema[name]) for name, text in words.items() if name in schema]
    return f", {', '.join(found)}" if found else ""


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
