"""What a worker tells over HTTP: metrics whose sums are right, and probes that say why."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import click
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from detectors.engines import endpoint as module
from detectors.engines.accounts import Labels
from detectors.engines.endpoint import MOST_REQUESTS, Address, Endpoint
from detectors.engines.errors import EngineError
from detectors.engines.metrics import ABOUT, PREFIX, WorkerMetrics
from detectors.engines.ports import TopicPartition
from detectors.engines.seen import STARTING, Place, Seen, Standing
from detectors.engines.tally import Tally

ROOT = Path(__file__).parents[3]
WHERE = TopicPartition("callwatch.events", 3)
COUNTERS = {
    "consumed": 12, "scored": 7, "rejected.not_json": 2, "rejected.time_out_of_range": 1,
    "duplicates": 1, "reports": 1, "controls": 0, "suppressed.allowlist": 4, "newer_schema": 3,
}  # fmt: skip


def _seen(
    *standings: Standing, ready: bool = True, busiest: dict[str, float] | None = None
) -> Seen:
    tally = Tally(waiting=1, checkpoints=2, checkpoint_seconds=0.5, checkpoint_bytes=1000)
    tally.alerts["replay-burst", "high"] = 2
    tally.rebuilt["damaged"] = 1
    of = {"callwatch.events": 4, "callwatch.alerts": None}
    busiest = busiest or {}
    return Seen("g", "c1", ready, standings, {WHERE: 100}, True, COUNTERS, busiest, of, tally)


def _standing(walked: int, time_us: int | None, *, restored: bool = True) -> Standing:
    return Standing(WHERE, Place(WHERE, walked, walked - 5), restored, time_us, 0)


def _samples(seen: Seen, now: float = 0.0) -> dict[str, float]:
    """Each sample by its name without the prefix, and its labels' values."""
    return {
        " ".join([sample.name.removeprefix(PREFIX), *sample.labels.values()]): sample.value
        for family in WorkerMetrics(seen, now).collect()
        for sample in family.samples
    }


def test_outcomes_add_up_to_what_was_consumed() -> None:
    """Consumed = scored + rejected + duplicates + reports + controls, and reasons = rejected."""
    found = _samples(_seen())
    outcomes = [n for name, n in found.items() if name.startswith("records_total ")]
    reasons = [n for name, n in found.items() if name.startswith("records_rejected_total ")]
    assert found["records_consumed_total"] == sum(outcomes) == 12
    assert found["records_total rejected"] == sum(reasons) == 3
    assert found["alerts_suppressed_total allowlist"] == 4
    assert (found["alerts_total replay-burst high"], found["alerts_waiting"]) == (2, 1)
    assert found["states_rebuilt_total damaged"] == 1


def test_unaccounted_records_do_not_cancel_out() -> None:
    """One partition with a record too many and one with a record too few make two, not none."""
    wrong = [Standing(WHERE, Place(WHERE, 9, 9), True, None, lost) for lost in (1, -1)]
    assert _samples(_seen(*wrong))["records_unaccounted"] == 2


@pytest.mark.parametrize(
    ("walked", "time_us", "lag", "delay"),
    [
        (90, 1_000_000_000_000, 10.0, 500.0),
        (100, 1_000_000_000_000, 0.0, 0.0),  # idle, however long ago the last one was
        (130, 1_000_000_000_000, 0.0, 0.0),  # walked since the end was asked for
        (90, 3_000_000_000_000, 10.0, 0.0),  # the broker's clock is ahead
        (90, None, 10.0, None),  # nothing was walked yet
    ],
    ids=["behind", "level", "newer", "ahead", "new"],
)
def test_lag_and_delay(walked: int, time_us: int | None, lag: float, delay: float | None) -> None:
    """The lag is never below 0, and only what lags has a delay."""
    found = _samples(_seen(_standing(walked, time_us)), now=1_000_500.0)
    assert found["partition_lag_records callwatch.events 3"] == lag
    assert found.get("partition_delay_seconds callwatch.events 3") == delay


def test_what_is_restored_has_no_offset_yet() -> None:
    """Nothing is told of how far a partition is before that is known."""
    found = _samples(_seen(Standing(WHERE, None, False, None, 0), ready=False))
    of_it = {name: n for name, n in found.items() if name.startswith("partition_")}
    assert of_it == {"partition_restored callwatch.events 3": 0}


