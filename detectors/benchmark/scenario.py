"""A scenario: a fleet, what happens to it on event time, what must be found and what must not."""

from dataclasses import dataclass, replace
from typing import Final
from zlib import crc32

from detectors.benchmark import fields as f
from detectors.benchmark.arrivals import DAY
from detectors.benchmark.labels import SEVERITIES
from detectors.benchmark.senders import (
    BUSINESS,
    CONSUMER,
    FLAT,
    NIGHT_BATCH,
    WEEKLY_JOB,
    Sender,
    Source,
    Style,
)
from detectors.benchmark.sizes import sampled, table
from detectors.benchmark.steps import Join, Step

DETECTORS: Final = (
    "spoofed-source", "replay-burst", "signature-failure-spike", "payload-volume", "sender-silence",
    "endpoint-probe", "stale-key", "clock-skew", "duplicate-acceptance", "redirect-abuse",
    "unregistered", "behaviour-outlier", "pipeline-health",
)  # fmt: skip
"""What a scenario may speak of, whether it is there yet or not."""
KINDS: Final = ("attack", "trap", "mixed")
PAIRS: Final = (("replay", "retry"), ("spoof", "drift"), ("forgery", "rotation"))
CLASSES: Final = tuple(word for pair in PAIRS for word in pair)
RHYTHMS: Final = {one.name: one for one in (FLAT, BUSINESS, CONSUMER, NIGHT_BATCH, WEEKLY_JOB)}
_SEVERITIES: Final = tuple(SEVERITIES)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A sender like another one, but for what is given."""

    name: str = f.text(what="its name")
    like: str = f.text(what="a sender of the company's fleet")
    daily: float | None = f.number(None, 0.1, 60_000, "calls a day")
    noise: float | None = f.number(None, 0.0, 5.0, "variation of the rate between ten minutes")
    failures: float | None = f.number(None, 0.0, 0.49, "usual share of refused calls")
    sizes: str | None = f.one_of(
        None, tuple(sorted(table())), "event types with the sizes of this provider's public samples"
    )
    types: int = f.count(6, "how many event types of it", 1, 50)
    spread: float = f.number(0.4, 0.0, 2.0, "of the sizes' logarithm, at most; with `sizes`")
    rhythm: str | None = f.one_of(None, tuple(RHYTHMS), "its day and week")
    moving: int = f.count(0, "new addresses a day, out of a wide range of its own", 0, 100)

    def sender(self, model: Sender) -> Sender:
        """The sender itself; its endpoint is its own, addresses and types are the model's."""
        changed = replace(model, name=self.name, endpoint=f"{model.endpoint}/{self.name}")
        if self.daily is not None:
            changed = replace(changed, daily=self.daily)
        if self.noise is not None:
            changed = replace(changed, noise=self.noise)
        if self.failures is not None:
            changed = replace(changed, failure_share=self.failures)
        if self.sizes is not None:
            events = sampled(self.sizes, self.types, self.spread, crc32(self.name.encode()))
            changed = replace(changed, events=events)
        if self.rhythm is not None:
            changed = replace(changed, rhythm=RHYTHMS[self.rhythm])
        if self.moving:
            changed = replace(changed, source=self._wandering(model.source))
        return changed

    def _wandering(self, source: Source) -> Source:
        """Addresses of one operator that are replaced daily, nearly all in networks not seen yet.

        Carriers' space (RFC 6598) in eighths of 2,048 networks.
        """
        wide = (f"100.{64 + 8 * (crc32(self.name.encode()) % 8)}.0.0/13",)
        return replace(source, networks=wide, used=8, style=Style.CHANGING, new_per_day=self.moving)


@dataclass(frozen=True, kw_only=True)
class Expect:
    """An alert that must come: of this detector, on what a step does."""

    detector: tuple[str, ...] = f.one_or_some(DETECTORS, "which detector; of several, any")
    reasons: tuple[str, ...] = f.texts((), "what it may call it; without any, anything")
    step: str = f.text("", "the step that it is about; else the first")
    severity: str = f.one_of("info", _SEVERITIES, "the least severity that counts")
    within_events: int | None = f.count(None, "by which of the step's calls", 1)
    within: int | None = f.duration(None, "how long after the step's first call")
    sender: str = f.text("", "on whom, where not on the step's senders or sources")
    at_most: int = f.count(2, "how many alerts it may take")


@dataclass(frozen=True, kw_only=True)
class Allow:
    """Alerts that may come along."""

    detector: str = f.one_of(f.REQUIRED, DETECTORS, "which detector")
    reasons: tuple[str, ...] = f.texts((), "the reasons that are meant; without any, all")
    worst: str = f.one_of("critical", _SEVERITIES, "the highest severity that is all right")
    at_most: int = f.count(1, "how many alerts, in all", 1, 1000)
    senders: tuple[str, ...] = f.texts((), "on whom; without any, whom the steps concern")


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Detectors that must not say anything: even an info of theirs counts against them."""

    detectors: tuple[str, ...] = f.some_of(f.REQUIRED, DETECTORS, "which detectors")
    senders: tuple[str, ...] = f.texts((), "on whom; without any, whom the steps concern")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Something announced in the inventory."""

    kind: str = f.one_of(
        f.REQUIRED, ("rotation", "backfill", "campaign", "migration", "maintenance"), "what"
    )
    sender: str = f.text(what="whose")
    at: tuple[int, int] = f.moment()
    lasts: int = f.duration()
    reason: str = f.text("announced", "why")


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands above all tables."""

    title: str = f.text(what="one sentence")
    kind: str = f.one_of(f.REQUIRED, KINDS, "attack, trap, or something of both")
    classes: tuple[str, ...] = f.some_of((), CLASSES, "what it must be told apart as")
    start: str = f.day("2025-06-18", "the first day of the test window")
    days: float = f.number(1.0, 0.1, 40.0, "length of the test window")
    warm_up_days: int = f.count(15, "days of benign history before it", 1, 40)
    alerts_at_most: int | None = f.count(None, "how many alerts all steps may cause", 1)
    registered: tuple[str, ...] = f.texts((), "joining senders that the inventory knows")
    model: str = f.one_of("none", ("none", "simulated"), "the learned model of behaviour-outlier")


@dataclass(frozen=True)
class Scenario:
    """A whole scenario; `name` is that of its file."""

    name: str
    head: Head
    fleet: tuple[Sender, ...]
    steps: tuple[Step, ...]
    expect: tuple[Expect, ...]
    allow: tuple[Allow, ...]
    quiet: tuple[Quiet, ...]
    planned: tuple[Plan, ...] = ()

    @property
    def joining(self) -> frozenset[str]:
        """Senders that are not there before the test window."""
        return frozenset(
            name for step in self.steps if isinstance(step, Join) for name in step.senders
        )

    @property
    def length(self) -> int:
        """Of the test window, microseconds."""
        return round(self.head.days * DAY)
