"""A broker with an authorizer and a listener for each way to fail at it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from tests.integration.receivers.certificates import make
from tests.kafka.java import Kafka, free_ports

PASSWORD: Final = "p4ss-c4n4ry"
USERS: Final = ("operator", "receiver", "worker", "router", "analyst", "nobody")
LISTENERS: Final = ("TLS", "MTLS", "EXPIRED", "SCRAM", "PLAIN", "AWAY", "LOST")
LOGIN: Final = "org.apache.kafka.common.security"
SETTINGS: Final = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MTLS:SSL,EXPIRED:SSL,SCRAM:SASL_SSL,PLAIN:SASL_PLAINTEXT,AWAY:PLAINTEXT,LOST:PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={{data}}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={{data}}/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={{data}}/expired.pem
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.plain.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.plain.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
"""


@dataclass(frozen=True)
class Secured:
    """Where its listeners are, and the folder of the certificates."""

    kafka: Kafka
    folder: Path
    ports: Mapping[str, int]

    def server(self, listener: str, host: str = "127.0.0.1") -> str:
        """`host:port` of a listener; the plain one of the tests is PLAINTEXT."""
        return self.kafka.servers if listener == "PLAINTEXT" else f"{host}:{self.ports[listener]}"

    def variables(self, listener: str, user: str = "", password: str = PASSWORD) -> dict[str, str]:
        """What the environment says of a client that reaches a listener as it should."""
        protocol = {"TLS": "SSL", "MTLS": "SSL", "EXPIRED": "SSL", "SCRAM": "SASL_SSL",
                    "PLAIN": "SASL_PLAINTEXT"}.get(listener, "PLAINTEXT")  # fmt: skip
        found = {"BOOTSTRAP_SERVERS": self.server(listener), "SECURITY_PROTOCOL": protocol}
        if protocol.endswith("SSL"):
            found["SSL_CAFILE"] = str(self.folder / "ca.pem")
        if protocol.startswith("SASL"):
            found |= {"SASL_MECHANISM": "SCRAM-SHA-512", "SASL_USERNAME": user}
            found["SASL_PASSWORD"] = password
        return found


def prepared(folder: Path) -> Secured:
    """One that is not started yet; raises `BrokerUnavailableError`."""
    make(folder)
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
    named = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    # two that send their clients where nobody is
    told = named | {"AWAY": "AWAY://127.0.0.1:1", "LOST": "LOST://broker.invalid:9092"}
    settings = SETTINGS.format(
        listeners=",".join(named.values()), advertised=",".join(told.values()), login=LOGIN
    )
    users = [f"SCRAM-SHA-512=[name={user},password={PASSWORD}]" for user in USERS]
    kafka = Kafka(folder, settings, users)
    return Secured(kafka, folder, {**ports, "CONTROLLER": kafka.controller})


def granted(page: Path, role: str) -> list[ACL]:
    """What the table of permissions in a page gives to a role; the user has its name."""
    (line,) = re.findall(rf"^\| {role}(?: \(.*?\))? \|.*$", page.read_text(), re.MULTILINE)
    _, _, topics, groups, _ = line.split("|")
    return [
        *_entries(f"User:{role}", ResourceType.TOPIC, topics),
        *_entries(f"User:{role}", ResourceType.GROUP, groups),
    ]


def _entries(user: str, kind: ResourceType, cell: str) -> Iterator[ACL]:
    for part in cell.split(";"):
        names = re.findall(r"`([^`]+)`", part)
        pattern = ACLResourcePatternType.PREFIXED if "prefix" in part else None
        for operation in re.findall(r"\b[A-Z_]{4,}\b", part):
            for name in names:
                yield ACL(
                    principal=user,
                    host="*",
                    operation=ACLOperation[operation],
                    permission_type=ACLPermissionType.ALLOW,
                    resource_pattern=ResourcePattern(
                        kind, name, pattern or ACLResourcePatternType.LITERAL
                    ),
                )


def grant(servers: str, acls: list[ACL]) -> None:
    """Have them hold."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        assert not admin.create_acls(acls)["failed"]
    finally:
        admin.close()
