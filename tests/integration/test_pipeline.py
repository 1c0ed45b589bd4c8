"""On a real Kafka the worker gives the same alerts as one process that is never disturbed."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from alerts.alert import Alert
from detectors.config import Config
from detectors.config_file import load_config
from detectors.engines.local import run_local
from detectors.snapshot import State, unpack
from ingest.sources import read_events
from tests.integration.conftest import Traffic
from tests.integration.pipeline import PARTITIONS, STATE, Pipeline, Process, wait_until

pytestmark = pytest.mark.integration


def _assert_same(
    found: Sequence[bytes],
    traffic: Traffic,
    made: Pipeline,
    config: Config,
    but: Sequence[str] = (),
) -> None:
    """The local engine's alerts, ids and contents; and the state of one undisturbed core."""
    assert sorted(set(found)) == sorted(traffic.alerts)
    for partition, core in enumerate(made.undisturbed(config)):
        there, expected = _parts(made.checkpoint(partition).snapshot), _parts(core.snapshot())
        for name in but:
            del there[name], expected[name]
        assert there == expected


def _parts(snapshot: bytes | State) -> dict[str, Any]:
    """A snapshot in comparable parts, so that a difference says where it is."""
    header, arrays = unpack(snapshot)
    return {**header, **{name: array.tobytes() for name, array in arrays.items()}}


def _assigned(worker: Process) -> list[int]:
    """The partitions of the events that the worker says it has been given last."""
    said = re.findall(r"partitions\.assigned partitions=(\S+)", worker.check().text())
    return [int(each) for each in re.findall(r"callwatch\.events/(\d+)", said[-1])] if said else []


def test_stops_and_crashes_change_no_alert(
    pipeline: Pipeline, traffic: Traffic, config: Config, tmp_path: Path
) -> None:
    """Published events become the local engine's alerts, over a stop, an absence and a kill -9."""
    first, second, third = traffic.thirds()
    worker = pipeline.worker()
    pipeline.publish(first)
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    before = len(pipeline.alerts())
    assert before == len(set(pipeline.alerts())), "a stop must repeat nothing"

    pipeline.publish(second)  # nobody is there
    doomed = pipeline.worker(checkpoint_every=3600)  # whatever it does, it saves nothing
    wait_until("alerts of the second third", lambda: len(pipeline.alerts()) >= before + 10)
    doomed.kill()
    assert pipeline.left() == len(second)

    worker = pipeline.worker()
    pipeline.publish(third)
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert "state.rebuilt" not in worker.text()
    found = pipeline.alerts()
    assert len(found) > len(set(found)), "the kill came too late to prove anything"
    _assert_same(found, traffic, pipeline, config)

    pipeline.route(tmp_path / "alerts.jsonl")
    routed = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    assert sorted(set(routed)) == sorted(set(found))


def test_lost_state_is_rebuilt_from_the_events(
    pipeline: Pipeline, traffic: Traffic, config: Config
) -> None:
    """With an emptied state topic the rows come back from the retained events, and it is said."""
    first, second, third = traffic.thirds()
    worker = pipeline.worker()
    pipeline.publish(first + second)
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()

    pipeline.empty(STATE)
    pipeline.publish(third)
    worker = pipeline.worker()
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert worker.text().count("state.rebuilt partition=callwatch.events/") == PARTITIONS
    assert "state.rebuilt partition=callwatch.sources/0" in worker.text()
    assert "reason=no_checkpoint" in worker.text()
    found = pipeline.alerts()
    assert len(found) == len(set(found)), "alerts from before were sent again"
    told = [value for value in found if Alert.from_json(value).detector == "pipeline-health"]
    assert {Alert.from_json(value).reason for value in told} == {"state_rebuilt"}
    others = [value for value in found if value not in told]
    # an undisturbed core has not been rebuilt, and so has told nothing of it
    but = ("health", "counters", "incidents", "incidents/open", "incidents/ids")
    _assert_same(others, traffic, pipeline, config, but=but)


def test_another_inventory_costs_no_state(
    pipeline: Pipeline, traffic: Traffic, tmp_path: Path
) -> None:
    """Workers under two inventories take turns: nothing is rebuilt, and others' alerts are same."""
    concerned = traffic.events[0]["sender"]
    usual, other = tmp_path / "usual.toml", tmp_path / "other.toml"
    usual.write_text("[senders.omega]\n")
    ranges = 'ranges = ["203.0.113.0/24"]\n'
    other.write_text(f"[senders.omega]\n[senders.aaa]\n{ranges}[senders.{concerned}]\n{ranges}")
    for part, inventory in zip(traffic.thirds(), (usual, other, usual), strict=True):
        worker = pipeline.worker("--inventory", str(inventory))
        pipeline.publish(part)
        pipeline.wait_until_done(worker)
        assert worker.terminate() == 0, worker.text()
        assert "state.unfit" not in worker.text()
        assert "state.rebuilt" not in worker.text()

    def told(alerts: Iterable[Alert]) -> list[str]:
        others = (alert for alert in alerts if alert.sender != concerned)
        return sorted(alert.model_dump_json(exclude={"config"}) for alert in others)

    found = [Alert.from_json(value) for value in pipeline.alerts()]
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in traffic.events))
    first = load_config(None, inventory=usual)
    expected = run_local(read_events([file]), first, partitions=PARTITIONS).alerts
    assert told(found) == told(expected)
    assert {a.config for a in found} == {first.hash, load_config(None, inventory=other).hash}


