"""OAUTHBEARER: tokens from files and issuers, and settings that cannot have no effect."""

import base64
import json
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from kafka.net.sasl.oauth import SaslMechanismOAuth

from detectors.engines.worker_cli import worker
from ingest.errors import TransportError
from ingest.kafka_config import KafkaConfigError, kafka_config
from ingest.kafka_oauth import FileToken, IssuedToken

CANARY = "s3cret-canary"
PREFIX = "CALLWATCH_KAFKA_"
BASE = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"}
ISSUER = BASE | {
    "SASL_TOKEN_URL": "https://issuer.example.com/token",
    "SASL_CLIENT_ID": "receiver",
    "SASL_CLIENT_SECRET": CANARY,
}


def environ(given: dict[str, str], *without: str, **more: str) -> dict[str, str]:
    """The variables with their prefix."""
    found = {name: value for name, value in given.items() if name not in without} | more
    return {PREFIX + name: value for name, value in found.items()}


def test_a_file_is_read_at_every_connection(tmp_path: Path) -> None:
    """A projected token that was renewed is used at once, by kafka-python's own mechanism."""
    file = tmp_path / "token"
    config = kafka_config("a:1", environ(BASE, SASL_TOKEN_FILE=str(file)))
    mechanism = SaslMechanismOAuth(**config.keywords())
    for token in ("one", "two"):
        file.write_text(token + "\n")
        assert mechanism.auth_bytes() == f"n,,\x01auth=Bearer {token}\x01\x01".encode()
    for content in (b"", b"\xff", b"a\x01b"):
        file.write_bytes(content)
        with pytest.raises(TransportError, match="holds none"):
            FileToken(str(file)).token()


def test_an_issuer_is_asked_when_a_token_ends() -> None:
    """The client authenticates by its header; a token is kept until shortly before its end."""
    asked: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
    times = iter([0.0, 69.0, 71.0, 71.0])

    def fetch(url: str, headers: dict[str, str], body: bytes) -> bytes:
        asked.append((url, headers, urllib.parse.parse_qs(body.decode())))
        return json.dumps({"access_token": f"t{len(asked)}", "expires_in": 100}).encode()

    source = IssuedToken("https://i/t", "a:b", CANARY, "kafka", fetch, lambda: next(times))
    found = [source.token() for _ in range(3)]
    assert found == ["t1", "t1", "t2"]
    url, headers, form = asked[0]
    assert url == "https://i/t"
    assert base64.b64decode(headers["Authorization"][6:]).decode() == f"a%3Ab:{CANARY}"
    assert form == {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    assert CANARY not in repr(source)
    assert "t2" not in repr(source)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"access_token": 7}', b'{"access_token":"a\\n"}']
)
def test_a_strange_answer_is_no_token(answer: bytes) -> None:
    """Whatever an issuer says, the error names its kind and repeats nothing."""
    source = IssuedToken("https://i/t", "a", CANARY, fetch=lambda *_: answer)
    with pytest.raises(TransportError, match="no OAUTHBEARER token") as caught:
        source.token()
    assert CANARY not in str(caught.value)


class _Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks to another path, and notes who followed."""

    paths: list[str] = []  # noqa: RUF012 - shared on purpose

    def do_POST(self) -> None:
        self.paths.append(self.path)
        self.send_response(302)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the server's names

    def log_message(self, *_: Any) -> None: ...


def test_a_redirect_is_not_followed() -> None:
    """The client's secret is shown to nobody but the issuer that is configured."""
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/token"
            with pytest.raises(TransportError, match="HTTPError"):
                IssuedToken(url, "a", CANARY).token()
        finally:
            server.shutdown()
            thread.join(20)
    assert _Elsewhere.paths == ["/token"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (environ(BASE), "exactly one of .*TOKEN_FILE and .*TOKEN_URL is needed with OAUTHBEARER"),
        (environ(ISSUER, SASL_TOKEN_FILE="/x"), "exactly one of"),
        (environ(ISSUER, SASL_USERNAME="x"), "SASL_USERNAME has no effect with OAUTHBEARER"),
        (environ(ISSUER, SASL_TOKEN_URL="http://i/t"), "SASL_TOKEN_URL must be https://"),
        (environ(ISSUER, SASL_TOKEN_URL="https://["), "SASL_TOKEN_URL must be https://"),
        (environ(ISSUER, SASL_TOKEN_URL=f"https://a:{CANARY}@i/t"), "must hold no user"),
        (environ(ISSUER, "SASL_CLIENT_ID"), "SASL_CLIENT_ID is needed"),
        (environ(ISSUER, "SASL_CLIENT_SECRET"), "exactly one of .*CLIENT_SECRET"),
        (environ(BASE, SASL_TOKEN_FILE="/x", SASL_SCOPE="s"), "SASL_SCOPE has no effect with"),
        (
            environ(ISSUER, SASL_MECHANISM="PLAIN", SASL_USERNAME="u", SASL_PASSWORD="p"),
            "SASL_TOKEN_URL has no effect with PLAIN",
        ),
        (
            environ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_PASSWORD": CANARY}),
            "SSL_KEY_PASSWORD has no effect with no SSL_KEYFILE",
        ),
    ],
)
def test_settings_without_effect_are_errors(given: dict[str, str], fault: str) -> None:
    """Nobody should believe in a protection that is not there; no secret is repeated."""
    with pytest.raises(KafkaConfigError, match=fault) as caught:
        kafka_config("a:1", given)
    assert CANARY not in str(caught.value)


def test_secrets_come_from_files_and_stay_out_of_texts(tmp_path: Path) -> None:
    """A client's secret and a key's password may be mounted; `repr` shows neither."""
    secret, key = tmp_path / "secret", tmp_path / "key.pem"
    secret.write_text(CANARY + "\n")
    key.write_text("pem")
    given = environ(
        ISSUER, "SASL_CLIENT_SECRET", SASL_CLIENT_SECRET_FILE=str(secret),
        SSL_CERTFILE=str(key), SSL_KEYFILE=str(key), SSL_KEY_PASSWORD_FILE=str(secret),
    )  # fmt: skip
    found = kafka_config("a:1", given)
    assert isinstance(found.tokens, IssuedToken)
    assert (found.tokens.secret, found.keywords()["ssl_password"]) == (CANARY, CANARY)
    assert CANARY not in repr(found)


def test_a_worker_says_that_it_takes_no_tokens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Faust's client has no OAUTHBEARER: an error at start, not a connection that never works."""
    for name, value in environ(BASE, SASL_TOKEN_FILE=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(worker, [])
    assert done.exit_code == 2
    assert "allowed for a worker are PLAIN and SCRAM" in done.output
