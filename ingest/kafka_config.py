"""How to reach Kafka: `CALLWATCH_KAFKA_*` in the environment, the same for every client.

| variable | meaning |
|---|---|
| `CALLWATCH_KAFKA_BOOTSTRAP_SERVERS` | `host:port,host:port`; default `localhost:9092` |
| `CALLWATCH_KAFKA_SECURITY_PROTOCOL` | PLAINTEXT (default), SSL, SASL_PLAINTEXT, SASL_SSL |
| `CALLWATCH_KAFKA_SASL_MECHANISM` | PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 |
| `CALLWATCH_KAFKA_SASL_USERNAME` | needed with SASL |
| `CALLWATCH_KAFKA_SASL_PASSWORD`, or `..._PASSWORD_FILE` | one of them is needed with SASL |
| `CALLWATCH_KAFKA_SSL_CAFILE` | PEM; default: the system's certificate authorities |
| `CALLWATCH_KAFKA_SSL_CERTFILE`, `..._SSL_KEYFILE` | PEM; the client's own certificate (mTLS) |

A password is in no error, no `repr` and no log. Settings that would silently have no effect, as a
password without SASL, are errors: nobody should believe in a protection that is not there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .errors import IngestError, shown

PREFIX: Final = "CALLWATCH_KAFKA_"
DEFAULT_SERVERS: Final = "localhost:9092"
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
VARIABLES: Final = (
    "BOOTSTRAP_SERVERS",
    "SECURITY_PROTOCOL",
    "SASL_MECHANISM",
    "SASL_USERNAME",
    "SASL_PASSWORD",
    "SASL_PASSWORD_FILE",
    "SSL_CAFILE",
    "SSL_CERTFILE",
    "SSL_KEYFILE",
)

_GUARDED = tuple(PREFIX + family for family in ("BOOTSTRAP", "SECURITY", "SASL", "SSL"))
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(\d{1,5}))?", re.ASCII)
_LONGEST_SECRET = 4096


class KafkaConfigError(IngestError):
    """The Kafka settings are wrong; one line that names all faults and no secret."""


@dataclass(frozen=True)
class KafkaConfig:
    """Checked settings of a Kafka client; its `repr` holds no password."""

    bootstrap_servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def keywords(self) -> dict[str, Any]:
        """Keyword arguments for kafka-python's clients. Holds the password: not for printing."""
        every = {
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_cafile": self.ssl_cafile,
            "ssl_certfile": self.ssl_certfile,
            "ssl_keyfile": self.ssl_keyfile,
        }
        given = {name: value for name, value in every.items() if value is not None}
        return {"bootstrap_servers": list(self.bootstrap_servers), **given}


