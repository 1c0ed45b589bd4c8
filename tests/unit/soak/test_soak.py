"""What the soak publishes, and what it makes of its samples."""

import dataclasses
import os
from itertools import islice

import msgspec
import numpy as np
import pytest

from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.event import HOUR
from tests.soak.flat import slope
from tests.soak.judge import Bounds, Row, judged
from tests.soak.traffic import Traffic
from tests.soak.watch import Sample, look

START = 1_772_323_200_000_000
LEVEL = [
    Sample(
        seconds=5.0 * n, rss=300.0 + n % 3, anonymous=200.0, descriptors=36 + (n % 9 == 0),
        threads=15, lag=4000 + 1000 * (n % 5), cpu=0.1 * n,
    ) for n in range(720)
]  # fmt: skip


def _faults(samples: list[Sample]) -> list[str]:
    return [row.name for row in judged(samples, 3600, 2000, Bounds()) if row.fault]


def _changed(name: str, per_hour: float) -> list[Sample]:
    """The level samples, of which one figure grows."""
    return [
        dataclasses.replace(one, **{name: getattr(one, name) + per_hour * one.seconds / 3600})
        for one in LEVEL
    ]


def test_level_samples_are_good() -> None:
    """Snapshots that are being copied and sockets that come and go are no growth."""
    peaks = [dataclasses.replace(one, rss=one.rss + 80 * (n % 40 == 0)) for n, one in
             enumerate(LEVEL)]  # fmt: skip
    assert _faults(peaks) == []


@pytest.mark.parametrize(
    ("name", "per_hour", "fault"),
    [
        ("rss", 1.2, "memory slope"),
        ("descriptors", 4.0, "descriptors"),
        ("threads", 4.0, "threads"),
        ("lag", 60_000, "lag, 99 in 100"),
        ("lag", 60_000, "lag at the end"),
    ],
)
def test_growth_is_found(name: str, per_hour: float, fault: str) -> None:
    """Whatever grows by more than is allowed is named."""
    assert fault in _faults(_changed(name, per_hour))


def test_what_grows_at_first_is_not_judged() -> None:
    """Tables fill up in the first quarter; what is level from there on is good."""
    filling = [dataclasses.replace(one, rss=min(one.rss, one.seconds)) for one in LEVEL]
    assert _faults(filling) == []


def test_too_few_looks_are_an_error() -> None:
    """A run that ended early is not called good."""
    with pytest.raises(ValueError, match="too few looks"):
        judged(LEVEL[:400], 3600, 2000, Bounds())


def test_a_slope_has_its_spread() -> None:
    """The true slope lies in the interval, which noise makes wider."""
    rng = np.random.Generator(np.random.PCG64(3))
    hours = np.linspace(0, 1, 50)
    quiet = slope(list(hours), list(2 * hours + rng.normal(0, 0.01, 50)))
    loud = slope(list(hours), list(2 * hours + rng.normal(0, 1, 50)))
    assert quiet.low < 2 < quiet.high
    assert loud.low < 2 < loud.high
    assert loud.high - loud.low > 10 * (quiet.high - quiet.low)


def test_this_process_can_be_looked_at() -> None:
    """Where Linux tells of a process, its memory, descriptors and threads are read."""
    if not os.path.exists("/proc/self/smaps_rollup"):  # noqa: PTH110 - a file of the system
        pytest.skip("this system has no /proc")
    seen = look(os.getpid(), 1.0, 7)
    assert seen.rss > seen.anonymous > 1
    assert (seen.threads >= 1, seen.descriptors >= 3, seen.lag) == (True, True, 7)


def test_rows_say_what_is_wrong() -> None:
    """What is written for the documents holds the value, what is allowed, and the fault."""
    row = Row("lag", 1.23456, "s", "at most 1", fault="more")
    assert row.to_json() == {
        "name": "lag", "value": 1.235, "unit": "s", "allowed": "at most 1", "note": "",
        "fault": "more",
    }  # fmt: skip


def test_traffic_meets_all_senders_first() -> None:
    """Every sender calls from each of its networks before anything else, under its own key."""
    traffic = Traffic(5000, 50, START, 24 * HOUR)
    records = list(traffic)
    assert len(records) == len(traffic) == 5000
    events = [msgspec.json.decode(record.value) for record in records]
    assert all(e["sender"].encode() == r.key for e, r in zip(events, records, strict=True))
    met = {(each["sender"], each["source_ip"]) for each in events[:150]}
    assert len(met) == 150
    assert len({each["id"] for each in events}) == 5000
    own = {pair for each in events if (pair := (each["sender"], each["source_ip"])) not in met}
    assert {address.rpartition(".")[0] for _, address in own} <= {f"198.18.{k}" for k in range(4)}
    assert list(islice(traffic, 100)) == records[:100]


def test_traffic_fills_its_tables_and_is_attacked() -> None:
    """Deliveries reach their limit in the first quarter, and there are alerts all day long."""
    traffic = Traffic(20_000, 50, START, 24 * HOUR)
    limit = 20_000 // 16
    stream = StreamSettings(max_senders=200, max_deliveries=limit, max_exact_deliveries=limit // 2)
    config = Config(stream=stream)
    core = Core(config)
    values = [record.value for record in traffic]
    now = [START + 24 * HOUR] * 5000
    for first in range(0, 20_000, 5000):
        core.feed_log(values[first : first + 5000], range(first, first + 5000), now)
        assert core.evicted.keys() == {"sender+delivery", "sender+unit"}
    assert core.counters["scored"] == 20_000
    assert core.counters["alerts"] > 0  # few: so small a memory forgets most before they recur
