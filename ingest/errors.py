"""Every failure of this package is an `IngestError`; its text is one line, or one for each fault.

IngestError
 +-- ControlError     a value is no control record that can be believed; or the key is wrong
 |    +-- ControlKeyMissingError   there is no key that it could be held against
 +-- EventError       a value is no valid event or report; `code` says which kind of fault
 +-- SourceError      a file, a pipe or a frame cannot be read
 +-- ProfileError     provider profiles are wrong; one line for each fault
 +-- InventoryError   an inventory file is wrong; lists all its faults
 +-- SignatureError   a verification is configured wrongly; no secret is repeated
 +-- TopicError       the topics cannot be created or looked at
 +-- TransportError   records cannot be handed over now; the publisher tries again
"""

import json
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

EventCode = Literal["too_large", "not_json", "not_object", "schema_invalid"]
EVENT_CODES: Final[tuple[EventCode, ...]] = (
    "too_large",
    "not_json",
    "not_object",
    "schema_invalid",
)

_SHOWN = 60  # characters of a given value that an error repeats


class IngestError(Exception):
    """The base of all errors of this package."""


class EventError(IngestError):
    """A value is not a valid event or report.

    `code` is one of `EVENT_CODES`, `field` the offending field where there is one, and the text
    is one line without control characters: the value may have been written by an attacker.
    `rule` is the text without anything of the value: in a receiver it may be a secret.
    """

    def __init__(
        self, code: EventCode, message: str, field: str | None = None, rule: str | None = None
    ) -> None:
        super().__init__(message)
        self.rule = code if rule is None else rule
        self.code: EventCode = code
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[type["EventError"], tuple[EventCode, str, str | None, str]]:
        return EventError, (self.code, self.message, self.field, self.rule)


class ControlError(IngestError):
    """A value is no control record that can be believed, or the control key is wrong.

    `code` says why its record is rejected.
    """

    code: ClassVar[str] = "control_invalid"


class ControlKeyMissingError(ControlError):
    """A control record cannot be judged, since there is no key to hold it against."""

    code: ClassVar[str] = "control_key_missing"


class SourceError(IngestError):
    """Events cannot be read from where they were said to be."""


class ProfileError(IngestError):
    """Provider profiles are wrong; the text has one line for each fault."""


class InventoryError(IngestError):
    """An inventory file is wrong; `faults` holds one line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults

    def __reduce__(self) -> tuple[type["InventoryError"], tuple[list[str]]]:
        return InventoryError, (self.faults,)


class SignatureError(IngestError):
    """A verification is configured wrongly; the text never repeats a key."""


class TopicError(IngestError):
    """The topics cannot be created or looked at."""


class TransportError(IngestError):
    """Records cannot be handed over at the moment; none of them was taken."""


def shown(value: object) -> str:
    r"""A given value for an error message: one line, ASCII, at most 60 characters.

    Containers are described and never printed, so that hostile input costs nothing.

    >>> shown("a\n\u202eb")
    '"a\\n\\u202eb"'
    >>> shown({"a": 1})
    'an object of 1'
    """
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        text = json.dumps(value[:_SHOWN])
        return text if len(value) <= _SHOWN and len(text) <= _SHOWN else text[:_SHOWN] + '..."'
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return (
            str(value) if value.bit_length() < 200 else f"an integer of {value.bit_length()} bits"
        )
    if isinstance(value, float):
        return repr(value)
    return f"a {type(value).__name__}"
