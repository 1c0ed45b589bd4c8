"""What happens to a sender on purpose or by accident, as data: the words of a scenario.

A change alters benign traffic while it is made, so that its consequences (retries after an outage,
rejects after a rotation) follow by the same rules as on any other day.
"""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from detectors.benchmark.arrivals import Span


@dataclass(frozen=True)
class Boost:
    """The sender calls `factor` times as often, with fresh deliveries."""

    sender: str
    span: Span
    factor: float


@dataclass(frozen=True)
class Outage:
    """Behind the receiver nothing works: calls are verified, then answered with `status`."""

    sender: str
    span: Span
    status: int = 503


@dataclass(frozen=True)
class Rotation:
    """From `at` on the sender signs with a new key.

    Attributes:
        sender: name of the sender.
        at: when it begins, microseconds.
        new_key: label of the new key.
        adoption: microseconds until every call is signed with the new key; calls move gradually.
        refused: microseconds during which the receiver does not know the new key yet.
        transient_failures: share of calls that fail while keys change.
    """

    sender: str
    at: int
    new_key: str
    adoption: int = 0
    refused: int = 0
    transient_failures: float = 0.0


@dataclass(frozen=True)
class NewRange:
    """From `at` on a share of calls comes from networks that no list knows yet."""

    sender: str
    at: int
    networks: tuple[str, ...]
    share: float
    used: int = 4


@dataclass(frozen=True)
class Failing:
    """Another share of the sender's calls is refused than usual: half-built, or breaking slowly.

    Attributes:
        sender: name of the sender.
        span: when.
        share: of its calls.
        reason: why; empty = for the reasons for which calls are refused on other days.
        sticks: whether a delivery that was refused is refused at each retry: its body is at fault.
    """

    sender: str
    span: Span
    share: float
    reason: str = ""
    sticks: bool = False


@dataclass(frozen=True)
class Skew:
    """The sender's clock falls behind (or runs ahead, below 0) by `by` until the span's end.

    It drifts evenly over the span, and stays where it is afterwards.
    """

    sender: str
    span: Span
    by: int


@dataclass(frozen=True)
class ClockChange:
    """From `at` on local hours come `by` microseconds later (summer time ends) or earlier."""

    sender: str
    at: int
    by: int


Change: TypeAlias = Boost | Outage | Rotation | NewRange | Failing | Skew | ClockChange
T = TypeVar("T", Boost, Outage, Rotation, NewRange, Failing, Skew, ClockChange)


def of_kind(changes: tuple[Change, ...], kind: type[T], sender: str) -> list[T]:
    """The changes of one kind that touch one sender."""
    return [c for c in changes if isinstance(c, kind) and c.sender == sender]
