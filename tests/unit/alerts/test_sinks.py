import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import iter_modules

import pytest

import alerts.sinks
from alerts.alert import Alert, alert_id
from alerts.errors import RouteError
from alerts.formats import native
from alerts.sinks import Delivery, Outcome, Sink, SinkClosedError
from alerts.sinks.file import FileSink
from alerts.sinks.stdout import StdoutSink
from tests.unit.alerts.samples import HOSTILE, OPENED, make_alert

Made = tuple[Sink, Callable[[], bytes]]
CANARY = "s3cret-canary"


def make_file(folder: Path) -> Made:
    """A file sink, and what it wrote."""
    path = folder / "alerts.jsonl"
    return FileSink(path, native.encode), path.read_bytes


def make_stdout(folder: Path) -> Made:
    """A stdout sink on a stream in memory, and what it wrote."""
    stream = io.BytesIO()
    return StdoutSink(native.encode, stream), stream.getvalue


@contextmanager
def full_file() -> Iterator[Sink]:
    """A file sink on a full disk."""
    sink = FileSink(Path("/dev/full"), native.encode)
    yield sink
    sink.close()


@contextmanager
def full_stdout() -> Iterator[Sink]:
    """A stdout sink whose file is on a full disk."""
    with Path("/dev/full").open("wb", buffering=0) as stream:
        yield StdoutSink(native.encode, stream)


WORKING = {"file": make_file, "stdout": make_stdout}
FAILING = {"file": full_file, "stdout": full_stdout}


def batch_of(count: int) -> list[Alert]:
    """So many incidents, named by attackers."""
    return [
        make_alert(id=alert_id("d", [str(n)], OPENED), sender=HOSTILE[n % len(HOSTILE)])
        for n in range(count)
    ]


@pytest.fixture(params=sorted(WORKING))
def working(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    """Every sink, in order."""
    sink, written = WORKING[request.param](tmp_path)
    yield sink, written
    sink.close()
    sink.close()


@pytest.fixture(params=sorted(FAILING))
def failing(request: pytest.FixtureRequest) -> Iterator[Sink]:
    """Every sink, unable to deliver for now."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with FAILING[request.param]() as sink:
        yield sink


def test_every_sink_is_under_the_contract() -> None:
    """A new file among the sinks must be added here, in working and in failing order."""
    there = {module.name for module in iter_modules(alerts.sinks.__path__)}
    assert there == set(WORKING) == set(FAILING)


def test_each_alert_is_answered_for(working: Made) -> None:
    """A sink answers for every alert, also for none."""
    sink, written = working
    assert sink.send([]) == []
    assert sink.send(batch_of(3)) == [Delivery(Outcome.DELIVERED)] * 3
    assert len(written().splitlines()) == 3


def test_order_and_content_are_kept(working: Made) -> None:
    """What was sent is what arrives: every alert once, in order, one line each."""
    sink, written = working
    sent = batch_of(25)
    for start in range(0, 25, 10):
        sink.send(sent[start : start + 10])
    assert written().endswith(b"\n")
    assert [Alert.from_json(line) for line in written().splitlines()] == sent


def test_a_failing_sink_asks_for_a_retry(failing: Sink) -> None:
    """A full disk loses nothing and raises nothing: every alert is to be sent again."""
    deliveries = failing.send(batch_of(3))
    assert [one.outcome for one in deliveries] == [Outcome.RETRY] * 3


def test_details_hold_no_secret(failing: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why a delivery failed is one printable line with nothing of the alert or of a secret."""
    monkeypatch.setenv("CALLWATCH_KAFKA_SASL_PASSWORD", CANARY)
    for delivery in failing.send([make_alert(sender=CANARY, summary=CANARY)]):
        assert delivery.detail.isprintable()
        assert 0 < len(delivery.detail) < 200
        assert CANARY not in delivery.detail


def test_sinks_have_names_of_their_own(working: Made) -> None:
    """A sink's name is a short label, fit for a counter."""
    assert working[0].name.isidentifier()


def test_file_is_appended_to(tmp_path: Path) -> None:
    """A second run adds to the file; what was there stays."""
    path = tmp_path / "alerts.jsonl"
    for _ in range(2):
        sink = FileSink(path, native.encode, fsync=True)
        sink.send(batch_of(2))
        sink.close()
    assert len(path.read_bytes().splitlines()) == 4


def test_a_torn_line_is_closed_first(tmp_path: Path) -> None:
    """A line that a crash cut short does not swallow the next alert."""
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(b'{"id":"torn')
    sink = FileSink(path, native.encode)
    sink.send(batch_of(2))
    sink.close()
    torn, *whole = path.read_bytes().splitlines()
    assert torn == b'{"id":"torn'
    assert [Alert.from_json(line) for line in whole] == batch_of(2)


def test_a_disk_that_fills_up_tears_no_later_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a write stops half way, the alert is sent again on a line of its own."""
    path = tmp_path / "alerts.jsonl"
    sink = FileSink(path, native.encode)
    real, left = os.write, [50]

    def short_write(fd: int, data: bytes) -> int:
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        size = real(fd, data[: left[0]])
        left[0] -= size
        return size

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short_write)
        first = sink.send(batch_of(2))
    assert first == [Delivery(Outcome.RETRY, "No space left on device")] * 2
    assert sink.send(batch_of(2)) == [Delivery(Outcome.DELIVERED)] * 2
    sink.close()
    torn, *whole = path.read_bytes().splitlines()
    assert len(torn) == 50
    assert [Alert.from_json(line) for line in whole] == batch_of(2)


def test_failed_sync_means_all_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fsync nothing counts as delivered until the disk has said so."""
    sink = FileSink(tmp_path / "alerts.jsonl", native.encode, fsync=True)

    def failing_sync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing_sync)
    assert sink.send(batch_of(2)) == [Delivery(Outcome.RETRY, "Input/output error")] * 2
    sink.close()


