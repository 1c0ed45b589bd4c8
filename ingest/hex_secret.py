"""Secrets in hexadecimal, from a variable or from the file that NAME_FILE names."""

from collections.abc import Mapping
from pathlib import Path

from .errors import IngestError


def from_hex(text: str, where: str, least: int, error: type[IngestError]) -> bytes:
    """The bytes of a text in hexadecimal, at least so many; `error` names where it stood."""
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) < least:
        msg = f"{where}: allowed are {least} bytes and more, in hexadecimal"
        raise error(msg)
    return secret


def text_of_file(file: str, where: str, error: type[IngestError]) -> str:
    """What a file holds, without blanks around it; `error` says that it cannot be read."""
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        msg = f"{where}: {file}: cannot be read: {type(fault).__name__}"
        raise error(msg) from None


def hex_secret(
    env: Mapping[str, str], name: str, least: int, error: type[IngestError]
) -> bytes | None:
    """The secret under a name; None where neither the variable nor its file is set."""
    if file := env.get(f"{name}_FILE"):
        where = f"{name}_FILE"
        return from_hex(text_of_file(file, where, error), where, least, error)
    text = env.get(name, "").strip()
    return from_hex(text, name, least, error) if text else None
