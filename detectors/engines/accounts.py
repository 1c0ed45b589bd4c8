"""Every record has become something: checked where a worker leaves a partition."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from detectors.engines.ports import TopicPartition

BUSIEST: Final = 5
"""Senders that are named, of all partitions of a worker."""

BECOMES: Final = ("scored", "rejected", "duplicates", "reports", "controls")


class Accounts(NamedTuple):
    """What has become of the records of some partitions."""

    partitions: int
    sums: dict[str, int]
    differing: dict[TopicPartition, int]
    """Partitions in which records are missing (or, below 0, too many), and how many."""


def settled(found: Iterable[tuple[TopicPartition, Mapping[str, int]]]) -> Accounts:
    """Add up counters of cores, and hold each core's own against each other.

    >>> counters = {"consumed": 5, "scored": 3, "rejected.not_json": 1, "reports": 1, "alerts": 2}
    >>> settled([(TopicPartition("events", 0), counters)]).sums["rejected"]
    1
    """
    sums = dict.fromkeys(("consumed", *BECOMES, "alerts"), 0)
    differing = {}
    count = 0
    for where, counters in found:
        own = {name: counters.get(name, 0) for name in sums}
        own["rejected"] = sum(
            number for name, number in counters.items() if name.startswith("rejected.")
        )
        missing = own["consumed"] - sum(own[name] for name in BECOMES)
        if missing:
            differing[where] = missing
        for name, number in own.items():
            sums[name] += number
        count += 1
    return Accounts(count, sums, differing)


def shares(found: Iterable[tuple[int, Mapping[str, int]]]) -> list[str]:
    """The busiest senders of some partitions with their share of all events, the busiest first.

    >>> shares([(80, {"acme": 60, "beta": 1}), (20, {"acme": 5})])
    ['acme:0.65', 'beta:0.01']
    """
    seen, counts = 0, Counter[str]()
    for looked_at, of in found:
        seen += looked_at
        counts.update(of)
    return [f"{name}:{count / seen:.2f}" for name, count in counts.most_common(BUSIEST)]
