"""One connection to a broker, step by step: name, connection, TLS, login, metadata.

kafka-python tries again until its time is over, and gives the reason to its log. So what could not
be reached is tried once more here, with the library's own TLS context, mechanisms and messages:
both see the same. It costs a login, and is for what has failed already.
"""

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from .errors import IngestError, shown
from .kafka_address import Address
from .kafka_config import PREFIX
from .kafka_talk import SilentError, Talk
from .kafka_tls import context_of, speaks_tls, tls_fault

SECONDS: Final = 3.0
"""For one connection and all that is asked on it; looking up a name comes before."""

_VARIABLE: Final = f"{PREFIX}SECURITY_PROTOCOL"


Found = list[Any]
"""What the system knows of a name, as `socket.getaddrinfo` gives it."""


class ProbeError(IngestError):
    """The step at which it ended, and what can be done; one line without a secret."""


def resolve(at: Address) -> Found:
    """The addresses of a name; `ProbeError` where it has none. The system may take its time."""
    try:
        return socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        msg = (
            f"the name {shown(at.host)} is not resolved: correct it, or this machine's DNS "
            "or /etc/hosts"
        )
        raise ProbeError(msg) from None


def probe(at: Address, found: Found, options: Mapping[str, Any]) -> list[Address]:
    """The addresses that the broker there sends its clients to.

    options: those of kafka-python's clients. Raises an `IngestError` that says what is wrong.
    """
    protocol: str = options.get("security_protocol", "PLAINTEXT")
    tls, sasl = protocol.endswith("SSL"), protocol.startswith("SASL")
    deadline = monotonic() + SECONDS
    shaken = greeted = False
    connection = _connected(at, found, deadline)
    try:
        if tls:
            name = at.host.rstrip(".")
            connection = context_of(options).wrap_socket(connection, server_hostname=name)
        shaken = True
        talk = Talk(connection, deadline)
        if not talk.greet():
            msg = "it is a controller's port: a broker's listener is needed"
            raise ProbeError(msg)
        greeted = True
        if sasl:
            talk.log_in(at.host, options)
        return talk.brokers()
    except TimeoutError:
        msg = silent(SECONDS)
    except (SilentError, OSError) as error:  # an SSLError is an OSError
        fault = tls_fault(error) if isinstance(error, ssl.SSLError) else None
        if fault is not None:
            msg = fault
        elif greeted and not sasl:
            msg = f"the port wants a login: {_VARIABLE} must be SASL_{protocol}"
        elif tls and shaken:
            msg = "it ends the connection after the TLS handshake"
            msg += (
                ": the broker's log says why"
                if options.get("ssl_certfile")
                else f": it may want a client certificate, {PREFIX}SSL_CERTFILE and _KEYFILE"
            )
        else:
            msg = _other_protocol(at, found, protocol)
    finally:
        connection.close()
    raise ProbeError(msg)


def silent(seconds: float) -> str:
    """That a port takes connections, and that is all."""
    return (
        f"it takes connections and does not answer within {seconds:g} s: the broker hangs, "
        "or the port is of something else"
    )


def _connected(at: Address, found: Found, deadline: float) -> socket.socket:
    """A connection to the first of its addresses that takes one."""
    error: OSError = TimeoutError()
    for family, kind, number, _, address in found:
        connection = socket.socket(family, kind, number)
        try:
            connection.settimeout(max(deadline - monotonic(), 0.01))
            connection.connect(address)
        except OSError as failed:
            connection.close()
            error = failed
        else:
            return connection
    raise ProbeError(_unconnected(at, error))


def _unconnected(at: Address, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return (
            f"connection refused, since nothing listens on port {at.port} there: "
            "start the broker, or correct the port"
        )
    if isinstance(error, TimeoutError):
        return (
            f"no connection within {SECONDS:g} s: a firewall drops it, the address is wrong, "
            "or that machine is down"
        )
    reason = (error.strerror or type(error).__name__).lower()
    return f"no connection ({reason}): correct the address, or this machine's routes"


def _other_protocol(at: Address, found: Found, protocol: str) -> str:
    """Why it ends a connection without a word: it may speak what it was not spoken to in."""
    deadline = monotonic() + SECONDS
    with suppress(OSError, SilentError, IngestError):
        if not protocol.endswith("SSL"):
            if speaks_tls(_connected(at, found, deadline)):
                wanted = protocol.replace("PLAINTEXT", "SSL")
                return f"the port speaks TLS: {_VARIABLE} must be {wanted} (it is {protocol})"
        else:
            with _connected(at, found, deadline) as connection:
                Talk(connection, deadline).greet()
            wanted = protocol.replace("SSL", "PLAINTEXT")
            return (
                f"the port speaks no TLS: its port for TLS is needed, or in a trusted network "
                f"{_VARIABLE}={wanted} (it is {protocol})"
            )
    return "it ends the connection without a word: the port of something else, or its log says why"
