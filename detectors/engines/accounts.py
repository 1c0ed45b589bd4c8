"""Every record has become something: what a worker tells of it, and checks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from alerts.explain import safe
from detectors.engines.ports import TopicPartition

BUSIEST: Final = 5
"""Senders that are named, of all partitions of a worker."""

MOST_LABELS: Final = 50
"""Senders that a worker names in its metrics while it lives."""
LABEL_LENGTH: Final = 128
OTHERS: Final = "(others)"

BECOMES: Final = ("scored", "rejected", "duplicates", "reports", "controls")
REJECTED: Final = "rejected."


class Accounts(NamedTuple):
    """What has become of the records of some partitions."""

    partitions: int
    sums: dict[str, int]
    differing: dict[TopicPartition, int]
    """Partitions in which records are missing (or, below 0, too many), and how many."""


def summed(counters: Mapping[str, int]) -> dict[str, int]:
    """What came, what became of it, and the alerts; rejected for any reason is one number.

    >>> summed({"consumed": 4, "scored": 3, "rejected.not_json": 1, "newer_schema": 1})["rejected"]
    1
    """
    own = {name: counters.get(name, 0) for name in ("consumed", *BECOMES, "alerts")}
    own["rejected"] = sum(n for name, n in counters.items() if name.startswith(REJECTED))
    return own


def missing(counters: Mapping[str, int]) -> int:
    """How many records have become nothing that is counted; below 0: were counted twice."""
    own = summed(counters)
    return own["consumed"] - sum(own[name] for name in BECOMES)


def settled(found: Iterable[tuple[TopicPartition, Mapping[str, int]]]) -> Accounts:
    """Add up counters of cores, and hold each core's own against each other.

    >>> counters = {"consumed": 5, "scored": 3, "rejected.not_json": 1, "reports": 1, "alerts": 2}
    >>> settled([(TopicPartition("events", 0), counters)]).sums["rejected"]
    1
    """
    sums, differing, count = Counter(summed({})), {}, 0
    for where, counters in found:
        if lost := missing(counters):
            differing[where] = lost
        sums.update(summed(counters))
        count += 1
    return Accounts(count, dict(sums), differing)


def shares(found: Iterable[tuple[int, Mapping[str, int]]]) -> dict[str, float]:
    """The busiest senders of some partitions with their share of all events, the busiest first.

    >>> shares([(80, {"acme": 60, "beta": 2}), (20, {"acme": 5})])
    {'acme': 0.65, 'beta': 0.02}
    """
    seen, counts = 0, Counter[str]()
    for looked_at, of in found:
        seen += looked_at
        counts.update(of)
    return {name: count / seen for name, count in counts.most_common(BUSIEST)}


class Labels:
    """Senders' names as labels of metrics: each kind of name is a series that is kept for long.

    >>> labels = Labels(most=2)
    >>> labels.of({"a": 0.5, "b": 0.2})
    {'a': 0.5, 'b': 0.2}
    >>> labels.of({"c": 0.4, "a": 0.3, "d": 0.1})
    {'(others)': 0.5, 'a': 0.3}
    """

    def __init__(self, most: int = MOST_LABELS) -> None:
        self._most = most
        self._given: set[str] = set()

    def of(self, shares: Mapping[str, float]) -> dict[str, float]:
        """The shares by label; names that look alike are one, and so are all beyond the most."""
        found: dict[str, float] = {}
        for name, share in shares.items():
            label = safe(name, limit=LABEL_LENGTH)
            if label not in self._given and len(self._given) >= self._most:
                label = OTHERS
            else:
                self._given.add(label)
            found[label] = found.get(label, 0.0) + share
        return found
