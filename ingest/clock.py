"""The time that a publisher lives by, as an argument, so that tests need not wait for it."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the publisher needs of time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """Wait on a held condition until it is notified or `timeout` seconds have passed."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float) -> None:
        """Wait on a held condition until it is notified or `timeout` seconds have passed."""
        condition.wait(timeout)
