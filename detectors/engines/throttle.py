"""Libraries that repeat themselves are quoted now and then, with how often they were not."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

SECONDS: Final = 10.0
MOST_SECONDS: Final = 600.0
MOST_TEXTS: Final = 256


@dataclass
class _Said:
    at: float
    wait: float = SECONDS
    held: int = 0


class Throttle(logging.Filter):
    """Lets each text of each library's logger pass, and again after ten seconds, twenty, and so on.

    While a broker is away, aiokafka writes several lines for each of its ten attempts a second.
    Tracebacks of libraries are for `--verbose`. callwatch's own lines are never held back.
    """

    def __init__(
        self,
        own: str = "callwatch",
        clock: Callable[[], float] = monotonic,
        *,
        tracebacks: bool = True,
    ) -> None:
        super().__init__()
        self._own = own
        self._clock = clock
        self._tracebacks = tracebacks
        self._passed: dict[tuple[str, str], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written; it says how many like it were not."""
        if record.name.split(".")[0] == self._own:
            return True
        text, now = (record.name, str(record.msg)[:200]), self._clock()
        said = self._passed.get(text)
        if said is not None and now - said.at < said.wait:
            said.held += 1
            return False
        held = 0 if said is None else said.held
        again = said is not None and held > 0 and now - said.at < 2 * said.wait  # without a pause
        wait = min(2 * said.wait, MOST_SECONDS) if said is not None and again else SECONDS
        if said is None and len(self._passed) >= MOST_TEXTS:
            self._passed.clear()
        self._passed[text] = _Said(now, wait)
        if held:
            record.msg = f"{record.getMessage()} (and {held} more like it)"
            record.args = ()
        if not self._tracebacks:
            record.exc_info = record.exc_text = None
        return True
