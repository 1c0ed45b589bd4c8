"""How to reach Kafka: `CALLWATCH_KAFKA_*` in the environment, the same for every client.

| variable | meaning |
|---|---|
| `CALLWATCH_KAFKA_BOOTSTRAP_SERVERS` | `host:port,host:port`; default `localhost:9092` |
| `CALLWATCH_KAFKA_SECURITY_PROTOCOL` | PLAINTEXT (default), SSL, SASL_PLAINTEXT, SASL_SSL |
| `CALLWATCH_KAFKA_SASL_MECHANISM` | PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER |
| `CALLWATCH_KAFKA_SASL_USERNAME` | needed with SASL but for OAUTHBEARER |
| `CALLWATCH_KAFKA_SASL_PASSWORD`, or `..._PASSWORD_FILE` | one of them is needed, likewise |
| `CALLWATCH_KAFKA_SASL_TOKEN_FILE` | OAUTHBEARER: a file that something else keeps fresh |
| `CALLWATCH_KAFKA_SASL_TOKEN_URL` | or the issuer, asked for the client below |
| `CALLWATCH_KAFKA_SASL_CLIENT_ID` | needed with an issuer |
| `CALLWATCH_KAFKA_SASL_CLIENT_SECRET`, or `..._SECRET_FILE` | needed with an issuer |
| `CALLWATCH_KAFKA_SASL_SCOPE` | what the issuer is asked for; optional |
| `CALLWATCH_KAFKA_SSL_CAFILE` | PEM; default: the system's certificate authorities |
| `CALLWATCH_KAFKA_SSL_CERTFILE`, `..._SSL_KEYFILE` | PEM; the client's own certificate (mTLS) |
| `CALLWATCH_KAFKA_SSL_KEY_PASSWORD`, or `..._PASSWORD_FILE` | of an encrypted key |

A password is in no error, no `repr` and no log. Settings that would silently have no effect, as a
password without SASL, are errors: nobody should believe in a protection that is not there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .errors import IngestError, shown
from .kafka_oauth import FileToken, IssuedToken, TokenSource, provider_of

PREFIX: Final = "CALLWATCH_KAFKA_"
DEFAULT_SERVERS: Final = "localhost:9092"
PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
VARIABLES: Final = (
    "BOOTSTRAP_SERVERS",
    "SECURITY_PROTOCOL",
    "SASL_MECHANISM",
    "SASL_USERNAME",
    "SASL_PASSWORD",
    "SASL_PASSWORD_FILE",
    "SASL_TOKEN_FILE",
    "SASL_TOKEN_URL",
    "SASL_CLIENT_ID",
    "SASL_CLIENT_SECRET",
    "SASL_CLIENT_SECRET_FILE",
    "SASL_SCOPE",
    "SSL_CAFILE",
    "SSL_CERTFILE",
    "SSL_KEYFILE",
    "SSL_KEY_PASSWORD",
    "SSL_KEY_PASSWORD_FILE",
)
_PASSWORDS = ("SASL_USERNAME", "SASL_PASSWORD", "SASL_PASSWORD_FILE")
_ISSUER = ("SASL_CLIENT_ID", "SASL_CLIENT_SECRET", "SASL_CLIENT_SECRET_FILE", "SASL_SCOPE")
_SECRETS = ("SASL_PASSWORD", "SASL_CLIENT_SECRET", "SSL_KEY_PASSWORD")
_TLS_FILES = ("SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE")

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
    ssl_password: str | None = field(default=None, repr=False)
    tokens: TokenSource | None = field(default=None, repr=False)

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
            "ssl_password": self.ssl_password,
            "sasl_oauth_token_provider": provider_of(self.tokens) if self.tokens else None,
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
    secrets = {name: values.get(name) for name in _SECRETS}
    for name in _SECRETS:
        if secrets[name] is None and f"{name}_FILE" in values:
            secrets[name], fault = _read_secret(f"{name}_FILE", Path(values[f"{name}_FILE"]))
            faults += fault
    if faults:
        raise KafkaConfigError("; ".join(faults))
    return KafkaConfig(
        bootstrap_servers=tuple(part.strip() for part in servers.split(",")),
        security_protocol=protocol,
        sasl_mechanism=values["SASL_MECHANISM"].upper() if "SASL_MECHANISM" in values else None,
        sasl_username=values.get("SASL_USERNAME"),
        sasl_password=secrets["SASL_PASSWORD"],
        ssl_cafile=values.get("SSL_CAFILE"),
        ssl_certfile=values.get("SSL_CERTFILE"),
        ssl_keyfile=values.get("SSL_KEYFILE"),
        ssl_password=secrets["SSL_KEY_PASSWORD"],
        tokens=_tokens(values, secrets["SASL_CLIENT_SECRET"]),
    )


def _tokens(values: Mapping[str, str], secret: str | None) -> TokenSource | None:
    """Where the tokens of OAUTHBEARER come from; None without it."""
    if "SASL_TOKEN_FILE" in values:
        return FileToken(values["SASL_TOKEN_FILE"])
    if "SASL_TOKEN_URL" in values:
        url, client = values["SASL_TOKEN_URL"], values["SASL_CLIENT_ID"]
        return IssuedToken(url, client, secret or "", values.get("SASL_SCOPE"))
    return None


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
    others = ("SASL_TOKEN_FILE", "SASL_TOKEN_URL", *_ISSUER)
    if mechanism == "OAUTHBEARER":
        return faults + _without(values, _PASSWORDS, "OAUTHBEARER") + _token_faults(values)
    faults += _without(values, others, mechanism or "other mechanisms than OAUTHBEARER")
    if "SASL_USERNAME" not in values:
        faults.append(f"{PREFIX}SASL_USERNAME is needed with SASL")
    return faults + _one_of(values, "SASL_PASSWORD", "SASL_PASSWORD_FILE", "with SASL")


def _token_faults(values: Mapping[str, str]) -> list[str]:
    faults = _one_of(values, "SASL_TOKEN_FILE", "SASL_TOKEN_URL", "with OAUTHBEARER")
    url = values.get("SASL_TOKEN_URL")
    if url is None:
        return faults + _without(values, _ISSUER, "a token without an issuer")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or parts.scheme not in ({"https", "http"} if local else {"https"}):
        faults.append(f"{PREFIX}SASL_TOKEN_URL must be https://host/path")
    elif parts.username or parts.password or parts.query:
        faults.append(f"{PREFIX}SASL_TOKEN_URL must hold no user, password or query")
    if "SASL_CLIENT_ID" not in values:
        faults.append(f"{PREFIX}SASL_CLIENT_ID is needed with an issuer")
    secret = "SASL_CLIENT_SECRET"  # noqa: S105 - a name
    return faults + _one_of(values, secret, f"{secret}_FILE", "with an issuer")


def _one_of(values: Mapping[str, str], one: str, other: str, where: str) -> list[str]:
    if (one in values) != (other in values):
        return []
    return [f"exactly one of {PREFIX}{one} and {PREFIX}{other} is needed {where}"]


def _without(values: Mapping[str, str], names: tuple[str, ...], what: str) -> list[str]:
    return [f"{PREFIX}{name} has no effect with {what}" for name in names if name in values]


def _tls_faults(values: Mapping[str, str], *, tls: bool) -> list[str]:
    given = [name for name in values if name.startswith("SSL_")]
    if not tls:
        return [f"{PREFIX}{name} needs a security protocol with SSL" for name in given]
    faults = [
        f"{PREFIX}{name} must be a file (got {shown(values[name])})"
        for name in given
        if name in _TLS_FILES and not Path(values[name]).is_file()
    ]
    key_password = "SSL_KEY_PASSWORD"  # noqa: S105 - a name
    if key_password in values and f"{key_password}_FILE" in values:
        faults += _one_of(values, key_password, f"{key_password}_FILE", "with an encrypted key")
    if "SSL_KEYFILE" not in values:
        faults += _without(values, (key_password, f"{key_password}_FILE"), "no SSL_KEYFILE")
    if "SSL_KEYFILE" in values and "SSL_CERTFILE" not in values:
        faults.append(f"{PREFIX}SSL_KEYFILE needs {PREFIX}SSL_CERTFILE")
    return faults


def _read_secret(name: str, path: Path) -> tuple[str | None, list[str]]:
    """The secret in a file, without the line end that editors add; or the fault."""
    where = f"{PREFIX}{name}"
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