def test_a_rebuild_is_seen_to_come_nearer() -> None:
    """While a state is rebuilt its lag is told, and only what a checkpoint reflects is not."""
    found = _samples(_seen(_standing(60, 1_000_000, restored=False), ready=False), now=31.0)
    assert {name: n for name, n in found.items() if name.startswith("partition_")} == {
        "partition_restored callwatch.events 3": 0,
        "partition_offset callwatch.events 3": 60,
        "partition_lag_records callwatch.events 3": 40,
        "partition_delay_seconds callwatch.events 3": 30,
    }


def test_reasons_are_told_before_anything_happened() -> None:
    """A series that begins with its first event would show no increase."""
    found = _samples(STARTING)
    rebuilt = {n for name, n in found.items() if name.startswith("states_rebuilt_total ")}
    assert rebuilt == {0}
    assert (found["worker_ready"], found["records_consumed_total"]) == (0, 0)


def test_number_of_partitions_is_told_where_it_matters() -> None:
    """What nobody has is found by it; how many the alerts have concerns no worker."""
    found = _samples(_seen())
    assert found["partitions callwatch.events"] == 4
    assert "partitions callwatch.alerts" not in found


@pytest.fixture
def port() -> Iterator[tuple[Endpoint, int]]:
    """An endpoint on a free port of this machine."""
    here = Endpoint("127.0.0.1", 0)
    yield here, here.port
    here.close()


def _get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_every_metric_is_served_and_described(port: tuple[Endpoint, int]) -> None:
    """Prometheus' own parser reads all of them, with their texts; hostile senders are escaped."""
    here, number = port
    hostile = {'x"} 1\ncallwatch_worker_ready 0\u202e': 0.5}
    here.tell(lambda: _seen(_standing(90, 1), busiest=Labels().of(hostile)))
    status, text = _get(number, "/metrics")
    families = {each.name: each for each in text_string_to_metric_families(text)}
    assert status == 200
    for name, about in ABOUT.items():
        assert families[PREFIX + name].documentation == about.text
        assert families[PREFIX + name].samples, name
    assert [each.value for each in families[PREFIX + "worker_ready"].samples] == [1.0]
    [sender] = families[PREFIX + "sender_share"].samples
    assert not {"\n", "\u202e"} & set(sender.labels["sender"])
    assert "process_resident_memory_bytes" in families


@pytest.mark.parametrize(
    ("seen", "healthy", "ready"),
    [
        (None, (200, "ok\n"), (503, "starting\n")),
        (_seen(_standing(1, 1)), (200, "ok\n"), (200, "ready\n")),
        (_seen(ready=False), (200, "ok\n"), (503, "no share of the partitions yet\n")),
        (
            _seen(Standing(WHERE, None, False, None, 0), ready=False),
            (200, "ok\n"),
            (503, "restoring callwatch.events/3\n"),
        ),
    ],
    ids=["starting", "ready", "without-a-share", "restoring"],
)
def test_probes_say_why(
    port: tuple[Endpoint, int], seen: Seen | None, healthy: tuple[int, str], ready: tuple[int, str]
) -> None:
    """It is well while it starts and restores, and ready when all is restored."""
    here, number = port
    if seen is not None:
        here.tell(lambda: seen)
    assert (_get(number, "/healthz"), _get(number, "/readyz")) == (healthy, ready)


def test_worker_that_does_not_answer_is_not_well(port: tuple[Endpoint, int]) -> None:
    """Where the event loop is stuck all three paths say so, without a traceback."""

    def stuck() -> Seen:
        raise TimeoutError

    here, number = port
    here.tell(stuck)
    for path in ("/healthz", "/readyz", "/metrics"):
        assert _get(number, path) == (503, "the worker does not answer\n")


def test_other_paths_and_methods_are_refused(port: tuple[Endpoint, int]) -> None:
    """There is nothing else, and nothing to write."""
    _, number = port
    assert _get(number, "/")[0] == 404
    assert _get(number, "/metrics", "POST")[0] == 405


