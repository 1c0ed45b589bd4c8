import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alerts import cli
from alerts.alert import Severity
from alerts.delivery import Backoff, Deliverer
from alerts.errors import DeliveryError, RouteError
from alerts.ready_file import kept_new
from alerts.router import JOIN_S, MAX_NAMED, RouteOptions, run
from tests.unit.alerts.samples import make_alert
from tests.unit.alerts.test_delivery import AGAIN, ScriptedSink, Waits, batch_of, ids


@dataclass
class Record:
    """A Kafka record as far as the router looks at it."""

    value: bytes | None
    offset: int = 0
    topic: str = "callwatch.alerts"
    partition: int = 0


class LostPartitionError(Exception):
    """The group gave the partition to another member."""


@dataclass
class FakeConsumer:
    """A consumer of one partition: hands out batches, then nothing; time passes at every poll."""

    batches: list[list[Record]]
    assigned: set[Any] = field(default_factory=lambda: {"p0"})
    commit_error: Exception | None = None
    position: int = 0
    now: float = 0.0
    log: list[str] = field(default_factory=list)

    def poll(self, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]:
        """The next batch."""
        self.now += timeout_ms / 1000
        if self.position == len(self.batches):
            return {}
        batch = self.batches[self.position]
        self.position += 1
        self.log.append(f"poll {len(batch)}")
        return {"p0": batch}

    def commit(self) -> None:
        """Store the position, or fail."""
        self.log.append("commit")
        if self.commit_error:
            raise self.commit_error

    def assignment(self) -> set[Any]:
        """What was assigned."""
        return self.assigned

    def seek_to_beginning(self, *partitions: Any) -> None:
        """Start again."""
        self.log.append(f"rewind {','.join(partitions)}")
        self.position = 0

    def clock(self) -> float:
        """Seconds that polls took."""
        return self.now


def records_of(count: int) -> list[Record]:
    """So many alerts as records."""
    return [Record(alert.to_json(), offset) for offset, alert in enumerate(batch_of(count))]


def route(
    consumer: FakeConsumer,
    *sinks: ScriptedSink,
    stopping: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = lambda line: None,
    alive: Callable[[bool], None] = lambda _: None,
    **options: Any,
) -> Counter[str]:
    """Run the router until it is idle for two seconds."""
    return run(
        consumer,
        [Deliverer(sink, backoff=Backoff(attempts=2), wait=Waits()) for sink in sinks],
        RouteOptions(**({"until_idle_s": 2.0} | options)),
        stopping=stopping,
        clock=consumer.clock,
        report=report,
        alive=alive,
        commit_errors=(LostPartitionError,),
    )


def test_a_batch_is_committed_after_every_sink_took_it() -> None:
    """Each batch goes to all sinks in order, then its position is stored."""
    consumer, one, two = (
        FakeConsumer([records_of(3), records_of(2)]),
        ScriptedSink(),
        ScriptedSink(),
    )
    counts = route(consumer, one, two)
    assert one.taken == two.taken == ids(0, 1, 2, 0, 1)
    assert consumer.log == ["poll 3", "commit", "poll 2", "commit"]
    assert counts["consumed"] == 5
    assert set(counts.values()) == {0, 5}


def test_nothing_is_committed_when_a_sink_gives_up() -> None:
    """A batch that a sink could not take is not committed, so it comes again."""
    consumer = FakeConsumer([records_of(1)])
    with pytest.raises(DeliveryError):
        route(consumer, ScriptedSink([AGAIN], [AGAIN]))
    assert consumer.log == ["poll 1"]


def test_invalid_records_are_named_counted_and_passed() -> None:
    """A record that is no alert is named with its place and blocks nothing."""
    good = records_of(2)
    bad = [Record(b"\x1b[2J", 7, partition=2), Record(None, 8), Record(b'{"id":1}', 9)]
    consumer, sink, lines = FakeConsumer([[good[0], *bad, good[1]]]), ScriptedSink(), []
    counts = route(consumer, sink, report=lines.append)
    assert sink.taken == ids(0, 1)
    assert (counts["consumed"], counts["invalid"]) == (5, 3)
    assert lines[0].startswith("callwatch.alerts[2] offset 7: alert: Invalid JSON")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert consumer.log[-1] == "commit"


def test_a_flood_of_invalid_records_is_named_only_so_far() -> None:
    """Somebody who writes garbage to the topic does not fill the log."""
    lines: list[str] = []
    consumer = FakeConsumer([[Record(b"x")] * (MAX_NAMED * 3)])
    counts = route(consumer, ScriptedSink(), report=lines.append)
    assert (counts["invalid"], len(lines)) == (MAX_NAMED * 3, MAX_NAMED)


