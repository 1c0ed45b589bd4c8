"""A broker that is away is waited for; one that is there and gives nothing is not."""

from collections.abc import Callable

import pytest
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError

from detectors.engines.errors import EngineError
from detectors.engines.patience import LOOK_SECONDS, Patience


class Clock:
    """Seconds that pass when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def patience(clock: Clock, is_there: Callable[[], bool] = lambda: True) -> Patience:
    """Of a minute."""
    return Patience(is_there, 60.0, clock, clock.wait)


def test_what_an_absent_broker_explains_is_asked_again_until_there_is_an_answer() -> None:
    """Time-outs, and connections that are refused."""
    errors = [KafkaTimeoutError("a"), KafkaConnectionError("b"), KafkaTimeoutError("c")]

    def ask() -> str:
        if errors:
            raise errors.pop()
        return "told"

    assert patience(Clock()).call("it", ask) == "told"


def test_a_port_that_refuses_is_looked_at_and_not_asked() -> None:
    """Each time that is asked leaves sockets behind."""
    clock, asked = Clock(), []

    def ask() -> None:
        asked.append(clock.now)
        raise KafkaConnectionError

    with pytest.raises(EngineError):
        patience(clock, lambda: 20.0 <= clock.now < 20.5).call("it", ask)
    assert asked == [0.0, 20.0, 60.0]


def test_patience_ends_with_what_was_asked_for_and_for_how_long() -> None:
    """Never an endless wait."""
    clock = Clock()

    def ask() -> str:
        clock.wait(10.0)
        msg = "30 s"
        raise KafkaTimeoutError(msg)

    with pytest.raises(EngineError, match=r"Kafka has not told the ends for 6\d s: .*30 s"):
        patience(clock).call("the ends", ask)


def test_patience_ends_with_the_reason_in_words() -> None:
    """It is looked for once, when patience is over, and not at each try."""
    clock, told = Clock(), []

    def ask() -> str:
        clock.wait(10.0)
        raise KafkaTimeoutError

    def why(error: Exception) -> str:
        told.append(error)
        return "kafka b:1: connection refused"

    with pytest.raises(EngineError, match=r"not told it for 6\d s: kafka b:1: connection refused"):
        Patience(lambda: True, 60.0, clock, clock.wait, why).call("it", ask)
    assert told == [KafkaTimeoutError()]


def test_what_asking_again_cannot_mend_is_raised_at_once() -> None:
    """A right that is missing will be missing in a minute too."""
    clock = Clock()

    def ask() -> str:
        raise TopicAuthorizationFailedError

    with pytest.raises(TopicAuthorizationFailedError):
        patience(clock).call("it", ask)
    assert clock.now == 0


def test_a_broker_that_is_there_and_gives_nothing_has_stalled() -> None:
    """After the seconds that were given, and not before."""
    clock = Clock()
    stalled = patience(clock).stall(30.0)
    clock.wait(29.0)
    assert not stalled()
    clock.wait(1.0)
    assert stalled()


def test_a_broker_that_was_away_is_given_as_long_again_once_it_is_back() -> None:
    """Also where it came back just before the time was over."""
    clock = Clock()
    stalled = patience(clock, lambda: clock.now >= 29.0).stall(30.0)
    for _ in range(15):
        clock.wait(LOOK_SECONDS)
        assert not stalled()
    back = clock.now
    while not stalled():
        clock.wait(LOOK_SECONDS)
    assert 28.0 <= clock.now - back <= 30.0


def test_a_broker_that_stays_away_is_not_waited_for_longer_than_was_said() -> None:
    """The seconds of a stall come on top once, since it might have come back just then."""
    clock = Clock()
    stalled = patience(clock, lambda: False).stall(30.0)
    while not stalled():
        clock.wait(LOOK_SECONDS)
    assert 60.0 <= clock.now <= 92.0
