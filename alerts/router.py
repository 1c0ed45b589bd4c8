"""From `callwatch.alerts` to sinks: read a batch, deliver it, only then commit."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from alerts.alert import Alert, Severity
from alerts.correlate import Correlator
from alerts.delivery import Deliverer
from alerts.errors import AlertError
from alerts.pipeline import at_least, without_shadow

POLL_MS = 500
"""Longest wait for records, in milliseconds, and so for a signal to be noticed."""

MAX_BATCH = 500
"""Most alerts between two commits: what is sent again after a crash."""

MAX_NAMED = 100
"""Invalid records that are named in one run; further ones are only counted."""

JOIN_S = 30.0
"""Seconds after which `until_idle_s` counts even if no partition was assigned."""


class Consumer(Protocol):
    """What the router needs of kafka-python's `KafkaConsumer`."""

    def poll(self, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]:
        """Records by partition."""

    def commit(self) -> None:
        """Store the positions after the polled records."""

    def assignment(self) -> set[Any]:
        """The partitions that are read."""

    def seek_to_beginning(self, *partitions: Any) -> None:
        """Read partitions again from their first record."""


@dataclass(frozen=True)
class RouteOptions:
    """What to route and when to end.

    lowest: alerts below are counted and passed over.
    until_idle_s: end when nothing came for so many seconds; None runs until stopped.
    from_beginning: send everything that the topic still holds again.
    shadow: send alerts of shadow mode too; otherwise they are counted and passed over.
    """

    lowest: Severity = Severity.INFO
    until_idle_s: float | None = None
    from_beginning: bool = False
    shadow: bool = False


def run(
    consumer: Consumer,
    deliverers: Sequence[Deliverer],
    options: RouteOptions,
    *,
    stopping: Callable[[], bool],
    clock: Callable[[], float],
    report: Callable[[str], None],
    alive: Callable[[bool], None] = lambda _: None,
    commit_errors: tuple[type[Exception], ...] = (),
) -> Counter[str]:
    """Route until stopped or idle; returns counts of consumed, invalid, shadow, folded, below and
    uncommitted alerts.

    A batch is committed when every sink has settled each of its alerts; a batch in hand is finished
    before the end. A commit that fails (the partition went to another router) is counted: those
    alerts are sent again by the new owner. Raises what the deliverers raise, without a commit.
    `clock` gives seconds; `report` takes one line about an invalid record; `alive` is called in
    each round, twice a second at least unless a sink holds it up, with whether alerts came.
    """
    names = ("consumed", "invalid", "shadow", "folded", "below", "uncommitted")
    counts: Counter[str] = Counter(dict.fromkeys(names, 0))
    correlator = Correlator()  # a new router begins afresh: at worst a member is told again
    rewound: set[Any] = set()
    started = active = clock()
    while not stopping():
        records = consumer.poll(timeout_ms=POLL_MS, max_records=MAX_BATCH)
        alive(bool(records))
        if options.from_beginning and (fresh := consumer.assignment() - rewound):
            consumer.seek_to_beginning(*fresh)
            rewound |= fresh
            continue  # what was just read comes again
        now = clock()
        if not records:
            if not consumer.assignment() and now - started < JOIN_S:
                active = now
            if options.until_idle_s is not None and now - active >= options.until_idle_s:
                break
            continue
        alerts = sorted(_read(records, counts, report), key=lambda alert: alert.updated_at)
        shown = alerts if options.shadow else without_shadow(alerts)
        counts["shadow"] += len(alerts) - len(shown)
        told = correlator.take(shown)
        counts["folded"] = correlator.folded
        passed = at_least(told, options.lowest)
        counts["below"] += len(told) - len(passed)
        for deliverer in deliverers:
            deliverer.deliver(passed)
        try:
            consumer.commit()
        except commit_errors:
            counts["uncommitted"] += sum(len(batch) for batch in records.values())
        active = clock()
    if held := at_least(correlator.flush(), options.lowest):
        for deliverer in deliverers:
            deliverer.deliver(held)
    return counts


def _read(
    records: Mapping[Any, Sequence[Any]], counts: Counter[str], report: Callable[[str], None]
) -> list[Alert]:
    alerts = []
    for batch in records.values():
        for record in batch:
            counts["consumed"] += 1
            try:
                alerts.append(Alert.from_json(record.value or b""))
            except AlertError as error:
                counts["invalid"] += 1
                if counts["invalid"] <= MAX_NAMED:
                    report(f"{record.topic}[{record.partition}] offset {record.offset}: {error}")
    return alerts
