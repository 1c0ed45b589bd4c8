"""The parts of docs/ that are generated from the model: the JSON Schema and the tables.

python -m ingest.event_docs [docs]
"""

import json
import sys
from pathlib import Path
from typing import Any

from .fingerprint import TEST_VECTORS
from .schema import CallbackEvent, json_schema
from .vocabulary import PATTERN_MEANS, Reason


def schema_text() -> str:
    """docs/schema/callback.v1.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=True) + "\n"


def field_table() -> str:
    """A row for every field of the event: name, type and limits, meaning."""
    schema = json_schema()
    rows = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in CallbackEvent.model_fields.items():
        shown = field.alias or name
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
