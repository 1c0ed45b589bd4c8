"""Pure encoders: an alert in, one record of bytes out, without a line end.

A format is a file here with `encode(alert) -> bytes`; the folder is the list.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from alerts.alert import Alert
from alerts.errors import AlertsError

Encoder = Callable[[Alert], bytes]


def format_names() -> list[str]:
    """The formats that there are."""
    return sorted(module.name for module in iter_modules(__path__))


def load_format(name: str) -> Encoder:
    """The encoder of a format; raises `AlertsError` when there is none of that name."""
    if name not in format_names():
        msg = f"format must be one of {', '.join(format_names())} (got {name!r})"
        raise AlertsError(msg)
    encoder: Encoder = import_module(f"{__name__}.{name}").encode
    return encoder
