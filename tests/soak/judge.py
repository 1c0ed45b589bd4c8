"""What must be true of a soak, held against its samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Final

from tests.soak.flat import least_of_each, slope
from tests.soak.watch import Sample

MINUTE: Final = 1 / 60  # hours


@dataclass(frozen=True)
class Bounds:
    """What is allowed after the first quarter."""

    slope_mib: float = 1.0
    """MiB more of resident memory (RSS) in an hour. Not PSS, as it depends on other processes."""
    lag_seconds: float = 20.0
    """Of 99 in 100 looks: a checkpoint's interval, what is on its way, and a busy machine."""


@dataclass(frozen=True)
class Row:
    """A figure of the table; `fault` says what is wrong with it."""

    name: str
    value: float
    unit: str
    allowed: str
    note: str = ""
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in out/soak.json."""
        return {
            "name": self.name,
            "value": round(self.value, 3),
            "unit": self.unit,
            "allowed": self.allowed,
            "note": self.note,
            "fault": self.fault,
        }


def judged(samples: Sequence[Sample], seconds: float, rate: float, bounds: Bounds) -> list[Row]:
    """Judge the last three quarters of a run of so many seconds."""
    kept = [each for each in samples if each.seconds >= seconds / 4]
    early = [each for each in kept if each.seconds < seconds / 2]
    late = [each for each in kept if each.seconds >= seconds * 3 / 4]
    if len(early) < 3 or len(late) < 3:
        msg = f"too few looks to judge: {len(early)} in the second quarter, {len(late)} at the end"
        raise ValueError(msg)
    return [
        _memory(kept, bounds),
        *(_level(name, early, late) for name in ("descriptors", "threads")),
        _lag(kept, rate, bounds),
        _lag_level(early, late, rate, bounds),
        _busy(kept, rate),
    ]


def _memory(kept: Sequence[Sample], bounds: Bounds) -> Row:
    hours = [each.seconds / 3600 for each in kept]
    when, least = least_of_each(hours, [each.rss for each in kept], every=MINUTE)
    if len(least) < 10:  # a short run: single looks have to do
        when, least = hours, [each.rss for each in kept]
    found = slope(when, least)
    too_much = found.middle > bounds.slope_mib
    return Row(
        "memory slope",
        found.middle,
        "MiB per hour",
        f"at most {bounds.slope_mib:g}",
        f"95 %: {found.low:.2f} to {found.high:.2f}; least of each minute {min(least):.1f} to "
        f"{max(least):.1f} MiB, at most {max(each.rss for each in kept):.1f} MiB",
        f"{found.middle:.2f} MiB per hour more" if too_much else "",
    )


def _level(name: str, early: Sequence[Sample], late: Sequence[Sample]) -> Row:
    """Sockets come and go with a look at the broker; what stays is what counts."""
    before = median(getattr(each, name) for each in early)
    after = median(getattr(each, name) for each in late)
    most = max(getattr(each, name) for each in late)
    fault = f"{after - before:g} more at the end" if after > before else ""
    return Row(
        name, after, "", f"at most {before:g}, as before", f"median; at most {most:g}", fault
    )


def _lag(kept: Sequence[Sample], rate: float, bounds: Bounds) -> Row:
    lags = [each.lag / rate for each in kept]
    high = quantiles(lags, n=100)[98]
    return Row(
        "lag, 99 in 100",
        high,
        "s",
        f"at most {bounds.lag_seconds:g}",
        f"median {median(lags):.1f} s, at most {max(lags):.1f} s",
        f"{high:.1f} s of events wait" if high > bounds.lag_seconds else "",
    )


def _lag_level(early: Sequence[Sample], late: Sequence[Sample], rate: float, bounds: Bounds) -> Row:
    before, after = (median(each.lag for each in part) / rate for part in (early, late))
    allowed = before + bounds.lag_seconds / 4
    fault = f"{after - before:.1f} s more at the end" if after > allowed else ""
    note = "medians: the end, against the second quarter"
    return Row("lag at the end", after, "s", f"at most {allowed:.1f}", note, fault)


def _busy(kept: Sequence[Sample], rate: float) -> Row:
    first, last = kept[0], kept[-1]
    share = (last.cpu - first.cpu) / (last.seconds - first.seconds)
    note = f"{rate / share:,.0f} events per CPU-second, were it busy" if share else ""
    return Row("CPU", 100 * share, "% of a core", "any", note)
