"""TLS as kafka-python does it, and what its failures mean."""

import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from socket import socket
from typing import Any, Final

from .errors import IngestError
from .kafka_config import PREFIX

_FILES: Final = f"{PREFIX}SSL_CERTFILE and {PREFIX}SSL_KEYFILE"
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
)
# OpenSSL's numbers of X509_V_ERR_*
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64
_ALERT: Final = re.compile(r"(?:TLSV1|TLSV13|SSLV3)_ALERT_(\w+)")
_OF_CERTIFICATE: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")


class TlsError(IngestError):
    """The files that TLS needs cannot be used; no key and no password is repeated."""


def context_of(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context that kafka-python makes of these options; `TlsError` where it cannot."""
    from kafka.net.transport import KafkaSSLTransport

    transport: Any = KafkaSSLTransport  # what makes the context there is not for others
    given = {name: options.get(name, of) for name, of in transport.DEFAULT_CONFIG.items()}
    given["ssl_password"] = given["ssl_password"] or ""  # without one OpenSSL asks the terminal
    if (unfit := _unfit({**given, "ssl_certfile": None}, transport)) is not None:
        msg = f"{PREFIX}SSL_CAFILE cannot be used ({unfit}): PEM of the authority is needed"
        raise TlsError(msg)
    if (unfit := _unfit(given, transport)) is not None:
        msg = (
            f"{_FILES} cannot be used ({unfit}): PEM is needed, the key of this certificate, and "
            f"where it is encrypted {PREFIX}SSL_KEY_PASSWORD"
        )
        raise TlsError(msg)
    context: ssl.SSLContext = transport._build_ssl_context(given)
    return context


def _unfit(given: Mapping[str, Any], transport: Any) -> str | None:
    """Why no context comes of it, without a word of the files."""
    try:
        transport._build_ssl_context(given)
    except (OSError, ValueError) as error:
        return _words(getattr(error, "reason", None) or "wrong format or password")
    return None


def tls_fault(error: ssl.SSLError) -> str | None:
    """What is wrong, and what to do; None when the other side seems to speak no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error)
    reason = error.reason or ""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or reason in _NOT_TLS:
        return None
    alert = _ALERT.fullmatch(reason)
    if alert and any(word in alert[1] for word in _OF_CERTIFICATE):
        return (
            f"it wants a client certificate that it trusts ({_words(alert[1])}): "
            f"{_FILES}, signed by an authority of its truststore"
        )
    return f"the TLS handshake fails ({_words(reason) or 'no reason'}): the broker's log says why"


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return (
            "its certificate is for another name: use a name that it holds, or have the broker's "
            "certificate name this one (subjectAltName)"
        )
    if code == _EXPIRED:
        return "its certificate has expired: the broker needs a new one (or this clock is wrong)"
    if code == _NOT_YET:
        return "its certificate is not valid yet: correct this machine's clock, or the broker's"
    return (
        f"its certificate is not trusted ({error.verify_message.lower()}): "
        f"{PREFIX}SSL_CAFILE must hold the authority that signed it"
    )


def speaks_tls(connection: socket) -> bool:
    """Whether the other side takes part in a TLS handshake. Nothing is sent on it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return tls_fault(error) is not None
    except OSError:
        return False
    finally:
        with suppress(OSError):
            connection.close()


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()
