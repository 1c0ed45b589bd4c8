"""What a worker tells in Prometheus' format; docs/monitoring.md is made of these names and texts.

Counters begin with the worker and only grow, whichever partitions come and go: what a partition's
state has counted since the topic's first record would leap with each rebalance, and `rate` would
take that for traffic. Labels are few: detectors, reasons, the worker's own partitions, and fifty
senders, five at a time.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from time import time
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from detectors.engines.accounts import BECOMES, REJECTED, summed
from detectors.engines.seen import Seen, Standing

PREFIX: Final = "callwatch_"
PARTITION: Final = ("topic", "partition")
REASONS: Final = ("no_checkpoint", "damaged", "not_fitting", "beyond_the_log", "repartitioned")
"""Why a state is rebuilt: told from the start on, since a series that begins with its first event
shows no increase."""


class About(NamedTuple):
    """A metric: its kind, what it says, its labels."""

    counts: bool
    text: str
    labels: tuple[str, ...] = ()


ABOUT: Final = {
    "worker_info": About(False, "Always 1.", ("version", "group", "config")),
    "worker_ready": About(False, "1: all partitions of its share are restored."),
    "broker_answers": About(
        False, "1: a broker answered when the watchdog last asked, every 5 seconds."
    ),
    "records_consumed": About(True, "Records of callwatch.events that were walked."),
    "records": About(
        True, "What has become of them; all outcomes together are those consumed.", ("outcome",)
    ),
    "records_rejected": About(True, "Those rejected, by the reason.", ("reason",)),
    "records_unaccounted": About(
        False, "Consumed, and not among the outcomes; anything but 0 is a fault of callwatch."
    ),
    "alerts": About(
        True,
        "States of alerts that a broker has acknowledged: new ones, updates and ends.",
        ("detector", "severity"),
    ),
    "alerts_waiting": About(False, "Those of which no broker has said yet that it has them."),
    "alerts_failed": About(
        True, "Those that no broker took; the worker ends, or the next owner tells them again."
    ),
    "alerts_suppressed": About(
        True, "Findings that raised no alert: the rule that held them.", ("by",)
    ),
    "partitions": About(False, "How many the topic had when the worker began.", ("topic",)),
    "partition_restored": About(False, "1: it is walked. 0: it is being restored.", PARTITION),
    "partition_offset": About(False, "The record that is walked next.", PARTITION),
    "partition_checkpoint_offset": About(
        False, "What the newest checkpoint reflects; the rest is walked again after a crash.",
        PARTITION,
    ),
    "partition_lag_records": About(
        False,
        "Records that are not walked yet, also while a state is rebuilt; not told while no broker "
        "answers, nor of a partition that no worker has.",
        PARTITION,
    ),
    "partition_delay_seconds": About(
        False,
        "With a lag: since the broker took the last record that was walked. Without: 0.",
        PARTITION,
    ),
    "checkpoints": About(True, "Checkpoints that a broker has acknowledged."),
    "checkpoint_cpu_seconds": About(True, "Of CPU for copying and packing them."),
    "checkpoint_bytes": About(True, "Written to callwatch.state."),
    "states_rebuilt": About(
        True, "States that were made anew from the events: why.", ("reason",)
    ),
    "sender_share": About(
        False,
        "Share of this worker's events in the last 10 minutes, of its five busiest senders; "
        "after fifty names all further ones are (others).",
        ("sender",),
    ),
}  # fmt: skip


def installed() -> str:
    """The version of callwatch."""
    try:
        return version("callwatch")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


class WorkerMetrics:
    """A collector for prometheus_client, of one moment."""

    def __init__(self, seen: Seen, now: float | None = None) -> None:
        self._seen = seen
        self._now = time() if now is None else now

    def collect(self) -> Iterator[Metric]:
        """All metrics with what is known of them; what is not known is not told."""
        for name, about in ABOUT.items():
            kind = CounterMetricFamily if about.counts else GaugeMetricFamily
            family = kind(PREFIX + name, about.text, labels=about.labels)
            for labels, value in self._values(name):
                family.add_metric(labels, value)
            yield family

    def _values(self, name: str) -> list[tuple[tuple[str, ...], float]]:
        seen, tally = self._seen, self._seen.tally
        became = summed(seen.records)
        match name:
            case "worker_info":
                return [((installed(), seen.group, seen.config), 1)]
            case "broker_answers":
                return [] if seen.broker_answers is None else [((), seen.broker_answers)]
            case "records":
                return [((outcome,), became[outcome]) for outcome in BECOMES]
            case "records_rejected":
                return self._parts(REJECTED)
            case "alerts_suppressed":
                return self._parts("suppressed.")
            case "alerts":
                return [(about, n) for about, n in sorted(tally.alerts.items())]
            case "states_rebuilt":
                return [((reason,), tally.rebuilt[reason]) for reason in REASONS]
            case "partitions":
                counts = sorted(seen.partitions.items())
                return [((topic,), count) for topic, count in counts if count is not None]
            case "sender_share":
                return [((sender,), share) for sender, share in seen.busiest.items()]
        if name.startswith("partition_"):
            return self._of_partitions(name)
        single = {
            "worker_ready": seen.ready,
            "records_consumed": became["consumed"],
            "records_unaccounted": sum(abs(each.unaccounted) for each in seen.standings),
            "alerts_waiting": tally.waiting,
            "alerts_failed": tally.failed,
            "checkpoints": tally.checkpoints,
            "checkpoint_cpu_seconds": tally.checkpoint_seconds,
            "checkpoint_bytes": tally.checkpoint_bytes,
        }
        return [((), single[name])]

    def _parts(self, prefix: str) -> list[tuple[tuple[str, ...], float]]:
        found = sorted(self._seen.records.items())
        return [((name.removeprefix(prefix),), n) for name, n in found if name.startswith(prefix)]

    def _of_partitions(self, name: str) -> list[tuple[tuple[str, ...], float]]:
        found: list[tuple[tuple[str, ...], float]] = []
        for standing in self._seen.standings:
            if (value := self._of_partition(name, standing)) is not None:
                topic, partition = standing.where
                found.append(((topic, str(partition)), value))
        return found

    def _of_partition(self, name: str, standing: Standing) -> float | None:
        if name == "partition_restored":
            return standing.restored
        if standing.place is None:
            return None
        lag = self._seen.lag(standing.place)
        match name:
            case "partition_offset":
                return standing.place.walked
            case "partition_checkpoint_offset":
                return standing.place.saved if standing.restored else None
            case "partition_lag_records":
                return lag
        if lag is None or (standing.time_us is None and lag):
            return None
        return max(self._now - (standing.time_us or 0) / 1e6, 0.0) if lag else 0.0
