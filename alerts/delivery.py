"""The only retry loop: sinks say what happened, this decides what is tried again and when."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.alert import Alert
from alerts.errors import DeliveryError
from alerts.explain import safe
from alerts.sinks import Outcome, Sink


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter: a random part of a wait that doubles.

    attempts: tries without any progress before giving up, at least 1.
    first_s, most_s: bounds of the longest wait, in seconds. With the defaults all waits together
        stay below 62 s, well within the 5 minutes after which Kafka gives a silent consumer's
        partitions away.
    """

    attempts: int = 8
    first_s: float = 0.5
    most_s: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.first_s <= self.most_s:
            msg = f"backoff needs attempts >= 1 and 0 <= first_s <= most_s (got {self})"
            raise DeliveryError(msg)

    def wait_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row, for a chance from 0 to 1.

        >>> [Backoff().wait_s(failures, 1.0) for failures in (1, 2, 3, 7, 9)]
        [0.5, 1.0, 2.0, 30.0, 30.0]
        """
        return chance * min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 60))


def sleep(seconds: float) -> bool:
    """Wait; never asks to stop."""
    time.sleep(seconds)
    return False


class Deliverer:
    """Brings batches to one sink, in order, and counts what became of every alert.

    `chance` gives numbers from 0 to 1. `wait` waits so many seconds and says whether to stop: then
    there is one last try. `counters`: delivered, rejected and failed are alerts, retried is tries.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = random.random,
        wait: Callable[[float], bool] = sleep,
        on_rejected: Callable[[Alert, str], None] | None = None,
    ) -> None:
        self.sink = sink
        self.counters: Counter[str] = Counter(delivered=0, rejected=0, failed=0, retried=0)
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._wait = wait
        self._on_rejected = on_rejected

    def deliver(self, batch: Sequence[Alert]) -> None:
        """Returns when the sink has taken or refused every alert of the batch.

        Raises `DeliveryError` when some could not be delivered; what is left is then to be sent
        again later, from the first that failed.
        """
        left, failures = list(batch), 0
        while left:
            left, progress, detail = self._send(left)
            if not left:
                return
            failures = 1 if progress else failures + 1
            if failures >= self._backoff.attempts:
                self._give_up(left, f"after {failures} tries", detail)
            self.counters["retried"] += 1
            if self._wait(self._backoff.wait_s(failures, self._chance())):
                left, _, detail = self._send(left)
                if left:
                    self._give_up(left, "before the stop", detail)

    def _send(self, batch: list[Alert]) -> tuple[list[Alert], bool, str]:
        """What is left of a batch, whether anything was settled, and why the rest is left."""
        deliveries = self.sink.send(batch)
        left, detail = [], ""
        for alert, delivery in zip(batch, deliveries, strict=True):
            if delivery.outcome is Outcome.RETRY:
                left.append(alert)
                detail = detail or delivery.detail
                continue
            self.counters[delivery.outcome.value] += 1
            if delivery.outcome is Outcome.REJECTED and self._on_rejected:
                self._on_rejected(alert, f"{self.sink.name}: {delivery.detail}")
        return left, len(left) < len(batch), detail

    def _give_up(self, left: list[Alert], when: str, detail: str) -> None:
        self.counters["failed"] += len(left)
        why = safe(detail, 200) or "no reason given"
        msg = f"{self.sink.name}: {len(left)} alerts not delivered {when}: {why}"
        raise DeliveryError(msg)
