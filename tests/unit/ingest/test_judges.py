"""Verifiers judge beside the publisher: none of them holds up another, nor what is sent."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.judges import DEADLINE_S, MOST_BYTES, MOST_CALLS, MOST_THREADS, Judges
from tests.unit.ingest.conftest import PATIENCE_S, FakeClock

Make = Callable[..., Judges]


class Gate:
    """A verifier that hangs until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.go.wait(PATIENCE_S)
        return "found"


class Found:
    """What was handed on, in its order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []
        self.changed = threading.Condition()

    def of(self, name: str) -> Callable[[Any], None]:
        def done(told: Any) -> None:
            with self.changed:
                self.all.append((name, told))
                self.changed.notify_all()

        return done

    def wait(self, count: int) -> list[tuple[str, Any]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.all) >= count, PATIENCE_S), self.all
            return list(self.all)


@pytest.fixture
def judges(clock: FakeClock) -> Iterator[Judges]:
    """Judges on the fake clock, ended after the test."""
    made = Judges(clock, lambda error: None)
    yield made
    made.close(0)


def test_a_verifier_that_hangs_holds_up_no_other(judges: Judges) -> None:
    """Other lanes go on, also those that came while all threads were at work."""
    gates = [Gate() for _ in range(MOST_THREADS - 1)]
    found = Found()
    for gate in gates:
        judges.submit(gate, 1, gate, found.of("hangs"))
    for gate in gates:
        assert gate.entered.wait(PATIENCE_S)
    for number in range(3):
        judges.submit(judges, 1, lambda number=number: number, found.of("other"))  # type: ignore[misc]
    assert found.wait(3) == [("other", 0), ("other", 1), ("other", 2)]
    for gate in gates:
        gate.go.set()
    assert judges.flush(1)
    assert judges.unjudged == {}


def test_what_is_late_goes_on_without_a_finding(judges: Judges, clock: FakeClock) -> None:
    """After the deadline the event is handed on once, whether it ran or waited."""
    gate, found = Gate(), Found()
    judges.submit(gate, 1, gate, found.of("runs"))
    assert gate.entered.wait(PATIENCE_S)
    judges.submit(gate, 1, lambda: "never", found.of("waits"))
    clock.advance(DEADLINE_S)
    assert found.wait(2) == [("runs", None), ("waits", None)]
    assert judges.flush(1)
    gate.go.set()
    judges.submit(gate, 1, lambda: "in time", found.of("next"))
    assert found.wait(3)[2:] == [("next", "in time")]
    assert judges.unjudged == {"late": 2}


@pytest.mark.parametrize("by", ["calls", "bytes"])
def test_one_lane_never_takes_all_room(judges: Judges, by: str) -> None:
    """A flood at one verifier is handed on unjudged at once, and others still find room."""
    gate, found = Gate(), Found()
    cost = 0 if by == "calls" else MOST_BYTES // 8
    for _ in range(MOST_CALLS):
        judges.submit(gate, cost, gate, found.of("flood"))
    turned_away = len(found.all)
    assert 0 < turned_away < MOST_CALLS
    assert len(judges) == (MOST_CALLS // 2 if by == "calls" else 4)
    judges.submit(judges, cost, lambda: "yes", found.of("other"))
    assert found.wait(turned_away + 1)[-1] == ("other", "yes")
    assert judges.unjudged == {"full": turned_away}
    gate.go.set()


def test_a_verifier_that_raises_or_says_nothing_is_counted(judges: Judges) -> None:
    """Its calls go on without a finding."""
    found = Found()
    judges.submit(judges, 1, lambda: 1 // 0, found.of("raises"))
    judges.submit(judges, 1, lambda: None, found.of("silent"))
    assert found.wait(2) == [("raises", None), ("silent", None)]
    assert judges.unjudged == {"failed": 2}


def test_closing_hands_on_all(judges: Judges) -> None:
    """What cannot be judged in time is handed on, and later calls at once."""
    gate, found = Gate(), Found()
    judges.submit(gate, 1, gate, found.of("runs"))
    assert gate.entered.wait(PATIENCE_S)
    judges.close(0)
    judges.submit(gate, 1, gate, found.of("after"))
    assert found.wait(2) == [("runs", None), ("after", None)]
    assert (judges.unjudged, len(judges)) == ({"late": 1, "closed": 1}, 0)
    gate.go.set()


def test_a_fault_in_handing_on_is_told(clock: FakeClock) -> None:
    """It ends no thread."""
    told: list[Exception] = []
    judges = Judges(clock, told.append)
    found = Found()
    judges.submit(judges, 1, lambda: 1, lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    judges.submit(judges, 1, lambda: 2, found.of("next"))
    assert found.wait(1) == [("next", 2)]
    assert [type(error) for error in told] == [ZeroDivisionError]
    judges.close(1)
