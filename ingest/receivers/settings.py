# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Values of CALLWATCH_* variables; a secret may stand in a file instead."""

from collections.abc import Mapping

from ..errors import IngestError
from ..fingerprint import MIN_PEPPER_BYTES
from ..hex_secret import from_hex, text_of_file


class SettingsError(IngestError):
    """A CALLWATCH_* variable is missing or wrong; its value is not repeated."""


def pepper_of(text: str) -> bytes:
    """A pepper written in hexadecimal."""
    return from_hex(text, "CALLWATCH_PEPPER", MIN_PEPPER_BYTES, SettingsError)


def required_of(env: Mapping[str, str], name: str) -> str:
    """The value of a variable that must not be empty."""
    value = value_of(env, name)
    if not value:
        msg = f"{name}: is missing; set it, or {name}_FILE to a file that holds it"
        raise SettingsError(msg)
    return value


def value_of(env: Mapping[str, str], name: str) -> str:
    """The value of a variable, or of the file that NAME_FILE names; empty when there is none."""
    if file := env.get(f"{name}_FILE"):
        return text_of_file(file, f"{name}_FILE", SettingsError)
    return env.get(name, "").strip()
