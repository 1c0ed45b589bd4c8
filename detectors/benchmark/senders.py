"""What a simulated sender is: how often it calls, with what, from where, and how it is verified."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from detectors.benchmark.errors import BenchmarkError

HOURS: Final = 24


class Style(StrEnum):
    """How a sender's source addresses behave over weeks."""

    FIXED = "fixed"
    CHANGING = "changing"
    BROWSERS = "browsers"


@dataclass(frozen=True)
class Rhythm:
    """Relative rates by hour of day (UTC) and by weekday (Monday first); only ratios matter."""

    name: str
    hours: tuple[float, ...]
    weekdays: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.hours) != HOURS or len(self.weekdays) != 7:
            msg = (
                f"rhythm {self.name}: needs 24 hours and 7 weekdays, "
                f"given {len(self.hours)} and {len(self.weekdays)}"
            )
            raise BenchmarkError(msg)


FLAT: Final = Rhythm("flat", (1.0,) * 24, (1.0,) * 7)
BUSINESS: Final = Rhythm(
    "business hours",
    (.08, .06, .05, .05, .08, .2, .6, 1.3, 2.2, 2.6, 2.5, 2.2, 1.8, 2.2, 2.4, 2.2, 1.8, 1.2, .7, .4,
     .3, .2, .15, .1),
    (1.15, 1.05, 1.0, 1.0, .9, .18, .15),
)  # fmt: skip
CONSUMER: Final = Rhythm(
    "consumers",
    (.35, .22, .15, .12, .14, .25, .5, .8, 1.0, 1.1, 1.2, 1.3, 1.4, 1.3, 1.2, 1.2, 1.3, 1.5, 1.8,
     2.1, 2.2, 1.8, 1.2, .7),
    (.95, .93, .95, 1.0, 1.1, 1.1, 1.0),
)  # fmt: skip
NIGHT_BATCH: Final = Rhythm(
    "night batch",
    (1.0, 4.0, 6.0, 5.0, 2.0, .5, .2, .2, .3, .3, .3, .3, .3, .3, .3, .3, .3, .2, .2, .2, .2, .2,
     .3, .5),
    (1.0, 1.0, 1.0, 1.0, 1.0, .6, .5),
)  # fmt: skip
WEEKLY_JOB: Final = Rhythm("weekly job", (0.0,) * 3 + (1.0,) * 2 + (0.0,) * 19, (0.0,) * 6 + (1.0,))


@dataclass(frozen=True)
class EventType:
    """One type of event: its share, its median body in bytes and the spread of the logarithm."""

    name: str
    share: float
    median_bytes: int
    log_spread: float = 0.15


@dataclass(frozen=True)
class Source:
    """Where a sender calls from: `used` addresses out of networks that belong to one operator."""

    networks: tuple[str, ...]
    asn: int
    country: str
    used: int = 4
    style: Style = Style.FIXED
    new_per_day: int = 0


@dataclass(frozen=True)
class Client:
    """What the calling software shows; `{build}` in the user agent is renewed every few days."""

    user_agent: str
    tls_fp: str | None = None
    client_cert_fp: str | None = None


@dataclass(frozen=True)
class Sender:
    """One integration of the fleet and the endpoint that it calls."""

    name: str
    what: str
    provider: str
    endpoint: str
    service: str
    daily: float
    rhythm: Rhythm
    events: tuple[EventType, ...]
    source: Source
    client: Client
    kind: str = "webhook"
    key_id: str | None = "k1"
    failure_share: float = 0.002
    tells_duplicates: bool = True
    verified: bool = True
    noise: float = 0.2  # coefficient of variation of the rate from one ten minutes to the next
    mtls: bool = False
    ranges: tuple[str, ...] = ()  # registered with the inventory

    def __post_init__(self) -> None:
        if not 0 < self.daily <= 60_000:
            msg = f"sender {self.name}: daily must be in 0..60000 events, given {self.daily}"
            raise BenchmarkError(msg)
        if not 0 <= self.failure_share < 0.5:
            msg = f"sender {self.name}: failure_share must be in 0..0.5, given {self.failure_share}"
            raise BenchmarkError(msg)
        if not self.events:
            msg = f"sender {self.name}: needs at least one event type"
            raise BenchmarkError(msg)
