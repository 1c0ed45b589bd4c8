"""Why no broker is reached, on real sockets; what a broker says itself is an integration test."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from kafka.errors import (
    KafkaConfigurationError,
    KafkaTimeoutError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)

from ingest import kafka_fault, kafka_probe
from ingest.kafka_address import Address
from ingest.kafka_fault import fault_line
from tests.integration.receivers.certificates import KEY_PASSWORD, make

PLAIN = {"security_protocol": "PLAINTEXT"}
TLS = {"security_protocol": "SSL"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: an authority, a broker's for 127.0.0.1, one that has expired, a client's."""
    made = tmp_path_factory.mktemp("certificates")
    make(made)
    return made


@contextmanager
def serving(says: bytes | Path | None) -> Iterator[str]:
    """A port that takes connections; it says some bytes, TLS under a certificate, or nothing."""
    with ExitStack() as ends, closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                ends.callback(connection.close)
                if isinstance(says, bytes):
                    connection.recv(4096)
                    connection.sendall(says)
                    connection.close()
                elif says is not None:
                    _answer_tls(connection, says)

        thread = Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def _answer_tls(connection: socket.socket, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    try:
        context.wrap_socket(connection, server_side=True).close()
    except OSError:
        connection.close()


def told(servers: str, options: dict[str, str]) -> str:
    """The line after a client's time was over."""
    return fault_line(KafkaTimeoutError("5000 ms"), servers.split(","), options)


def test_a_name_that_is_not_resolved_is_told() -> None:
    """The name stands in the line, since it may be one of several."""
    assert told("no-such-broker.invalid:9092", PLAIN) == (
        'kafka no-such-broker.invalid:9092: the name "no-such-broker.invalid" is not resolved: '
        "correct it, or this machine's DNS or /etc/hosts"
    )


def test_names_that_nobody_looks_up_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds the line up for a bounded time."""
    over = Event()

    def hang(*_: object, **__: object) -> list[object]:
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(kafka_probe.socket, "getaddrinfo", hang)
    monkeypatch.setattr(kafka_fault, "SECONDS", 0.05)
    line = told("broker:9092", PLAIN)
    over.set()
    assert line.startswith("kafka broker:9092: the name is not resolved within 0.05 s")


def test_a_refused_connection_is_told() -> None:
    """Nobody listens: the port is named."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert told(f"127.0.0.1:{port}", PLAIN) == (
            f"kafka 127.0.0.1:{port}: connection refused, since nothing listens on port {port} "
            "there: start the broker, or correct the port"
        )


def test_a_dropped_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes back it says firewall, address or machine, in a bounded time."""
    monkeypatch.setattr(kafka_probe, "SECONDS", 0.1)
    with ExitStack() as ends, closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the system drops what does not fit into the queue
            client = ends.enter_context(closing(socket.socket()))
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        line = told("{}:{}".format(*full.getsockname()), PLAIN)
    assert "no connection within 0.1 s: a firewall drops it" in line


@pytest.mark.parametrize("options", [PLAIN, TLS], ids=["plain", "tls"])
def test_a_silent_port_is_told(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and never says a word is not a refused one."""
    monkeypatch.setattr(kafka_probe, "SECONDS", 0.1)
    with serving(None) as server:
        line = told(server, options)
    assert "it takes connections and does not answer within 0.1 s" in line


