# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""When a log was written at all: what tells a sender's silence from that of a receiver.

A receiver reports once a minute that it is there; a log does so by its lines, also by those that
are no callbacks. So each minute with a request has a report among the events. Minutes without one
have none: nobody knows whether the server was down or nobody called.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..rfc3339 import from_us
from ..schema import Report, dump_report
from ..version import __version__

MOST_MINUTES: Final = 1 << 20  # two years
_MINUTE: Final = 60_000_000


@dataclass
class Heard:
    """The minutes in which something was logged, each with the newest time."""

    minutes: dict[int, int] = field(default_factory=dict)

    def note(self, time_us: int) -> None:
        """Something was logged at this time."""
        minute = time_us // _MINUTE
        if time_us >= self.minutes.get(minute, -1) and (
            minute in self.minutes or len(self.minutes) < MOST_MINUTES
        ):
            self.minutes[minute] = time_us

    def among(self, events: Iterable[tuple[int, bytes]], receiver: str) -> Iterator[bytes]:
        """The events, and by time the reports between them, which count the events so far."""
        times = sorted(self.minutes.values(), reverse=True)
        started, count = times[-1] // _MINUTE * _MINUTE if times else 0, 0
        for time_us, value in events:
            while times and times[-1] < time_us:
                yield _report(receiver, started, times.pop(), count)
            yield value
            count += 1
        while times:
            yield _report(receiver, started, times.pop(), count)


def _report(receiver: str, started: int, at: int, count: int) -> bytes:
    return dump_report(
        Report(
            receiver=receiver,
            process="import",
            started_at=from_us(started),
            at=from_us(at),
            offered=count,
            sent=count,
            dropped={},
            version=__version__,
            sampling=1.0,
        )
    )