def test_a_rotated_file_is_made_anew(tmp_path: Path) -> None:
    """After log rotation moved the file away, alerts go to a new one of the same name."""
    path = tmp_path / "alerts.jsonl"
    sink = FileSink(path, native.encode)
    sink.send(batch_of(1))
    path.rename(tmp_path / "alerts.jsonl.1")
    sink.send(batch_of(2))
    sink.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_several_writers_share_a_file(tmp_path: Path) -> None:
    """Two routers that append to one file do not mix lines."""
    path = tmp_path / "alerts.jsonl"
    one, two = FileSink(path, native.encode), FileSink(path, native.encode)
    for alert in batch_of(10):
        one.send([alert])
        two.send([alert])
    assert len([Alert.from_json(line) for line in path.read_bytes().splitlines()]) == 20
    one.close()
    two.close()


def test_an_impossible_path_is_one_line(tmp_path: Path) -> None:
    """A path that cannot be written is named at the start, in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RouteError, match=r"--out .* cannot be written: "):
        FileSink(tmp_path / "file" / "alerts.jsonl", native.encode)
    with pytest.raises(RouteError, match="Is a directory"):
        FileSink(tmp_path, native.encode)


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    """Who mistypes a path hears of it, and looks for alerts where they are."""
    folder = tmp_path / "not" / "there"
    with pytest.raises(RouteError) as caught:
        FileSink(folder / "alerts.jsonl", native.encode)
    assert str(caught.value) == (
        f"--out {folder / 'alerts.jsonl'} cannot be written: there is no folder {folder}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    """Alerts that come while it is away are tried again, and are there when it is back."""
    path = tmp_path / "mounted" / "alerts.jsonl"
    path.parent.mkdir()
    sink = FileSink(path, native.encode)
    path.parent.rename(tmp_path / "away")
    assert {each.outcome for each in sink.send(batch_of(2))} == {Outcome.RETRY}
    (tmp_path / "away").rename(path.parent)
    sink.send(batch_of(2))
    sink.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_a_reader_that_left_ends_stdout() -> None:
    """When the reader of a pipe is gone, the sink says so and Python has no complaint."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as stream:  # noqa: PTH123  a descriptor, not a path
        sink = StdoutSink(native.encode, stream)
        with pytest.raises(SinkClosedError, match="reader went away"):
            sink.send(batch_of(1))


def test_unbuffered_stdout_gets_everything() -> None:
    """A stream that takes a few bytes at a time still gets every byte of the batch."""

    class Slow(io.BytesIO):
        def write(self, data: object) -> int:
            return super().write(memoryview(data)[:7])  # type: ignore[call-overload, no-any-return]

    stream = Slow()
    StdoutSink(native.encode, stream).send(batch_of(3))
    assert [Alert.from_json(line) for line in stream.getvalue().splitlines()] == batch_of(3)