def test_what_takes_too_long_in_all_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is known is not blamed where the time of all probes is over."""
    monkeypatch.setattr(kafka_fault, "SECONDS", 0.5)
    with serving(None) as server:
        line = told(server, PLAIN)
    assert "it takes connections and does not answer within 0.5 s" in line


@pytest.mark.parametrize("options", [PLAIN, TLS], ids=["plain", "tls"])
def test_another_protocol_is_told(options: dict[str, str]) -> None:
    """A web server is no broker, with and without TLS; and nothing of its text is repeated."""
    with serving(b"HTTP/1.1 400 canary\r\n\r\n") as server:
        line = told(server, options)
    assert "it ends the connection without a word: the port of something else" in line
    assert "canary" not in line


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_tls_where_none_is_spoken_is_told(protocol: str, folder: Path) -> None:
    """The setting is named with the value that fits, with a login or without."""
    with serving(folder / "broker.pem") as server:
        line = told(server, {"security_protocol": protocol, "sasl_mechanism": "PLAIN"})
    wanted = protocol.replace("PLAINTEXT", "SSL")
    assert line == (
        f"kafka {server}: the port speaks TLS: CALLWATCH_KAFKA_SECURITY_PROTOCOL must be {wanted} "
        f"(it is {protocol})"
    )


@pytest.mark.parametrize(
    ("certificate", "host", "ca", "part"),
    [
        ("broker.pem", "127.0.0.1", None, "not trusted (unable to get local issuer certificate)"),
        ("broker.pem", "localhost", "ca.pem", "for another name"),
        ("expired.pem", "127.0.0.1", "ca.pem", "has expired"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told(
    certificate: str, host: str, ca: str | None, part: str, folder: Path
) -> None:
    """An unknown authority, another name and an old certificate are three different faults."""
    options = TLS | ({"ssl_cafile": str(folder / ca)} if ca else {})
    with serving(folder / certificate) as server:
        line = told(server.replace("127.0.0.1", host), options)
    assert f": its certificate {'is ' * part.startswith(('not', 'for'))}{part}" in line


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"ssl_cafile": "client.key"}, "CALLWATCH_KAFKA_SSL_CAFILE cannot be used"),
        ({"ssl_certfile": "client.pem", "ssl_keyfile": "client.key", "ssl_password": "c4n4ry"},
         "CALLWATCH_KAFKA_SSL_CERTFILE and CALLWATCH_KAFKA_SSL_KEYFILE cannot be used"),
        ({"ssl_certfile": "client.pem", "ssl_keyfile": "client.key"},
         "where it is encrypted CALLWATCH_KAFKA_SSL_KEY_PASSWORD"),
        ({"ssl_certfile": "client.pem", "ssl_keyfile": "broker.pem"}, "(key values mismatch)"),
    ],
)  # fmt: skip
def test_files_that_tls_cannot_use_are_told(given: dict[str, str], part: str, folder: Path) -> None:
    """The settings are named, without the password and without asking for one."""
    options = TLS | {
        name: value if name == "ssl_password" else str(folder / value)
        for name, value in given.items()
    }
    with serving(None) as server:
        line = told(server, options)
    assert part in line
    assert "c4n4ry" not in line
    assert KEY_PASSWORD not in line


def test_of_several_servers_each_has_its_reason_and_three_are_told() -> None:
    """Equal reasons are one part; the rest is counted, so that the line stays a line."""
    with closing(socket.socket()) as taken, serving(b"SSH-2.0-x\r\n") as other:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        line = told(f"localhost:{port},{other},127.0.0.1:{port},a.invalid:1,b.invalid", PLAIN)
    assert re.fullmatch(
        rf"kafka localhost:{port}, 127\.0\.0\.1:{port}: connection refused, .*; "
        rf"{other}: it ends the connection .*; and 2 more",
        line,
    )


def test_a_proxy_is_not_gone_around() -> None:
    """What only a proxy reaches is not tried directly."""
    line = told("127.0.0.1:1", PLAIN | {"proxy_url": "socks5://user:c4n4ry@proxy"})
    assert line == "kafka 127.0.0.1:1: no broker answers through the proxy"


def test_a_missing_permission_names_user_and_topic() -> None:
    """Nothing is asked of a network, and the page with the permissions is named."""
    error = TopicAuthorizationFailedError({"callwatch.alerts"})
    line = fault_line(error, ["b:1"], {"sasl_plain_username": "bob", "sasl_plain_password": "x"})
    assert line == (
        'kafka b:1: user "bob" has no permission on topic callwatch.alerts: '
        "docs/kafka.md#permissions lists what each role needs"
    )


def test_other_failures_are_one_line_without_an_options_value() -> None:
    """A refusal is told in words; what may repeat a setting only by its name."""
    refused = fault_line(PolicyViolationError("x"), ["b:1"], {})
    assert refused.startswith("kafka b:1: the broker refuses, POLICY_VIOLATION: Request parameters")
    for error in (KafkaConfigurationError("c4n4ry"), ValueError("c4n4ry")):
        assert fault_line(error, ["b:1"], {}) == f"kafka b:1: {type(error).__name__}"


def test_a_fault_of_the_probe_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library has changed the line says that no reason was found."""

    def broken(*_: object) -> list[Address]:
        raise AttributeError

    monkeypatch.setattr(kafka_fault, "probe", broken)
    line = told("127.0.0.1:1", PLAIN)
    assert line == "kafka 127.0.0.1:1: no answer, and no reason found (AttributeError)"


def test_what_a_broker_says_is_escaped() -> None:
    """A broker's own words and names come as one line of plain characters."""
    text = kafka_fault.refusal(44, "no\n\x1b[31m red\u202e")
    assert text == "the broker refuses, POLICY_VIOLATION: no \\x1b[31m red\\u202e"
    assert str(Address("a\nb", 1)) == '"a\\nb":1'


@pytest.mark.parametrize(
    ("server", "address"),
    [("b", ("b", 9092)), ("b:1", ("b", 1)), ("[::1]:2", ("::1", 2)), ("::1", ("::1", 9092))],
)
def test_addresses_are_read_as_they_are_written(server: str, address: tuple[str, int]) -> None:
    """With and without a port, IPv6 among them."""
    assert Address.of(server) == address
