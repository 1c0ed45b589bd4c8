"""A search over many senders, in the traffic of others, and what the local engine finds in it."""

from collections.abc import Iterable, Sequence

from alerts.alert import Alert
from alerts.pipeline import fold
from detectors.batch import Decoder
from detectors.config import Config
from detectors.event import MINUTE, SECOND
from detectors.shared import Partitions
from ingest.partition import partition_for
from tests.unit.detectors.streams import ELSEWHERE, TUESDAY, Event, encode, event, sort, traffic

SEARCHED = 40
Seen = tuple[str | None, str, str, int, int]


def search(hours: float = 3, *, others: int = 24) -> list[Event]:
    """Twenty-four senders call every minute or so; half an hour in, one network tries forty names.

    It takes two of three hours until the incident has closed.
    """
    calls = [
        traffic(TUESDAY, days=hours / 24, per_hour=60, sender=f"customer-{n}")
        for n in range(others)
    ]
    tried = [
        event(
            TUESDAY + 30 * MINUTE + n * 11 * SECOND, f"tenant-{n}", rejected="signature_missing",
            source_ip=ELSEWHERE, endpoint="/hooks/tenant",
        )
        for n in range(SEARCHED)
    ]  # fmt: skip
    return sort(*calls, tried)


def split(events: Iterable[Event], partitions: int) -> list[list[Event]]:
    """The events of each partition, in order."""
    found: list[list[Event]] = [[] for _ in range(partitions)]
    for each in events:
        found[partition_for(each["sender"].encode(), partitions)].append(each)
    return found


def found_locally(events: Sequence[Event], config: Config, partitions: int) -> list[Seen]:
    """The searches that the local engine finds."""
    state, decoder, alerts = Partitions(config, partitions), Decoder(config), []
    for partition, mine in enumerate(split(events, partitions)):
        batch = decoder.values(encode(mine)).batch
        alerts += state.feed_sorted(partition, batch).alerts
    return searches(alerts + state.finish())


def searches(alerts: Iterable[Alert]) -> list[Seen]:
    """What is said of each search in the end: network, reason, severity, attempts, beginning."""
    return [
        (each.source, each.reason, each.severity, each.count, each.opened_at)
        for each in fold(alerts).values()
        if each.detector == "endpoint-probe"
    ]
