"""docker-compose.yml and Dockerfile fit the code that they run."""

import importlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from detectors.sizing import SPEEDS, Stream, sized
from ingest.control import control_key
from ingest.examples.settings import load_settings
from ingest.kafka_config import kafka_config
from tests.kafka.container import ENVIRONMENT, IMAGE
from tests.unit.deployed import accepted, known_variables

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("callwatch:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DEFAULT = re.compile(r"\$\{(\w+):-([^}]*)\}")


def given(service: dict[str, Any]) -> dict[str, str]:
    """The service's environment where nobody sets a variable."""
    return {
        name: DEFAULT.sub(lambda match: match[2], value)
        for name, value in service.get("environment", {}).items()
    }


def bytes_of(size: str) -> int:
    """A size such as `256m`."""
    return int(size[:-1]) << {"k": 10, "m": 20, "g": 30}[size[-1]]


def seconds_of(duration: str) -> float:
    """A duration such as `20s`."""
    return float(duration.removesuffix("s"))


def test_it_follows_the_compose_specification() -> None:
    """The file is valid under the specification's own schema, which refuses unknown keys."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert not list(Draft202012Validator(schema).iter_errors(COMPOSE))
    wrong = {**COMPOSE, "services": {"kafka": {**SERVICES["kafka"], "helthcheck": {}}}}
    assert list(Draft202012Validator(schema).iter_errors(wrong))


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    """A service calls a command of callwatch with options that it has, or an application."""
    service = OURS[name]
    if "entrypoint" in service:
        program, factory, target = service["entrypoint"]
        module, _, attribute = target.partition(":")
        assert (program, factory) == ("uvicorn", "--factory")
        assert callable(getattr(importlib.import_module(module), attribute))
        return
    accepted(service["command"])  # a usage error here is one in the container


@pytest.mark.parametrize("name", OURS)
def test_variables_are_known_and_valid(name: str) -> None:
    """Every variable is one that the code reads, and its default is accepted."""
    variables = given(OURS[name])
    assert variables.keys() <= known_variables()
    assert kafka_config(environ=variables).bootstrap_servers == ("kafka:19092",)
    if name == "worker":
        assert control_key(variables) == b"callwatch demo control key"
    if name == "receiver":
        settings = load_settings(variables)
        assert settings.sender == "demo"
        assert settings.keys[0].secret.endswith(b"not secret")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    """No root, no capabilities, no new privileges, a read-only root; folders are mounted."""
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "USER callwatch" in DOCKERFILE.rpartition("FROM ")[2]
    for mount in service.get("volumes", []):
        folder = mount.partition(":")[2]
        assert re.search(rf"install -d -o callwatch -g callwatch -m 07\d0 {folder}\b", DOCKERFILE)


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_bounded(name: str) -> None:
    """Each has a limit of memory, processors and processes; a worker's holds what `size` reckons
    with for a small stream, and the room that a first start compiles in.
    """
    service = SERVICES[name]
    memory = bytes_of(service["mem_limit"])
    assert 0 < float(service["cpus"]) <= 2
    assert 0 < service["pids_limit"] <= 512
    least = {"worker": sized(Stream(1000, 1000), SPEEDS).worker_bytes}
    assert memory >= least.get(name, 128 << 20)
    for mount in service.get("tmpfs", []):
        assert bytes_of(mount.rpartition("size=")[2]) < memory / 2  # it counts as memory


@pytest.mark.parametrize("name", SERVICES)
def test_services_that_stay_are_looked_at(name: str) -> None:
    """Whatever is started again has a health check; the ready files that they look at are those of
    the commands, and lie where a container with a read-only root may write.
    """
    service = SERVICES[name]
    if service["restart"] == "no":
        assert "healthcheck" not in service
        return
    check = service["healthcheck"]
    assert {"test", "interval", "timeout", "retries", "start_period"} == check.keys()
    command = service.get("command", [])
    if "--ready-file" in command:
        file = command[command.index("--ready-file") + 1]
        assert file in " ".join(check["test"])
        assert service["tmpfs"][0].startswith(f"{Path(file).parent}:")
    if name == "worker":  # it compiles for a minute on a slow machine
        assert seconds_of(check["start_period"]) >= 90


def test_the_routers_check_tells_a_new_file_from_an_old_and_from_none(tmp_path: Path) -> None:
    """A router that hangs touches its file no more, and counts as unhealthy after a minute."""
    kind, line = SERVICES["router"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    file = tmp_path / "ready"
    command = line.replace("$$", "$").replace("/tmp/ready", str(file))

    def code() -> int:
        return subprocess.run(["sh", "-c", command], check=False, capture_output=True).returncode

    assert code() == 1
    file.touch()
    assert code() == 0
    long_ago = file.stat().st_mtime - 120
    os.utime(file, (long_ago, long_ago))
    assert code() == 1


def test_no_folder_of_one_worker_is_shared_by_several() -> None:
    """`docker compose up --scale worker=3` gives all three the same volumes: --cache-dir, which is
    for one worker, is not among them, and nothing else stands in the way.
    """
    worker = SERVICES["worker"]
    assert "--cache-dir" not in worker["command"]
    assert not {"container_name", "ports"} & worker.keys()


def test_images_are_pinned() -> None:
    """Every image has a full version; ours is this version, Kafka's is the one of the tests."""
    from_ = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    for image in [*from_, *(one["image"] for one in SERVICES.values())]:
        assert re.search(r":\d+\.\d+\.\d+(-[\w-]+)?$", image), image
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {one["image"] for one in OURS.values()} == {f"callwatch:{version[1]}"}
    assert SERVICES["kafka"]["image"] == IMAGE


def test_kafka_is_configured_completely() -> None:
    """The image forgets its defaults with the first setting: none that the tests need is missing,
    and every listener has an address, a protocol and a port.
    """
    kafka = given(SERVICES["kafka"])
    tested_only = {"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS"}
    assert ENVIRONMENT.keys() - tested_only <= kafka.keys()
    listeners = dict(one.split("://") for one in kafka["KAFKA_LISTENERS"].split(","))
    advertised = dict(one.split("://") for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = dict(
        one.split(":") for one in kafka["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
    )
    assert listeners.keys() == protocols.keys() == advertised.keys() | {"CONTROLLER"}
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka{listeners['CONTROLLER']}"
    assert advertised["INNER"] == "kafka:19092"
    assert SERVICES["kafka"]["healthcheck"]["test"][-1] == advertised["INNER"]
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_everything_waits_for_the_topics() -> None:
    """Topics are made once Kafka is healthy; whoever uses them starts after that."""
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for name in OURS.keys() - {"topics"}:
        waits = {"topics": {"condition": "service_completed_successfully"}}
        assert SERVICES[name]["depends_on"] == waits


def test_ports_are_local() -> None:
    """Nothing of the demo can be reached from other machines."""
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_holds_the_code_and_no_more() -> None:
    """What the Dockerfile copies exists and is let through by .dockerignore; nothing else is."""
    copied = set(_copied())
    allowed = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert allowed == copied | {"Dockerfile"}
    assert all((ROOT / name).exists() for name in copied)


def _copied() -> Iterator[str]:
    for arguments in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE):
        yield from arguments.split()[:-1]
