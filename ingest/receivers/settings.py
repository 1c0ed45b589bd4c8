# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Settings of a receiver from CALLWATCH_* variables; a secret may stand in a file instead."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import IngestError
from ..fingerprint import MIN_PEPPER_BYTES
from ..kafka_config import KafkaConfig, kafka_config
from ..signatures.base import Key
from ..signatures.standard_webhooks import parse_key


class SettingsError(IngestError):
    """A CALLWATCH_* variable is missing or wrong; its value is not repeated."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the demo receiver needs to know."""

    kafka: KafkaConfig
    topic: str
    receiver: str
    sender: str
    keys: tuple[Key, ...]
    pepper: bytes = field(repr=False)
    max_body: int = 1_048_576


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment.

    CALLWATCH_SECRET holds one or more `label:whsec_...`, separated by white space, and
    CALLWATCH_PEPPER at least 16 bytes as hex. NAME_FILE names a file that holds the value of
    NAME, for every variable. CALLWATCH_KAFKA_* say how to reach Kafka.
    """
    env = os.environ if environ is None else environ
    keys = []
    for entry in _required(env, "CALLWATCH_SECRET").split():
        label, colon, secret = entry.partition(":")
        try:
            keys.append(parse_key(label if colon else "k1", secret if colon else label))
        except ValueError:
            msg = "CALLWATCH_SECRET: allowed are label:whsec_<base64>, separated by white space"
            raise SettingsError(msg) from None
    return Settings(
        kafka=kafka_config(environ=env),
        topic=value_of(env, "CALLWATCH_TOPIC") or "callwatch.events",
        receiver=value_of(env, "CALLWATCH_RECEIVER") or "demo-receiver/0@local",
        sender=value_of(env, "CALLWATCH_SENDER") or "demo",
        keys=tuple(keys),
        pepper=pepper_of(_required(env, "CALLWATCH_PEPPER")),
        max_body=_size(value_of(env, "CALLWATCH_MAX_BODY") or "1048576"),
    )


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


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        msg = "CALLWATCH_MAX_BODY: allowed is a number of bytes"
        raise SettingsError(msg)
    return int(text)


def _required(env: Mapping[str, str], name: str) -> str:
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
