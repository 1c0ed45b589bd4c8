# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Settings of the examples: those of receivers, and the keys of one sender."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import SignatureError
from ..kafka_config import KafkaConfig, kafka_config
from ..receivers.settings import SettingsError, pepper_of, required_of, value_of
from ..signatures.base import Key
from ..signatures.loading import loaded_keys
from ..signatures.schemes import scheme_of
from ..signatures.standard_webhooks import parse_key


@dataclass(frozen=True, slots=True)
class Settings:
    """What an example needs to know."""

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
    for entry in required_of(env, "CALLWATCH_SECRET").split():
        label, colon, secret = entry.partition(":")
        try:
            keys.append(parse_key(label if colon else "k1", secret if colon else label))
        except ValueError:
            msg = "CALLWATCH_SECRET: allowed are label:whsec_<base64>, separated by white space"
            raise SettingsError(msg) from None
    try:
        loaded_keys(scheme_of("standard-webhooks"), keys)  # at start, not at the first callback
    except SignatureError as fault:
        msg = f"CALLWATCH_SECRET: {fault}"
        raise SettingsError(msg) from None
    return Settings(
        kafka=kafka_config(environ=env),
        topic=value_of(env, "CALLWATCH_TOPIC") or "callwatch.events",
        receiver=value_of(env, "CALLWATCH_RECEIVER") or "demo-receiver/0@local",
        sender=value_of(env, "CALLWATCH_SENDER") or "demo",
        keys=tuple(keys),
        pepper=pepper_of(required_of(env, "CALLWATCH_PEPPER")),
        max_body=_size(value_of(env, "CALLWATCH_MAX_BODY") or "1048576"),
    )


def _size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        msg = "CALLWATCH_MAX_BODY: allowed is a number of bytes"
        raise SettingsError(msg)
    return int(text)
