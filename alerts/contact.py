"""Whether a broker is there: kafka-python's consumer polls on in silence while none is."""

from collections.abc import Callable
from typing import Final

LOOK_S: Final = 5.0
"""Seconds without a record after which it is looked whether a broker takes connections."""


class Contact:
    """Tells once that no broker is there, and once that one is back.

    >>> now, there, said = [0.0], [False], []
    >>> contact = Contact(lambda: there[0], lambda: "refused", said.append, lambda: now[0])
    >>> contact.holds(came=False), said
    (True, [])
    >>> now[0] = 5.0
    >>> contact.holds(came=False), contact.holds(came=False), said
    (False, False, ['no broker answers, alerts wait in Kafka: refused'])
    >>> now[0], there[0] = 65.0, True
    >>> contact.holds(came=False), said[1:]
    (True, ['a broker answers again, after 60 s'])
    """

    def __init__(
        self,
        reachable: Callable[[], bool],
        explain: Callable[[], str],
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._reachable = reachable
        self._explain = explain
        self._say = say
        self._clock = clock
        self._looked = clock()
        self._away_since: float | None = None

    def holds(self, *, came: bool) -> bool:
        """Whether a broker was there as of the last look; `came`: whether it has just sent some."""
        now = self._clock()
        if not came and now - self._looked < LOOK_S:
            return self._away_since is None
        self._looked = now
        if came or self._reachable():
            if self._away_since is not None:
                seconds, self._away_since = now - self._away_since, None
                self._say(f"a broker answers again, after {seconds:.0f} s")
        elif self._away_since is None:
            self._away_since = now
            self._say(f"no broker answers, alerts wait in Kafka: {self._explain()}")
        return self._away_since is None