def test_alerts_below_the_severity_are_counted() -> None:
    """Alerts that are passed over are counted and their positions stored."""
    low = Record(make_alert(severity=Severity.LOW).to_json())
    consumer, sink = FakeConsumer([[low], records_of(1)]), ScriptedSink()
    counts = route(consumer, sink, lowest=Severity.MEDIUM)
    assert sink.taken == ids(0)
    assert counts["below"] == 1
    assert consumer.log.count("commit") == 2


def test_alerts_of_shadow_mode_are_counted_and_sent_only_on_demand() -> None:
    """What a detector on trial found reaches no sink, unless it was asked for."""
    trial = Record(make_alert(shadow=True).to_json())
    consumer, sink = FakeConsumer([[trial], records_of(1)]), ScriptedSink()
    counts = route(consumer, sink)
    assert (sink.taken, counts["shadow"], counts["below"]) == (ids(0), 1, 0)
    consumer, sink = FakeConsumer([[trial], records_of(1)]), ScriptedSink()
    counts = route(consumer, sink, shadow=True)
    assert (len(sink.taken), counts["shadow"]) == (2, 0)


def test_a_lost_partition_is_no_failure() -> None:
    """When the group moved on, the batch counts as uncommitted and the router goes on."""
    consumer = FakeConsumer([records_of(2), records_of(1)], commit_error=LostPartitionError())
    counts = route(consumer, ScriptedSink())
    assert counts["uncommitted"] == 3


def test_the_batch_in_hand_is_finished() -> None:
    """Asked to stop while a batch is polled, the router delivers and commits it, and ends."""
    consumer, sink = FakeConsumer([records_of(1), records_of(2)]), ScriptedSink()
    route(consumer, sink, stopping=lambda: consumer.position == 1, until_idle_s=None)
    assert sink.taken == ids(0)
    assert consumer.log == ["poll 1", "commit"]


def test_from_beginning_rewinds_each_partition_once() -> None:
    """Everything is sent again, nothing twice, and nothing is committed before."""
    consumer, sink = FakeConsumer([records_of(1), records_of(2)]), ScriptedSink()
    route(consumer, sink, from_beginning=True)
    assert consumer.log == ["poll 1", "rewind p0", "poll 1", "commit", "poll 2", "commit"]
    assert sink.taken == ids(0, 0, 1)


def test_idle_time_starts_with_the_assignment() -> None:
    """A slow group join is not idleness, but joining is not waited for without end."""
    consumer = FakeConsumer([], assigned=set())
    route(consumer, ScriptedSink())
    assert JOIN_S <= consumer.now <= JOIN_S + 3


def invoke(*args: str) -> Any:
    """`callwatch route` with arguments."""
    return CliRunner().invoke(cli.route, args)


def test_the_ready_file_is_touched_in_every_round_and_gone_afterwards(tmp_path: Path) -> None:
    """A file of a router that was killed counts for nothing; one that hangs lets it grow old."""
    file = tmp_path / "ready"
    file.touch()
    seen: list[float] = []
    with kept_new(file) as touch:
        assert not file.exists()

        def alive(_: bool) -> None:
            touch()
            seen.append(file.stat().st_mtime)
            os.utime(file, (0, 0))

        consumer = FakeConsumer([records_of(1), []])
        route(consumer, ScriptedSink(), alive=alive)
    assert len(seen) == consumer.now / 0.5
    assert all(at > 0 for at in seen)
    assert not file.exists()
    with kept_new(tmp_path / "no-folder" / "ready") as touch, pytest.raises(RouteError) as fault:
        touch()
    assert str(fault.value).endswith("no-folder/ready: No such file or directory")


def test_a_destination_is_needed() -> None:
    """Without a destination the command is a usage error."""
    result = invoke()
    assert result.exit_code == 2
    assert "--out FILE, --stdout, or both" in result.output


def test_wrong_settings_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting ends the command with one line and exit code 1."""
    monkeypatch.setenv("CALLWATCH_KAFKA_SECURITY_PROTOCOL", "TLS")
    result = invoke("--stdout")
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "SECURITY_PROTOCOL must be one of" in result.output


def test_no_broker_is_one_line() -> None:
    """Where nothing answers, the command says so within seconds, in one line."""
    code = "from alerts import cli; cli.CONNECT_MS = 200; cli.route()"
    command = [sys.executable, "-c", code, "--stdout", "--bootstrap-servers", "localhost:1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert "kafka localhost:1: connection refused, since nothing listens on port 1" in result.stderr


def test_a_signal_sets_the_flag_once_and_handlers_come_back() -> None:
    """The first signal asks to stop; the second is left to whoever handled it before."""
    before = signal.getsignal(signal.SIGTERM)
    with cli._stop_on_signals() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        assert signal.getsignal(signal.SIGTERM) is before
        assert stop.wait(60)
    assert signal.getsignal(signal.SIGTERM) is before
