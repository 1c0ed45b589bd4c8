"""A verdict on a real Kafka: from the alerts topic into the sender's partition, and obeyed."""

import json

import pytest

import callwatch
from alerts.alert import Alert
from ingest.partition import partition_for
from tests.integration.pipeline import EVENTS, PARTITIONS, Pipeline, wait_until
from tests.unit.detectors.streams import MONDAY, calls

pytestmark = pytest.mark.integration


def test_a_verdict_closes_the_incident_on_kafka(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signed record stands in the sender's partition, and the worker closes the incident."""
    monkeypatch.setenv("CALLWATCH_CONTROL_KEY", "ab" * 32)
    worker = pipeline.worker()
    wait_until("it says so", lambda: "controls=taken" in worker.check().text())
    pipeline.publish(calls(8, 5, MONDAY, provider="stripe", signature_fp="ab" * 16))
    pipeline.wait_until_done(worker)
    (opened,) = {Alert.from_json(value).id for value in pipeline.alerts()}
    why = ["--reason", "a test of ours", "--expires", "2026-12-31", "--by", "ana"]
    at = ["--at", "2026-06-01", "--bootstrap-servers", pipeline.servers]
    assert callwatch.main(["verdict", opened, "benign", *why, *at]) == 0
    home = partition_for(b"acme", PARTITIONS)
    record = pipeline.records(EVENTS, home)[-1]
    control = json.loads(record.value or b"")["control"]
    assert (record.key, control["sender"], control["alert"]) == (b"acme", "acme", opened)

    def closed() -> list[Alert]:
        worker.check()
        found = [Alert.from_json(value) for value in pipeline.alerts()]
        return [alert for alert in found if alert.status == "closed"]

    (alert,) = wait_until("the incident closed", closed)
    assert (alert.id, alert.close_reason, alert.verdict) == (opened, "verdict", "benign")
    forged = json.dumps({"schema": 1, "control": {**control, "verdict": "attack"}}).encode()
    pipeline.produce(home, [forged])
    pipeline.wait_until_done(worker)
    ((_, reason, message, value),) = wait_until("the forged one rejected", pipeline.rejected)
    assert (reason, message, value) == (
        "control_invalid",
        "control: mac: does not fit the control key",
        forged,
    )
    assert worker.terminate() == 0


def test_a_worker_without_a_key_says_so(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict is written, which is all that its author is told; the worker says at its start
    that it takes none, and refuses this one for want of a key, not for its signature.
    """
    monkeypatch.delenv("CALLWATCH_CONTROL_KEY", raising=False)
    worker = pipeline.worker()
    wait_until("it says so", lambda: "controls=refused" in worker.check().text())
    pipeline.publish(calls(8, 5, MONDAY, provider="stripe", signature_fp="ab" * 16))
    pipeline.wait_until_done(worker)
    (opened,) = {Alert.from_json(value).id for value in pipeline.alerts()}
    monkeypatch.setenv("CALLWATCH_CONTROL_KEY", "ab" * 32)
    why = ["--reason", "a test of ours", "--expires", "2026-12-31", "--at", "2026-06-01"]
    where = ["--bootstrap-servers", pipeline.servers]
    assert callwatch.main(["verdict", opened, "benign", *why, *where]) == 0
    assert "takes effect where workers hold the same" in capsys.readouterr().err
    pipeline.wait_until_done(worker)
    ((_, reason, message, _),) = wait_until("it was refused", pipeline.rejected)
    assert reason == "control_key_missing"
    assert message.startswith("control: no control key is set")
    assert worker.terminate() == 0
