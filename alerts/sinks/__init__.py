"""Where alerts go. A sink answers for each alert: delivered, retry, or rejected; it never retries.

The contract, which tests/unit/alerts/test_sinks.py holds every sink to:

- `send` gives one `Delivery` for each alert, in order, and raises nothing but `SinkClosedError`;
- alerts leave in the order given: once one must be retried, no later state of the same incident
  is delivered in that call;
- RETRY means that the same alert may be sent again and is not lost, REJECTED that it never will be
  taken;
- `detail` is one printable line that holds no secret and nothing out of the alert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from alerts.alert import Alert
from alerts.errors import AlertsError


class Outcome(StrEnum):
    """What became of one alert."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Delivery:
    """What became of one alert, and why if it was not delivered."""

    outcome: Outcome
    detail: str = ""


class SinkClosedError(AlertsError):
    """The other side went away for good and on purpose: there is nobody left to send to."""


class Sink(Protocol):
    """A place that takes alerts."""

    name: str

    def send(self, batch: Sequence[Alert]) -> list[Delivery]:
        """What became of each alert of the batch, in order."""

    def close(self) -> None:
        """Give back what is held; a second call does nothing."""
