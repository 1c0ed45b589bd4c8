"""Libraries that repeat themselves are quoted now and then, with how often they were not."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

SECONDS: Final = 10.0
MOST_TEXTS: Final = 256


class Throttle(logging.Filter):
    """Lets each text of each library's logger pass once in ten seconds.

    While a broker is away, aiokafka writes several lines for each of its ten attempts a second.
    callwatch's own lines are never held back.
    """

    def __init__(self, own: str = "callwatch", clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._own = own
        self._clock = clock
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written; it says how many like it were not."""
        if record.name.split(".")[0] == self._own:
            return True
        text, now = (record.name, str(record.msg)[:200]), self._clock()
        if text not in self._passed and len(self._passed) >= MOST_TEXTS:
            self._passed.clear()
        at, held = self._passed.get(text, (now - SECONDS, 0))
        if now - at < SECONDS:
            self._passed[text] = (at, held + 1)
            return False
        self._passed[text] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} (and {held} more like it)"
            record.args = ()
        return True
