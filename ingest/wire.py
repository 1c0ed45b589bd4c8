"""Values to models and back: the size limit, the version rule, and errors of one line."""

import json
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from .errors import EventError, shown
from .vocabulary import PATTERN_MEANS

MAX_EVENT_BYTES: Final = 16_384

_Model = TypeVar("_Model", bound=BaseModel)


def parse_model(model: type[_Model], value: bytes | str, version: int) -> _Model:
    """A value as `model`; at `version` strictly, above it with unknown top-level fields ignored."""
    data = _as_bytes(value)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        newer = _without_unknown(model, _object(data), version)
        if newer is None:
            raise explained(error) from None
    try:
        from_json(data, allow_inf_nan=False)  # a field that is ignored must be JSON all the same
        return model.model_validate_json(json.dumps(newer))
    except ValidationError as error:
        raise explained(error) from None
    except ValueError as error:
        raise _not_json(error) from None


def dump_model(model: BaseModel) -> bytes:
    """A model as compact JSON in UTF-8, nulls left out."""
    return model.model_dump_json(by_alias=True, exclude_none=True).encode()


def _as_bytes(value: bytes | str) -> bytes:
    size = len(value)
    if isinstance(value, str) and size <= MAX_EVENT_BYTES:
        try:
            value = value.encode()
        except UnicodeEncodeError:
            msg = "value: allowed is JSON in UTF-8; given text with a lone surrogate"
            raise EventError(code="not_json", message=msg) from None
        size = len(value)
    if size > MAX_EVENT_BYTES:
        msg = f"value: allowed are {MAX_EVENT_BYTES} bytes; given {size}"
        raise EventError(code="too_large", message=msg, rule=msg)
    return cast("bytes", value)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = from_json(data)
    except ValueError as error:
        raise _not_json(error) from None
    if not isinstance(found, dict):
        msg = f"value: allowed is a JSON object; given {shown(found)}"
        raise EventError(code="not_object", message=msg)
    return found


def _not_json(error: ValueError) -> EventError:
    text = str(error)  # names a fault and its place, repeats no input
    msg = f"value: allowed is JSON in UTF-8; given {text if text.isascii() else 'something else'}"
    return EventError(code="not_json", message=msg)


def _without_unknown(
    model: type[BaseModel], found: dict[str, Any], version: int
) -> dict[str, Any] | None:
    """The object without the fields that a newer version added, None if it is not newer."""
    given = found.get("schema")
    if not isinstance(given, int) or isinstance(given, bool) or given <= version:
        return None
    known = {field.alias or name for name, field in model.model_fields.items()}
    return {name: value for name, value in found.items() if name in known}


def explained(error: ValidationError) -> EventError:
    """The first fault of a value as an error of one line."""
    faults = error.errors(include_url=False)
    field, text, rule = _fault(faults[0])
    others = len({fault["loc"][:1] for fault in faults} - {faults[0]["loc"][:1]})
    if others:
        text += f" (and {others} more)"
    plain = field if _is_plain(field) else None
    return EventError("schema_invalid", text, plain, f"{plain or 'a field'}: {rule}")


def _fault(fault: ErrorDetails) -> tuple[str, str, str]:
    """The field, the fault in full, and the rule without what was given."""
    kind = fault["type"]
    names = [str(part) for part in fault["loc"][:2]]
    field = names[0] if names else ""
    if kind == "value_error" and not names:  # the rule over several fields names its field itself
        text = str(fault["ctx"]["error"])
        return text.partition(":")[0], text, "does not agree with the other fields"
    place = ".".join(name if _is_plain(name) else shown(name) for name in names)
    if kind == "missing":
        return field, f"{place}: is missing", "is missing"
    if kind == "extra_forbidden":
        rule = "is no known field; allowed are those of the schema"
        return field, f"{place}: {rule}", rule
    rule = f"allowed is {_allowed(fault)}"
    return field, f"{place}: {rule}; given {shown(fault['input'])}", rule


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isidentifier() and len(name) <= 64


def _allowed(fault: ErrorDetails) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return PATTERN_MEANS.get(context["pattern"], "text of the documented form")
    if kind == "too_long":
        return f"at most {context['max_length']} entries"
    if kind == "enum" and len(context["expected"]) > 100:
        return "one of the documented words"
    message = fault["msg"]
    for start in ("Input should be ", "String should have "):
        message = message.removeprefix(start)
    return message
