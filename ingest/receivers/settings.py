# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Values of CALLWATCH_* variables; a secret may stand in a file instead."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import IngestError
from ..fingerprint import MIN_PEPPER_BYTES


class SettingsError(IngestError):
    """A CALLWATCH_* variable is missing or wrong; its value is not repeated."""


def pepper_of(text: str) -> bytes:
    """A pepper written in hexadecimal."""
    try:
        pepper = bytes.fromhex(text)
    except ValueError:
        pepper = b""
    if len(pepper) < MIN_PEPPER_BYTES:
        msg = f"CALLWATCH_PEPPER: allowed are {MIN_PEPPER_BYTES} bytes and more, in hexadecimal"
        raise SettingsError(msg)
    return pepper


def required_of(env: Mapping[str, str], name: str) -> str:
    """The value of a variable that must not be empty."""
    value = value_of(env, name)
    if not value:
        msg = f"{name}: is missing; set it, or {name}_FILE to a file that holds it"
        raise SettingsError(msg)
    return value


def value_of(env: Mapping[str, str], name: str) -> str:
    """The value of a variable, or of the file that NAME_FILE names; empty when there is none."""
    file = env.get(f"{name}_FILE")
    if not file:
        return env.get(name, "").strip()
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{name}_FILE: {file}: cannot be read: {type(error).__name__}"
        raise SettingsError(msg) from None
