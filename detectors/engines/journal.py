"""Log lines that a person reads and a program parses: `area.thing_happened key=value`."""

import json
import logging

from alerts.explain import safe

LOGGER = logging.getLogger("callwatch.worker")


def note(event: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Write one line; values with blanks or quotes are quoted, control characters escaped."""
    LOGGER.log(level, "%s", line(event, **fields))


def is_verbose() -> bool:
    """Whether tracebacks are wanted of what callwatch says in its own words."""
    return LOGGER.isEnabledFor(logging.DEBUG)


def hush() -> None:
    """Let the Kafka libraries write no line any more, unless all is to be told."""
    if not is_verbose():
        for name in ("faust", "mode", "aiokafka", "kafka"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def line(event: str, /, **fields: object) -> str:
    r"""The text of a log line.

    >>> line("state.rebuilt", partition=3, reason="no checkpoint\n", seconds=0.25)
    'state.rebuilt partition=3 reason="no checkpoint\\\\u000a" seconds=0.25'
    """
    return " ".join([event, *(f"{name}={_shown(value)}" for name, value in fields.items())])


def _shown(value: object) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(_shown(each) for each in value) or "none"
    text = safe(str(value), limit=500)
    plain = text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text, ensure_ascii=False)