def test_no_request_takes_long_however_it_is_sent(
    port: tuple[Endpoint, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends a byte now and then is cut off, and its place is free again."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    here, number = port
    here.tell(_seen)
    with socket.create_connection(("127.0.0.1", number), timeout=10) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        cut = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not cut.wait(0.05):
                    slow.sendall(b"a")

        sending = threading.Thread(target=trickle)
        sending.start()
        try:
            assert slow.recv(1) == b""
        except ConnectionResetError:
            pass
        finally:
            cut.set()
            sending.join(10)
    assert _get(number, "/healthz") == (200, "ok\n")


def test_open_connections_are_bounded(
    port: tuple[Endpoint, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds connections open is served no more than so many, and others again afterwards."""
    here, number = port
    here.tell(_seen)
    held = [socket.create_connection(("127.0.0.1", number)) for _ in range(MOST_REQUESTS)]
    with socket.create_connection(("127.0.0.1", number), timeout=10) as late:
        assert late.recv(1) == b"", "closed at once"
    for each in held:
        each.close()
    for _ in range(1000):
        try:
            assert _get(number, "/healthz") == (200, "ok\n")
            break
        except OSError:  # their threads have not noticed yet
            continue
    else:
        pytest.fail("not served after the others went")


@pytest.mark.parametrize("where", ["", "x:y", "host", "1.2.3.4:0", "1.2.3.4:65536", "a b:1", "-1"])
def test_wrong_addresses_are_named(where: str) -> None:
    """What is no address is an error that says what is allowed."""
    with pytest.raises(click.BadParameter, match="allowed is HOST:PORT, or PORT from 1 to 65535"):
        Address().convert(where, None, None)


@pytest.mark.parametrize(
    ("where", "is_"),
    [("9464", ("127.0.0.1", 9464)), ("[::1]:80", ("::1", 80)), ("a-b.c:1", ("a-b.c", 1))],
)
def test_addresses(where: str, is_: tuple[str, int]) -> None:
    """A port alone is one of this machine."""
    assert Address().convert(where, None, None) == is_


def test_taken_port_is_named(port: tuple[Endpoint, int]) -> None:
    """A port that another process has is an error in one line."""
    with pytest.raises(EngineError, match=f"--metrics 127.0.0.1:{port[1]}: cannot listen there"):
        Endpoint("127.0.0.1", port[1])


def test_names_that_look_alike_are_one_series() -> None:
    """Two series with equal labels would make Prometheus refuse all the others, too."""
    alike = {"\u202e" * 60 + end: 0.25 for end in "ab"}
    ((label, share),) = Labels().of(alike).items()
    assert share == 0.5
    assert "\u202e" not in label


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Prometheus")
def test_alerting_rules_do_what_they_say() -> None:
    """Quiet while all is well; told where nothing is watched, something lags or is not saved."""
    subprocess.run(
        ["promtool", "test", "rules", "callwatch-rules-test.yml"],
        cwd=ROOT / "examples" / "monitoring",
        check=True,
        capture_output=True,
    )


def test_alerting_rules_use_metrics_that_there_are() -> None:
    """Each name in the rules that are offered is one of a worker's, with its labels."""
    rules = yaml.safe_load((ROOT / "examples/monitoring/callwatch-rules.yml").read_text("utf-8"))
    known = {
        f"{PREFIX}{name}{'_total' if about.counts else ''}": about for name, about in ABOUT.items()
    }
    used = set()
    for rule in rules["groups"][0]["rules"]:
        names = re.findall(rf"{PREFIX}\w+", rule["expr"])
        assert not set(names) - set(known), rule["alert"]
        assert names or re.search(r"\b(up|process_\w+)\{", rule["expr"]), rule["alert"]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label == "instance" or label in known[names[0]].labels, rule["alert"]
        used |= set(names)
    assert len(used) >= 8


def test_metrics_and_rules_are_documented() -> None:
    """docs/monitoring.md says what every metric is, and what to do about every rule's alert."""
    text = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    rules = (ROOT / "examples/monitoring/callwatch-rules.yml").read_text("utf-8")
    wanted = [f"`{PREFIX}{name}{'_total' if of.counts else ''}`" for name, of in ABOUT.items()]
    wanted += [f"| `{name}` |" for name in re.findall(r"alert: (\w+)", rules)]
    assert [each for each in wanted if each not in text] == []
