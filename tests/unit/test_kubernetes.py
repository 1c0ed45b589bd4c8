"""The manifests of examples/deploy/kubernetes fit the code that they run, and each other."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from detectors.config import Config
from detectors.config_file import load_config
from detectors.engines.faust_app import SAVE_SECONDS, STOP_SECONDS
from detectors.sizing import COMPILING_BYTES
from ingest.control import control_key
from ingest.errors import ControlError
from ingest.kafka_config import kafka_config
from tests.unit.deployed import accepted, known_variables

FOLDER = Path(__file__).parents[2] / "examples" / "deploy" / "kubernetes"
DOCKERFILE = (FOLDER.parents[2] / "Dockerfile").read_text("utf-8")
FILES = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.yaml")}
KUSTOMIZATION: dict[str, Any] = yaml.safe_load(FILES["kustomization.yaml"])
OBJECTS: list[dict[str, Any]] = [
    one
    for name, text in FILES.items()
    if name != "kustomization.yaml"
    for one in yaml.safe_load_all(text)
]
RUNNING = {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] in {"Deployment", "Job"}}
KUBECTL = shutil.which("kubectl")
APPLIED_BY_HAND = {"secrets.yaml", "topics.yaml"}
IMAGES = {"callwatch", "registry.example/callwatch:0.1.0"}


def named(kind: str, name: str) -> dict[str, Any]:
    """The object of a kind and name; there is one."""
    (found,) = (o for o in OBJECTS if (o["kind"], o["metadata"]["name"]) == (kind, name))
    return found


def pod(name: str) -> dict[str, Any]:
    """The pods' specification."""
    spec: dict[str, Any] = RUNNING[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    """The only container."""
    (found,) = pod(name)["containers"]
    return dict(found)


def environ(name: str) -> dict[str, str]:
    """What the process finds in its environment."""
    found: dict[str, str] = {}
    for source in container(name)["envFrom"]:
        found |= named("ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {one["name"]: one["value"] for one in container(name)["env"]}


def mounts(name: str) -> dict[Path, dict[str, Any]]:
    """The volumes by the folder where they are."""
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    found = {
        Path(one["mountPath"]): volumes.pop(one["name"]) for one in container(name)["volumeMounts"]
    }
    assert volumes == {}
    return found


def mebibytes(quantity: str) -> int:
    """A quantity such as `256Mi`."""
    return int(quantity.removesuffix("Mi"))


def test_everything_is_applied_or_says_how() -> None:
    """The kustomization has every file but those that are applied once, by hand."""
    assert {*KUSTOMIZATION["resources"], *APPLIED_BY_HAND, "kustomization.yaml"} == FILES.keys()
    image = KUSTOMIZATION["images"][0]
    assert {image["name"], f"{image['newName']}:{image['newTag']}"} == IMAGES
    version = re.search(
        r'^version = "(.+)"', (FOLDER.parents[2] / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert version is not None
    assert image["newTag"] == version[1]
    assert {container(name)["image"] for name in RUNNING} == IMAGES
    for name in APPLIED_BY_HAND:
        assert "kubectl" in FILES[name].partition("apiVersion")[0]


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
def test_kubectl_builds_it() -> None:
    """What `kubectl apply -k` would send: all in one namespace, with the image that is given."""
    command = [KUBECTL or "", "kustomize", str(FOLDER)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    built = list(yaml.safe_load_all(done.stdout))
    assert {one["metadata"]["namespace"] for one in built} == {KUSTOMIZATION["namespace"]}
    wanted = [o for o in OBJECTS if o["kind"] not in {"Secret", "Job"}]
    assert sorted((o["kind"], o["metadata"]["name"]) for o in built) == sorted(
        (o["kind"], o["metadata"]["name"]) for o in wanted
    )
    pods = [o["spec"]["template"]["spec"] for o in built if o["kind"] == "Deployment"]
    assert {c["image"] for p in pods for c in p["containers"]} == IMAGES - {"callwatch"}


@pytest.mark.parametrize("name", RUNNING)
def test_commands_exist_and_write_where_they_may(name: str, tmp_path: Path) -> None:
    """The command has these options; what it reads is mounted, what it writes is writable."""
    words = []
    for word in container(name)["args"]:
        option, equals, value = word.partition("=")
        path = Path(value)
        if equals and path.is_absolute():
            volume = mounts(name)[next(m for m in mounts(name) if m in path.parents)]
            if option in {"--config", "--inventory"}:
                data = named("ConfigMap", volume["configMap"]["name"])["data"]
                (tmp_path / path.name).write_text(data[path.name])
                word = f"{option}={tmp_path / path.name}"
            else:
                assert "emptyDir" in volume
        words.append(word)
    given = accepted(words).params
    if name == "callwatch-worker":
        config = load_config(given["config_file"], inventory=given["inventory"])
        assert config.hash == Config().hash
        assert given["cache_dir"].parent == Path(environ(name)["CALLWATCH_CACHE_DIR"])


@pytest.mark.parametrize("name", RUNNING)
def test_variables_are_known_and_files_of_secrets_are_mounted(name: str, tmp_path: Path) -> None:
    """Kafka's settings are accepted; each secret is a file out of the Secret that is mounted there,
    readable by the group of the pod and by nobody else.
    """
    variables = environ(name)
    assert variables.keys() <= known_variables()
    for key, value in variables.items():
        if key.endswith("_FILE"):
            secret = mounts(name)[Path(value).parent]["secret"]
            assert secret["defaultMode"] == 0o440
            assert pod(name)["securityContext"]["fsGroup"] == 10001
            if secret["secretName"] != "callwatch-operator":
                data = named("Secret", secret["secretName"])["stringData"]
                assert Path(value).name in data
            (tmp_path / Path(value).name).write_text("not secret")
            variables[key] = str(tmp_path / Path(value).name)
    config = kafka_config(environ=variables)
    assert (config.security_protocol, config.sasl_password) == ("SASL_SSL", "not secret")
    assert config.sasl_username == name.replace("topics", "operator")
    if name == "callwatch-worker":
        Path(variables["CALLWATCH_CONTROL_KEY_FILE"]).write_text("ab" * 16)
        assert control_key(variables) == bytes.fromhex("ab" * 16)


def test_the_secrets_shown_are_refused() -> None:
    """Nobody runs under a control key that everybody can read."""
    shown = named("Secret", "callwatch-worker")["stringData"]["control-key"]
    with pytest.raises(ControlError, match="in hexadecimal"):
        control_key({"CALLWATCH_CONTROL_KEY": shown})


@pytest.mark.parametrize("name", RUNNING)
def test_pods_are_bounded_and_can_do_little(name: str) -> None:
    """Limits and requests; no root, no privileges, a read-only root, no token of the cluster."""
    spec, one = pod(name), container(name)
    assert {"cpu", "memory"} == one["resources"]["limits"].keys()
    assert {"cpu", "memory"} == one["resources"]["requests"].keys()
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    who = spec["securityContext"]
    assert who["runAsNonRoot"]
    assert f"--uid {who['runAsUser']} " in DOCKERFILE
    assert f"--gid {who['runAsGroup']} " in DOCKERFILE
    assert who["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    assert all("sizeLimit" in v["emptyDir"] for v in mounts(name).values() if "emptyDir" in v)
    in_memory = sum(
        mebibytes(volume["emptyDir"]["sizeLimit"])
        for volume in mounts(name).values()
        if volume.get("emptyDir", {}).get("medium") == "Memory"
    )
    room = mebibytes(one["resources"]["limits"]["memory"]) - in_memory
    assert room >= (COMPILING_BYTES >> 20 if name == "callwatch-worker" else 128)


def test_workers_stop_in_order_and_all_before_the_first_of_the_new() -> None:
    """They have the time to save, readiness is what they say of it, and no probe kills them."""
    worker, one = RUNNING["callwatch-worker"], container("callwatch-worker")
    assert worker["spec"]["strategy"] == {"type": "Recreate"}
    grace = pod("callwatch-worker")["terminationGracePeriodSeconds"]
    assert grace >= 2 * (SAVE_SECONDS + STOP_SECONDS)
    probe, (port,) = one["readinessProbe"]["httpGet"], one["ports"]
    assert (probe["path"], probe["port"]) == ("/readyz", port["name"])
    assert f"--metrics=0.0.0.0:{port['containerPort']}" in one["args"]
    assert "livenessProbe" not in one
    partitions = container("callwatch-topics")["args"]
    assert worker["spec"]["replicas"] <= int(partitions[partitions.index("--partitions") + 1])
    budget = named("PodDisruptionBudget", "callwatch-worker")["spec"]
    assert budget["maxUnavailable"] < worker["spec"]["replicas"]
    for found in (budget["selector"], worker["spec"]["selector"]):
        assert found["matchLabels"] == worker["spec"]["template"]["metadata"]["labels"]


def test_the_router_is_one_and_is_started_again_when_it_hangs() -> None:
    """Its probes look at the age of the file that it touches."""
    router, one = RUNNING["callwatch-router"], container("callwatch-router")
    assert (router["spec"]["replicas"], router["spec"]["strategy"]) == (1, {"type": "Recreate"})
    for probe in ("readinessProbe", "livenessProbe"):
        *_, line = one[probe]["exec"]["command"]
        assert line == 'test -n "$(find /tmp/ready -mmin -1)"'
    assert "--ready-file=/tmp/ready" in one["args"]
    assert (
        router["spec"]["selector"]["matchLabels"]
        == (router["spec"]["template"]["metadata"]["labels"])
    )


def test_what_detection_depends_on_changes_only_under_a_new_name() -> None:
    """A pod that is started anew by chance finds the configuration of its fellows."""
    maps = [one for one in OBJECTS if one["kind"] == "ConfigMap"]
    assert len(maps) == 2
    assert all(one["immutable"] and one["metadata"]["name"].endswith("-1") for one in maps)
