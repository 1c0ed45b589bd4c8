"""Requests to a broker on a connection that is there: greeting, login, the brokers it names."""

from collections.abc import Mapping
from socket import socket
from time import monotonic
from typing import Any, Final

from .errors import IngestError, shown
from .kafka_address import Address, word
from .kafka_config import PREFIX

_MOST_BYTES: Final = 1 << 20
"""Of one answer. What speaks another protocol seems to announce a much longer one."""
_METADATA: Final = 3  # the key of the request; a controller answers none
_NO_MECHANISM: Final = 33
_NO_SASL: Final = 34
_MOST_NAMED: Final = 5


class LoginError(IngestError):
    """The broker takes no such login; one line without a secret."""


class SilentError(Exception):
    """The other side ended the connection, or what it said is no answer of Kafka's."""


class Talk:
    """Requests and answers, one after the other, until a deadline."""

    def __init__(self, connection: socket, deadline: float) -> None:
        from kafka.protocol.parser import KafkaProtocol

        self._connection = connection
        self._deadline = deadline
        self._parser = KafkaProtocol(
            client_id="callwatch-probe", receive_message_max_bytes=_MOST_BYTES
        )

    def ask(self, request: Any) -> Any:
        """The answer to a request that has its version.

        Raises `SilentError`, and what the socket raises, TimeoutError at the deadline.
        """
        from kafka.errors import KafkaError

        self._parser.send_request(request)
        self._limit()
        self._connection.sendall(self._parser.send_bytes())
        while True:
            self._limit()
            data = self._connection.recv(65_536)
            if not data:
                raise SilentError
            try:
                answers = self._parser.receive_bytes(data)
            except KafkaError:
                raise SilentError from None
            if answers:
                return answers[0][1]

    def greet(self) -> bool:
        """Ask what every node answers, also before a login; whether it serves clients."""
        from kafka.protocol.metadata import ApiVersionsRequest

        answer = self.ask(ApiVersionsRequest(version=0))
        return any(each.api_key == _METADATA for each in answer.api_keys)

    def log_in(self, host: str, options: Mapping[str, Any]) -> None:
        """Log in as kafka-python does, once; raises `LoginError`."""
        from kafka.net.sasl import SASL_MECHANISMS
        from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

        name = options["sasl_mechanism"]
        offer = self.ask(SaslHandshakeRequest(version=1, mechanism=name))
        if offer.error_code == _NO_SASL:
            msg = (
                f"the port takes no login: {PREFIX}SECURITY_PROTOCOL without SASL_, "
                "or its port for SASL"
            )
            raise LoginError(msg)
        if offer.error_code == _NO_MECHANISM or name not in offer.mechanisms:
            offered = " or ".join(word(str(one)) for one in offer.mechanisms[:_MOST_NAMED])
            msg = (
                f"it offers no login by {name}: {PREFIX}SASL_MECHANISM must be {offered or 'none'}"
            )
            raise LoginError(msg)
        mechanism = SASL_MECHANISMS[name](host=host, **options)
        while not mechanism.is_done():
            answer = self.ask(SaslAuthenticateRequest(version=0, auth_bytes=mechanism.auth_bytes()))
            if answer.error_code:
                raise LoginError(_refused(name, options.get("sasl_plain_username")))
            try:
                mechanism.receive(answer.auth_bytes)
            except (ValueError, KeyError):
                msg = f"its side of the {name} login is wrong: is it the right broker?"
                raise LoginError(msg) from None

    def brokers(self) -> list[Address]:
        """Where it sends its clients: what the brokers advertise."""
        from kafka.protocol.metadata import MetadataRequest

        answer = self.ask(MetadataRequest(version=4, topics=[], allow_auto_topic_creation=False))
        return [Address(str(each.host), int(each.port)) for each in answer.brokers]

    def _limit(self) -> None:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)


def _refused(mechanism: str, user: str | None) -> str:
    if user is None:
        return f"it refuses the {mechanism} token: its issuer must be one that the broker believes"
    return (
        f"it refuses the {mechanism} login of {shown(user)}: {PREFIX}SASL_USERNAME, or "
        f"{PREFIX}SASL_PASSWORD (or its _FILE), is wrong"
    )
