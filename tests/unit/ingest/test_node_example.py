"""The example in Node: it computes the published vectors, and publishes valid events."""

import hashlib
import hmac
import http.client
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import event_docs
from ingest.fingerprint import fingerprint
from ingest.partition import murmur2, partition_for
from ingest.prefix import source_prefix
from ingest.records import event_record
from ingest.schema import CallbackEvent, parse_event

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "node"
VECTORS = ROOT / "docs" / "fingerprint-vectors.json"
PEPPER = bytes(range(32))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def vectors() -> dict[str, list[dict[str, Any]]]:
    """The published vectors."""
    found: dict[str, list[dict[str, Any]]] = json.loads(VECTORS.read_text("utf-8"))
    return found


def node(script: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script of the example."""
    return subprocess.run(
        [str(NODE), script, *arguments], cwd=EXAMPLE, input=text, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_the_vectors_are_those_of_the_code() -> None:
    """`make docs` writes them; each holds by another way than the one that made it."""
    assert VECTORS.read_text("utf-8") == event_docs.vectors_text()
    for one in vectors()["fingerprints"]:
        data = one["label"].encode() + b"\0" + bytes.fromhex(one["data"])
        made = hmac.new(bytes.fromhex(one["pepper"]), data, hashlib.sha256).hexdigest()
        assert made[:32] == one["fingerprint"]
    for one in vectors()["events"]:
        event = parse_event(one["canonical"])
        assert event == parse_event(json.dumps(one["event"]))
        assert (event_record(event).key or b"").hex() == one["key"]


def test_the_vectors_hold_for_kafkas_own_clients() -> None:
    """kafka-python hashes every key to the same number."""
    from kafka.partitioner.default import murmur2 as theirs

    for one in vectors()["partitions"]:
        assert theirs(bytes.fromhex(one["key"])) & 0xFFFFFFFF == one["murmur2"]


@needs_node
def test_node_computes_the_vectors_again() -> None:
    """Fingerprints, partitions, prefixes and whole records are the same in Node."""
    done = node("vectors.mjs", str(VECTORS))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d\d+ checked, 0 differ\n", done.stdout)


@needs_node
@pytest.mark.parametrize("kind", ["fingerprints", "partitions", "prefixes", "events"])
def test_a_wrong_vector_is_found(tmp_path: Path, kind: str) -> None:
    """The check can fail: one digit off in any kind of vector is told."""
    found = vectors()
    name = {"fingerprints": "fingerprint", "prefixes": "prefix", "events": "canonical"}.get(kind)
    found[kind][0][name or "murmur2"] = "x"
    changed = tmp_path / "vectors.json"
    changed.write_text(json.dumps(found), "utf-8")
    done = node("vectors.mjs", str(changed))
    assert (done.returncode, ", expected" in done.stderr) == (1, True)


@needs_node
def test_random_inputs_agree() -> None:
    """A few thousand random keys, data and addresses give the same in both languages."""
    chance = random.Random(11)
    keys = [chance.randbytes(chance.randrange(40)) for _ in range(1000)]
    groups = [[chance.choice((0, 0, 1, 0xFFFF, 0x2001)) for _ in range(8)] for _ in range(500)]
    ips = [":".join(f"{group:x}" for group in one) for one in groups]
    ips += [str(__import__("ipaddress").ip_address(ip)) for ip in ips]
    made = {
        "fingerprints": [
            {"pepper": PEPPER.hex(), "label": "body", "data": key.hex(),
             "fingerprint": fingerprint(PEPPER, "body", key)} for key in keys
        ],
        "partitions": [
            {"key": key.hex(), "murmur2": murmur2(key),
             "partition": {str(n): partition_for(key, n) for n in (1, 7, 64)}} for key in keys
        ],
        "prefixes": [{"ip": ip, "prefix": source_prefix(ip)} for ip in ips],
        "events": [],
    }  # fmt: skip
    done = node("vectors.mjs", "/dev/stdin", text=json.dumps(made))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.fixture
def receiver() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The example's receiver on a free port of this machine."""
    running = subprocess.Popen(
        [str(NODE), "receiver.mjs", "0"], cwd=EXAMPLE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
        env={"GITHUB_SECRET": "demo", "CALLWATCH_PEPPER": PEPPER.hex(),
             "CALLWATCH_QUEUE_BYTES": "100000"},
    )  # fmt: skip
    try:
        assert running.stderr is not None
        found = re.search(r":(\d+)/hooks", running.stderr.readline())
        assert found is not None
        yield int(found[1]), running
    finally:
        running.kill()
        running.communicate()


def call(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
    """Send one request; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def next_event(running: subprocess.Popen[str]) -> CallbackEvent:
    """The next event that the receiver published."""
    assert running.stdout is not None
    return parse_event(running.stdout.readline().rstrip("\n"))


def signed(body: bytes) -> str:
    """GitHub's signature."""
    return "sha256=" + hmac.new(b"demo", body, hashlib.sha256).hexdigest()


@needs_node
def test_its_receiver_publishes_valid_events(
    receiver: tuple[int, subprocess.Popen[str]],
) -> None:
    """Each answer has its event, valid by the model, with the fingerprints that Python computes."""
    port, running = receiver
    body, wrong = b'{"zen":"caf\xc3\xa9"}', "sha256=" + "0" * 64
    usual = {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "ping", "User-Agent": "GitHub-Hookshot/1"}  # fmt: skip # noqa: E501
    requests = [
        ("POST", "/hooks/github?q=CANARY", {"X-Hub-Signature-256": signed(body)}, 204, None),
        ("POST", "/hooks/github", {"X-Hub-Signature-256": wrong}, 401, "signature_invalid"),
        ("POST", "/hooks/github", {"X-Hub-Signature-256": "CANARY"}, 401, "signature_malformed"),
        ("POST", "/hooks/github", {}, 401, "signature_missing"),
        ("PUT", "/hooks/github", {}, 405, "method_not_allowed"),
        ("POST", "/CANARY", {}, 404, "endpoint_unknown"),
    ]
    events = []
    for method, path, headers, status, reason in requests:
        assert call(port, method, path, body, usual | headers) == status
        event = next_event(running)
        assert (event.status, event.reason) == (status, reason)
        assert event.delivery_fp == fingerprint(PEPPER, "delivery", b"d-1")
        assert event.body_fp == fingerprint(PEPPER, "body", body)
        assert (event.body_bytes, event.source_ip, event.method) == (len(body), "127.0.0.1", method)
        events.append(event)
    assert events[0].signature_ok
    assert events[0].signature_fp == fingerprint(
        PEPPER, "signature", bytes.fromhex(signed(body)[7:])
    )
    assert events[-1].path_fp == fingerprint(PEPPER, "path", b"/CANARY")
    assert event_record(events[-1]).key == b"127.0.0.0/24"
    assert not any("CANARY" in event.model_dump_json() for event in events)


@needs_node
def test_hostile_headers_make_no_invalid_event(
    receiver: tuple[int, subprocess.Popen[str]],
) -> None:
    """Whatever a stranger writes into headers and body, the event is valid and the answer comes."""
    port, running = receiver
    names = ("X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event", "User-Agent",
             "Content-Type")  # fmt: skip
    values = st.text(
        st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=300
    ).filter(lambda value: value == value.strip())

    @settings(max_examples=60)
    @given(st.dictionaries(st.sampled_from(names), values), st.binary(max_size=100))
    def judge(headers: dict[str, str], body: bytes) -> None:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        status = call(port, "POST", "/hooks/github", body, encoded)  # type: ignore[arg-type]
        if status != 400:  # what is no HTTP, Node answers by itself
            assert next_event(running).status == status == 401

    judge()


@needs_node
def test_without_its_settings_it_does_not_start() -> None:
    """A receiver without a secret would verify nothing: it says so and ends."""
    done = node("receiver.mjs", "0")
    assert (done.returncode, "GITHUB_SECRET and CALLWATCH_PEPPER" in done.stderr) == (2, True)


@needs_node
def test_a_reader_that_goes_away_ends_no_receiver(
    receiver: tuple[int, subprocess.Popen[str]],
) -> None:
    """Whoever reads the events may die: callbacks are answered as before."""
    port, running = receiver
    assert running.stdout is not None
    running.stdout.close()
    for _ in range(5):
        assert call(port, "POST", "/hooks/github", b"{}", {}) == 401
    assert running.poll() is None
    running.stdout = None


@needs_node
def test_a_reader_that_sleeps_holds_up_no_receiver(
    receiver: tuple[int, subprocess.Popen[str]],
) -> None:
    """Beyond its bound events are dropped, which it says, and callbacks are answered as before."""
    port, running = receiver
    agent = {"user-agent": "a" * 256, "content-type": "b" * 256}
    for _ in range(400):  # more than a pipe and the bound hold
        assert call(port, "POST", "/hooks/github", b"{}", agent) == 401
    assert running.stderr is not None
    assert running.stderr.readline() == "callwatch: 1 events dropped\n"
    assert next_event(running).status == 401
