"""Whether a broker is away, or is there and does not answer: the one is waited for.

A broker that restarts takes a minute or so. A worker that restores a partition just then would have
to begin anew; a broker that is there and gives nothing is a fault, and must not look like patience.
"""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Final, TypeVar

from detectors.engines.errors import EngineError

T = TypeVar("T")

AWAY_SECONDS: Final = 300.0
"""So long a broker is waited for; then the process ends, and its supervisor decides."""
AGAIN_SECONDS: Final = 0.5
"""Between two tries of what fails at once."""
LOOK_SECONDS: Final = 2.0
"""Between two looks whether a broker is there that gives nothing."""


class Patience:
    """Judges by a clock and by whether any broker takes connections.

    why: the last error in words, where patience is over.
    """

    def __init__(
        self,
        is_there: Callable[[], bool],
        away_seconds: float = AWAY_SECONDS,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], object] | None = None,
        why: Callable[[Exception], str] = repr,
    ) -> None:
        self._is_there = is_there
        self._why = why
        self._away_seconds = away_seconds
        self._clock = clock
        self._pause = pause or Event().wait

    def call(self, what: str, ask: Callable[[], T]) -> T:
        """Ask until there is an answer.

        Raises `EngineError` when there is none in time, and at once what asking again cannot mend.
        """
        from kafka.errors import KafkaError

        begin = self._clock()
        while True:
            try:
                return ask()
            except KafkaError as error:
                if not error.retriable:
                    raise
                seconds = self._clock() - begin
                if seconds >= self._away_seconds:
                    msg = f"Kafka has not told {what} for {seconds:.0f} s: {self._why(error)}"
                    raise EngineError(msg) from error
            self._pause(AGAIN_SECONDS)
            # kafka-python leaves two sockets to the collector for each connection refused.
            while not self._is_there() and self._clock() - begin < self._away_seconds:
                self._pause(AGAIN_SECONDS)

    def stall(self, seconds: float) -> Callable[[], bool]:
        """Whether nothing has come for so long since now from a broker that was there.

        One that was away is given as long again from when it is back. To be asked often.
        """
        begin = looked = self._clock()
        deadline = begin + seconds

        def stalled() -> bool:
            nonlocal looked, deadline
            now = self._clock()
            if now - looked >= LOOK_SECONDS and now - begin < self._away_seconds:
                looked = now
                if not self._is_there():
                    deadline = now + seconds
            return now >= deadline

        return stalled