def kafka_keywords(
    bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Keyword arguments for kafka-python's clients from the environment; see `kafka_config`."""
    return kafka_config(bootstrap_servers, environ).keywords()


def kafka_config(
    bootstrap_servers: str | None = None, environ: Mapping[str, str] | None = None
) -> KafkaConfig:
    """The settings in the environment; given `bootstrap_servers` win over the variable.

    Empty variables count as absent. Raises `KafkaConfigError` with all faults in one line.

    >>> kafka_config("a:9092,b", environ={}).keywords()
    {'bootstrap_servers': ['a:9092', 'b'], 'security_protocol': 'PLAINTEXT'}
    """
    environ = os.environ if environ is None else environ
    values = {name: environ[PREFIX + name] for name in VARIABLES if environ.get(PREFIX + name)}
    faults = [
        f"{name} is not known; known are {', '.join(PREFIX + known for known in VARIABLES)}"
        for name in sorted(environ)
        if name.startswith(_GUARDED) and name.removeprefix(PREFIX) not in VARIABLES
    ]
    servers = bootstrap_servers or values.get("BOOTSTRAP_SERVERS") or DEFAULT_SERVERS
    protocol = values.get("SECURITY_PROTOCOL", "PLAINTEXT").upper()
    faults += _server_faults(servers)
    if protocol in PROTOCOLS:
        faults += _sasl_faults(values, sasl=protocol.startswith("SASL"))
        faults += _tls_faults(values, tls=protocol.endswith("SSL"))
    else:
        faults.append(
            f"{PREFIX}SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)} "
            f"(got {shown(protocol)})"
        )
    password = values.get("SASL_PASSWORD")
    if password is None and "SASL_PASSWORD_FILE" in values:
        password, fault = _read_secret(Path(values["SASL_PASSWORD_FILE"]))
        faults += fault
    if faults:
        raise KafkaConfigError("; ".join(faults))
    return KafkaConfig(
        bootstrap_servers=tuple(part.strip() for part in servers.split(",")),
        security_protocol=protocol,
        sasl_mechanism=values["SASL_MECHANISM"].upper() if "SASL_MECHANISM" in values else None,
        sasl_username=values.get("SASL_USERNAME"),
        sasl_password=password,
        ssl_cafile=values.get("SSL_CAFILE"),
        ssl_certfile=values.get("SSL_CERTFILE"),
        ssl_keyfile=values.get("SSL_KEYFILE"),
    )


def _server_faults(servers: str) -> list[str]:
    for part in servers.split(","):
        match = _SERVER.fullmatch(part.strip())
        if match is None or not 1 <= int(match[3] or 9092) <= 65535:
            # A URL may hold a password: what stands before an @ is not repeated.
            given = shown(part.strip()) if "@" not in part else "a text with @"
            return [f"bootstrap servers must be host:port[,host:port...] (got {given})"]
    return []


def _sasl_faults(values: Mapping[str, str], *, sasl: bool) -> list[str]:
    given = [name for name in values if name.startswith("SASL_")]
    if not sasl:
        return [f"{PREFIX}{name} needs a security protocol with SASL" for name in given]
    faults = []
    mechanism = values.get("SASL_MECHANISM", "").upper()
    if mechanism not in MECHANISMS:
        faults.append(
            f"{PREFIX}SASL_MECHANISM must be one of {', '.join(MECHANISMS)} "
            f"(got {shown(mechanism) if mechanism else 'nothing'})"
        )
    if "SASL_USERNAME" not in values:
        faults.append(f"{PREFIX}SASL_USERNAME is needed with SASL")
    if ("SASL_PASSWORD" in values) == ("SASL_PASSWORD_FILE" in values):
        which = f"{PREFIX}SASL_PASSWORD and {PREFIX}SASL_PASSWORD_FILE"
        faults.append(f"exactly one of {which} is needed with SASL")
    return faults


def _tls_faults(values: Mapping[str, str], *, tls: bool) -> list[str]:
    given = [name for name in values if name.startswith("SSL_")]
    if not tls:
        return [f"{PREFIX}{name} needs a security protocol with SSL" for name in given]
    faults = [
        f"{PREFIX}{name} must be a file (got {shown(values[name])})"
        for name in given
        if not Path(values[name]).is_file()
    ]
    if "SSL_KEYFILE" in values and "SSL_CERTFILE" not in values:
        faults.append(f"{PREFIX}SSL_KEYFILE needs {PREFIX}SSL_CERTFILE")
    return faults


def _read_secret(path: Path) -> tuple[str | None, list[str]]:
    """The secret in a file, without the line end that editors add; or the fault."""
    where = f"{PREFIX}SASL_PASSWORD_FILE"
    try:
        with path.open("rb") as file:
            secret = file.read(_LONGEST_SECRET + 1).removesuffix(b"\n").removesuffix(b"\r")
    except (OSError, ValueError):
        return None, [f"{where} cannot be read (got {shown(str(path))})"]
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        return None, [f"{where} must hold UTF-8 (got other bytes in {shown(str(path))})"]
    if not 0 < len(secret) <= _LONGEST_SECRET:
        fault = f"{where} must hold 1 to {_LONGEST_SECRET} bytes (got {len(secret)} or more)"
        return None, [fault]
    return text, []
