"""Which observations of a partition were taken already: each is taken once, whatever is repeated.

A worker that died tells again what it had told since its checkpoint. Not all of that need have
arrived, and what is missing may lie before what is there (a producer gives up one batch and
delivers the next). So single places are remembered, and forgotten once the partition says that
everything before a place is settled: acknowledged, and never to be told for the first time.

>>> told = Told()
>>> [told.take(place, 100) for place in (3, 7, 7, 5)]
[True, True, False, True]
>>> told.settle(6)
>>> [told.take(place, 100) for place in (4, 7, 8)]
[False, False, True]
"""

from typing import Any, Final, Self

MOST: Final = 1 << 16
"""Places kept one by one; more than a worker walks from one checkpoint to the next."""


class Told:
    """The places of one partition whose observations were taken."""

    def __init__(self, before: int = 0, newest: int | None = None) -> None:
        self._before = before  # what lies before is settled
        self._newest = newest  # stream time, microseconds
        self._single: set[int] = set()

    def take(self, place: int, now: int) -> bool:
        """Whether this one is new; from now on it is not."""
        if place < self._before and self._newest is not None and now > self._newest:
            # A repeat is never later than what was told: this is a log that was made anew.
            self._before = place
            self._single.clear()
        if place < self._before or place in self._single:
            return False
        self._single.add(place)
        self._newest = now if self._newest is None else max(now, self._newest)
        if len(self._single) > MOST:
            self.settle(sorted(self._single)[MOST // 2])
        return True

    def settle(self, place: int) -> None:
        """Nothing before this place is told for the first time any more."""
        if place > self._before:
            self._before = place
            self._single = {each for each in self._single if each >= place}

    def snapshot(self) -> Any:
        """Return the state as a JSON-able value."""
        return [self._before, self._newest, sorted(self._single)]

    @classmethod
    def restore(cls, state: Any) -> Self:
        """Return what ``snapshot`` was taken of."""
        before, newest, single = state
        told = cls(before, newest)
        told._single = set(single)
        return told
