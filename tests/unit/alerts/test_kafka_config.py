import doctest
from pathlib import Path

import pytest

import ingest.kafka_config
from ingest.kafka_config import KafkaConfigError, kafka_config, kafka_keywords

SECRET = "s3cret-canary"
SASL = {
    "CALLWATCH_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "CALLWATCH_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "CALLWATCH_KAFKA_SASL_USERNAME": "router",
    "CALLWATCH_KAFKA_SASL_PASSWORD": SECRET,
}


def without(*names: str, **changes: str) -> dict[str, str]:
    """The SASL settings without some, and with others."""
    left = {name: value for name, value in SASL.items() if name not in names}
    return left | {f"CALLWATCH_KAFKA_{name}": value for name, value in changes.items()}


def test_examples_in_docstrings_are_true() -> None:
    """The example in the docstring is what the code gives."""
    assert doctest.testmod(ingest.kafka_config).failed == 0


def test_nothing_set_means_the_local_broker() -> None:
    """Without any setting the client talks plain to localhost:9092."""
    assert kafka_keywords(environ={"HOME": "/"}) == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "PLAINTEXT",
    }


def test_given_servers_win_over_the_environment() -> None:
    """A command line option wins over the variable, and both may be lists."""
    environ = {"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "a:1, [::1]:2"}
    assert kafka_config(environ=environ).bootstrap_servers == ("a:1", "[::1]:2")
    assert kafka_config("b:3", environ).bootstrap_servers == ("b:3",)


def test_sasl_and_tls_become_keywords(tmp_path: Path) -> None:
    """User, password, authority and client certificate reach the client under its own names."""
    pem = tmp_path / "some.pem"
    pem.write_text("pem")
    environ = without(SSL_CAFILE=str(pem), SSL_CERTFILE=str(pem), SSL_KEYFILE=str(pem))
    assert kafka_keywords("b:9093", environ) == {
        "bootstrap_servers": ["b:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "router",
        "sasl_plain_password": SECRET,
        "ssl_cafile": str(pem),
        "ssl_certfile": str(pem),
        "ssl_keyfile": str(pem),
    }


def test_keywords_are_known_to_every_client() -> None:
    """kafka-python's consumer, producer and administration take every keyword that may appear."""
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

    names = set(kafka_keywords(environ=SASL)) | {"ssl_cafile", "ssl_certfile", "ssl_keyfile"}
    for client in (KafkaConsumer, KafkaProducer, KafkaAdminClient):
        assert names <= set(client.DEFAULT_CONFIG)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_password_file(tmp_path: Path, end: str) -> None:
    """A password comes from a file without the line end that an editor put there."""
    file = tmp_path / "password"
    file.write_bytes(f" {SECRET} {end}".encode())
    environ = without("CALLWATCH_KAFKA_SASL_PASSWORD", SASL_PASSWORD_FILE=str(file))
    assert kafka_config(environ=environ).sasl_password == f" {SECRET} "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_odd_password_files_are_named(tmp_path: Path, content: bytes) -> None:
    """An empty, binary or huge password file is an error that does not repeat its content."""
    file = tmp_path / "password"
    file.write_bytes(content)
    environ = without("CALLWATCH_KAFKA_SASL_PASSWORD", SASL_PASSWORD_FILE=str(file))
    with pytest.raises(KafkaConfigError, match="SASL_PASSWORD_FILE must hold") as caught:
        kafka_config(environ=environ)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"CALLWATCH_KAFKA_SECURITY_PROTOCOL": "TLS"}, 'SECURITY_PROTOCOL must be one of.*"TLS"'),
        ({"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "kafka://a"}, 'host:port.*"kafka://a"'),
        ({"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "a:99999"}, "host:port"),
        ({"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "a,,b"}, "host:port"),
        ({"CALLWATCH_KAFKA_SASL_USER": "x"}, "CALLWATCH_KAFKA_SASL_USER is not known"),
        (without(SECURITY_PROTOCOL="SSL"), "SASL_PASSWORD needs a security protocol with SASL"),
        (without(SASL_MECHANISM="GSSAPI"), "SASL_MECHANISM must be one of PLAIN"),
        (without("CALLWATCH_KAFKA_SASL_MECHANISM"), "SASL_MECHANISM must be.*got nothing"),
        (without("CALLWATCH_KAFKA_SASL_USERNAME"), "SASL_USERNAME is needed"),
        (without("CALLWATCH_KAFKA_SASL_PASSWORD"), "exactly one of"),
        (without(SASL_PASSWORD_FILE="/nowhere"), "exactly one of"),
        (without(SSL_CAFILE="/nowhere/ca.pem"), "SSL_CAFILE must be a file"),
        (without(SSL_KEYFILE="/dev/null"), "SSL_KEYFILE needs"),
        ({"CALLWATCH_KAFKA_SSL_CAFILE": "/x"}, "SSL_CAFILE needs a security protocol with SSL"),
        (
            without("CALLWATCH_KAFKA_SASL_PASSWORD", SASL_PASSWORD_FILE="/nowhere"),
            "SASL_PASSWORD_FILE cannot be read",
        ),
    ],
)
def test_faults_are_one_line_without_secrets(environ: dict[str, str], fault: str) -> None:
    """A wrong setting is one line that says what is allowed and never repeats a password."""
    with pytest.raises(KafkaConfigError, match=fault) as caught:
        kafka_config(environ=environ)
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)


def test_all_faults_are_named_at_once() -> None:
    """Two mistakes are reported together, not one after the other."""
    environ = {
        "CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": "a b",
        "CALLWATCH_KAFKA_SECURITY_PROTOCOL": "TLS",
    }
    with pytest.raises(KafkaConfigError, match=r"host:port.*; .*SECURITY_PROTOCOL"):
        kafka_config(environ=environ)


def test_secrets_in_a_url_are_not_repeated() -> None:
    """A password inside a broker address that is refused does not reach the error."""
    with pytest.raises(KafkaConfigError) as caught:
        kafka_config(f"kafka://user:{SECRET}@host:9092", environ={})
    assert SECRET not in str(caught.value)


def test_repr_holds_no_password() -> None:
    """Printing the settings does not print the password."""
    assert SECRET not in repr(kafka_config(environ=SASL))