def test_partitions_move_with_their_state(
    pipeline: Pipeline, traffic: Traffic, config: Config
) -> None:
    """Of two workers one leaves; the other continues its partitions where it had stopped."""
    first, second, third = traffic.thirds()
    stays, leaves = pipeline.worker(), pipeline.worker()
    wait_until("a half for each", lambda: len(_assigned(stays)) == len(_assigned(leaves)) == 2)
    assert sorted(_assigned(stays) + _assigned(leaves)) == list(range(PARTITIONS))
    pipeline.publish(first)
    pipeline.wait_until_done(stays, leaves)
    pipeline.publish(second)  # and it leaves in the middle of them
    assert leaves.terminate() == 0, leaves.text()
    wait_until("all partitions", lambda: _assigned(stays) == list(range(PARTITIONS)))
    pipeline.publish(third)
    pipeline.wait_until_done(stays)
    assert stays.terminate() == 0, stays.text()
    assert "state.rebuilt" not in stays.text()
    found = pipeline.alerts()
    assert len(found) == len(set(found)), "a hand-over must repeat nothing"
    _assert_same(found, traffic, pipeline, config)


def _bad(good: dict[str, Any]) -> list[tuple[str, bytes | None]]:
    """Values that are no events, with the reason under which each is rejected."""

    def but(**changes: Any) -> bytes:
        return json.dumps({**good, "id": str(UUID(int=1)), **changes}).encode()

    return [
        ("not_json", b"\x00\xff\xfe garbage \x80"),
        ("not_json", b""),
        ("not_json", None),
        ("not_object", b"[1, 2, 3]"),
        ("schema_invalid", but(body_bytes="10")),
        ("schema_invalid", but(received_at=1750204800)),
        ("schema_invalid", but(sender="")),
        ("schema_invalid", but(unknown_field=1)),
        ("schema_invalid", but(source_ip="not an address")),
        ("schema_invalid", but(duration_ms=float("nan"))),
        ("too_large", but(user_agent="x" * 100_000)),
        ("too_large", b"[" * 100_000),
        ("not_json", b"[" * 10_000),
        ("time_out_of_range", but(received_at="2036-06-18T00:00:00Z")),
    ]


def test_bad_input_is_named_and_hurts_nothing(
    pipeline: Pipeline, traffic: Traffic, config: Config
) -> None:
    """Each bad record is rejected with its offset and reason; all good ones are scored."""
    good = [json.dumps(event).encode() for event in traffic.events[:400]]
    bad = _bad(traffic.events[100])
    values: list[bytes | None] = [*good]
    wanted = []
    for number, (reason, value) in enumerate(bad):
        at = 7 + 20 * number
        values.insert(at, value)
        wanted.append((at, reason))
    worker = pipeline.worker()
    pipeline.produce(1, values)
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()

    rejected = pipeline.rejected()
    assert [(offset, reason) for offset, reason, _, _ in rejected] == wanted
    for offset, _, message, value in rejected:
        assert message
        assert value == (values[offset] or b"")[: 16 * 1024]
    core = pipeline.undisturbed(config)[1]
    assert _parts(pipeline.checkpoint(1).snapshot) == _parts(core.snapshot())
    assert core.counters["scored"] == len(good)
    assert core.counters["consumed"] == len(values)


def test_bomb_is_passed_over_now_and_at_a_restore(
    pipeline: Pipeline, traffic: Traffic, config: Config
) -> None:
    """A batch that unpacks to too much is named with its offsets; all others are scored, twice."""
    good = [json.dumps(event).encode() for event in traffic.events[:400]]
    pipeline.produce(1, good[:200])
    pipeline.explode(1)
    pipeline.produce(1, good[200:])
    worker = pipeline.worker()
    pipeline.wait_until_done(worker)
    assert worker.terminate() == 0, worker.text()
    assert "batch.damaged partition=callwatch.events/1 start=200 stop=201" in worker.text()
    assert [(at, reason) for at, reason, _, _ in pipeline.rejected()] == [(200, "batch_damaged")]
    first = _parts(pipeline.checkpoint(1).snapshot)
    counters = first["counters"]
    assert (counters["consumed"], counters["scored"]) == (401, 400)
    assert counters["rejected.batch_damaged"] == 1

    pipeline.empty(STATE)
    worker = pipeline.worker()
    wait_until("all is restored", lambda: "worker.ready" in worker.check().text())
    assert worker.terminate() == 0, worker.text()
    assert "partition.differs" not in worker.text()
    assert "rejected=1" in worker.text()
    assert len(pipeline.rejected()) == 1, "it was told again"
