"""TLS, client certificates, SCRAM and OAUTHBEARER against a real broker, by variables alone."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ingest.kafka_cluster import KafkaCluster
from ingest.topics import create
from tests.integration.receivers.certificates import KEY_PASSWORD, make
from tests.kafka.broker import BrokerUnavailableError, broker_required
from tests.kafka.java import Kafka, free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
PASSWORD = "p4ssw0rd-canary"
SECRET = "cl1ent-canary"
LISTENERS = ("TLS", "SCRAM", "OAUTH")
REASONS = {
    "TLS": "it wants a client certificate that it trusts",
    "SCRAM": 'it refuses the SCRAM-SHA-512 login of "receiver"',
    "OAUTH": "no OAUTHBEARER token from its issuer: HTTPError",
}
LOGIN = "org.apache.kafka.common.security"
SETTINGS = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},{listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SCRAM:SASL_SSL,OAUTH:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={{data}}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={{data}}/ca.pem
listener.name.tls.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
"""  # noqa: E501 - properties have no continuation that reads better


class _Issuer(BaseHTTPRequestHandler):
    """Gives an unsigned token to the client that shows its secret; Kafka takes those in tests."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        known = base64.b64encode(f"receiver:{SECRET}".encode()).decode()
        right = self.headers["authorization"] == f"Basic {known}"
        now = int(time.time())
        claims = {"sub": "receiver", "iat": now, "exp": now + 600}
        parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        body = json.dumps({"access_token": f"{token}.", "expires_in": 600}).encode()
        self.send_response(200 if right else 401)
        self.end_headers()
        self.wfile.write(body if right else b"{}")

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The URL of an issuer of tokens."""
    with HTTPServer(("127.0.0.1", 0), _Issuer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join(20)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder of the certificates, and the address of every secured listener."""
    folder = tmp_path_factory.mktemp("secured")
    make(folder)
    ports = dict(zip(LISTENERS, free_ports(3), strict=True))
    named = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
    try:
        kafka = Kafka(
            folder,
            SETTINGS.format(listeners=named, login=LOGIN),
            [f"SCRAM-SHA-512=[name=receiver,password={PASSWORD}]"],
        )
    except BrokerUnavailableError as error:
        if broker_required():
            pytest.fail(f"CALLWATCH_REQUIRE_BROKER=1, but {error}", pytrace=False)
        pytest.skip(str(error))
    try:
        kafka.start()
        cluster = KafkaCluster([kafka.servers])
        create(cluster, partitions=1, replication=1)
        cluster.close()
        yield folder, {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        kafka.stop()


def _variables(name: str, folder: Path, issuer: str) -> dict[str, str]:
    (folder / "secret").write_text(SECRET)
    found = {"SSL_CAFILE": str(folder / "ca.pem")}
    if name == "TLS":
        found |= {"SECURITY_PROTOCOL": "SSL", "SSL_CERTFILE": str(folder / "client.pem")}
        found |= {"SSL_KEYFILE": str(folder / "client.key"), "SSL_KEY_PASSWORD": KEY_PASSWORD}
    elif name == "SCRAM":
        found |= {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "SCRAM-SHA-512",
                  "SASL_USERNAME": "receiver", "SASL_PASSWORD": PASSWORD}  # fmt: skip
    else:
        found |= {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER",
                  "SASL_TOKEN_URL": issuer, "SASL_CLIENT_ID": "receiver",
                  "SASL_CLIENT_SECRET_FILE": str(folder / "secret")}  # fmt: skip
    return found


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize("right", [True, False])
def test_who_may_publish_is_the_brokers_to_say(
    name: str,
    right: bool,
    brokers: tuple[Path, dict[str, str]],
    issuer: str,
) -> None:
    """With the right secrets events arrive; with wrong ones they wait, and the log says why."""
    folder, addresses = brokers
    given = _variables(name, folder, issuer)
    if not right:
        wrong = {"TLS": ("SSL_CERTFILE", "SSL_KEYFILE", "SSL_KEY_PASSWORD"), "SCRAM": (),
                 "OAUTH": ("SASL_CLIENT_SECRET_FILE",)}[name]  # fmt: skip
        given = {key: value for key, value in given.items() if key not in wrong}
        more = {"TLS": {}, "SCRAM": {"SASL_PASSWORD": PASSWORD + "x"},
                "OAUTH": {"SASL_CLIENT_SECRET": SECRET + "x"}}[name]  # fmt: skip
        given |= more
    environ = {key: value for key, value in os.environ.items() if "CALLWATCH" not in key}
    environ |= {f"CALLWATCH_KAFKA_{key}": value for key, value in given.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.receivers.publish_once", "30" if right else "4"],
        env=environ | {"CALLWATCH_KAFKA_BOOTSTRAP_SERVERS": addresses[name]},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    expected = {"flushed": right, "sent": int(right), "failed": not right}
    assert json.loads(done.stdout) == expected, done.stderr[-3000:]
    assert right or REASONS[name] in done.stderr
    for canary in (PASSWORD, SECRET, KEY_PASSWORD):
        assert canary not in done.stderr
