"""The words of a scenario: what can happen to a simulated fleet, one dataclass for each `do`.

Attacks add deliveries; faults and traffic change the fleet's own. Where a step gives several
senders or two moments, each seed draws one: a scenario is a family of runs, not one run.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from detectors.benchmark import fields as f
from detectors.benchmark.arrivals import DAY, HOUR, MINUTE

ATTACKERS: Final = ("one-network", "other-network", "botnet", "crawler")
FORGED_REASONS: Final = (
    "signature_invalid", "signature_missing", "signature_malformed", "key_unknown",
)  # fmt: skip
REDIRECT_REASONS: Final = (
    "redirect_uri_mismatch", "state_missing", "state_mismatch", "state_reused", "code_reused",
    "code_expired", "token_in_query",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Step:
    """Anything that happens; `at` counts from the first midnight of the test window."""

    attack: ClassVar[bool] = False
    name: str = f.text("", "a name by which expectations refer to it; else what it does")
    at: tuple[int, int] = f.moment()


@dataclass(frozen=True, kw_only=True)
class Calls(Step):
    """Calls that are added to the sender's own, about evenly."""

    attack: ClassVar[bool] = True
    sender: tuple[str, ...] = f.sender()
    count: int = f.count()
    every: int = f.duration(what="from one call to the next, on average")


@dataclass(frozen=True, kw_only=True)
class Forge(Calls):
    """Calls in the sender's name that it never signed."""

    attacker: str = f.one_of("one-network", ATTACKERS, "where from")
    networks: int = f.count(0, "instead: so many networks, a new one for each call", 0, 256)
    reasons: tuple[str, ...] = f.some_of(
        ("signature_invalid",), FORGED_REASONS, "why they are rejected, in equal shares"
    )


@dataclass(frozen=True, kw_only=True)
class Replay(Calls):
    """Captured calls sent again, byte for byte."""

    attacker: str = f.one_of("other-network", ATTACKERS, "where from")
    captured: tuple[int, int] = f.moment(
        (MINUTE, HOUR), "how long ago they were captured, at least"
    )
    calls: int = f.count(1, "how many different calls were captured", 1, 100)
    answer: str = f.one_of("accepted", ("accepted", "stale"), "what the receiver makes of them")


@dataclass(frozen=True, kw_only=True)
class Steal(Calls):
    """Right signatures from elsewhere, with a stolen key."""

    attacker: str = f.one_of("one-network", ATTACKERS, "where from")
    key: str = f.text("", "label of the key; else the sender's own")
    answer: str = f.one_of("accepted", ("accepted", "key_retired"), "what the receiver says")


@dataclass(frozen=True, kw_only=True)
class Oversize(Calls):
    """Verified calls of the sender whose bodies are far too large."""

    times: float = f.number(30.0, 2.0, 1e4, "times the 99th percentile of its largest type")


@dataclass(frozen=True, kw_only=True)
class Flood(Calls):
    """Verified, fresh calls beyond the sender's own: somebody abuses what triggers them."""


@dataclass(frozen=True, kw_only=True)
class Probe(Step):
    """One source tries many endpoints, or many names of senders."""

    attack: ClassVar[bool] = True
    what: str = f.one_of("paths", ("paths", "senders"), "what it tries")
    count: int = f.count()
    every: int = f.duration(what="from one call to the next, on average")
    attacker: str = f.one_of("crawler", ATTACKERS, "where from")


@dataclass(frozen=True, kw_only=True)
class AbuseRedirect(Calls):
    """A browser's callback misused."""

    reasons: tuple[str, ...] = f.some_of(
        ("redirect_uri_mismatch",), REDIRECT_REASONS, "how, in equal shares"
    )
    attacker: str = f.one_of("one-network", ATTACKERS, "where from")


@dataclass(frozen=True, kw_only=True)
class Backfill(Calls):
    """Old events delivered for the first time: new ids, verified, known network."""

    attack: ClassVar[bool] = False
    age: int = f.duration(21 * DAY, "how old they are")
    size: float = f.number(1.0, 0.1, 100.0, "times the usual body")


@dataclass(frozen=True, kw_only=True)
class Redeliver(Calls):
    """Old deliveries sent again by the provider, on somebody's click: same ids, same signatures."""

    attack: ClassVar[bool] = False
    within: int = f.duration(2 * DAY, "how old they are, at most")


@dataclass(frozen=True, kw_only=True)
class Resend(Step):
    """Failed deliveries sent again by hand and taken; the automatic retries arrive nevertheless."""

    sender: tuple[str, ...] = f.sender()
    share: float = f.number(1.0, 0.01, 1.0, "of the deliveries that have failed so far")
    every: int = f.duration(2_000_000, "from one call to the next, on average")


@dataclass(frozen=True, kw_only=True)
class Befall(Step):
    """Something that changes the traffic of senders."""

    senders: tuple[str, ...] = f.senders()


@dataclass(frozen=True, kw_only=True)
class Lasting(Befall):
    """The same, for a while."""

    lasts: int = f.duration()


@dataclass(frozen=True, kw_only=True)
class Nothing(Lasting):
    """Ordinary traffic that is watched for false alerts."""


@dataclass(frozen=True, kw_only=True)
class Outage(Lasting):
    """Behind the receiver nothing works: calls are verified, then answered with a 5xx."""

    status: int = f.count(503, "the answer", 500, 599)


@dataclass(frozen=True, kw_only=True)
class Silence(Lasting):
    """The senders do not call."""


@dataclass(frozen=True, kw_only=True)
class Surge(Lasting):
    """The senders call so many times as often, with fresh deliveries."""

    times: float = f.number(8.0, 0.0, 1000.0, "how many times")


@dataclass(frozen=True, kw_only=True)
class Ramp(Lasting):
    """Calls, or refusals, grow by so much a day, compounded."""

    of: str = f.one_of("calls", ("calls", "refusals"), "what grows")
    daily: float = f.number(0.03, -0.5, 1.0, "by which share a day")


@dataclass(frozen=True, kw_only=True)
class Failing(Lasting):
    """A share of the senders' calls is refused: they are half-built, or some are mangled."""

    share: float = f.number(0.2, 0.0, 0.99, "of the calls")
    reason: str = f.one_of("signature_invalid", FORGED_REASONS, "why")
    retries: str = f.one_of("drawn", ("drawn", "refused"), "whether each is drawn anew, or refused")


@dataclass(frozen=True, kw_only=True)
class Rotate(Befall):
    """The senders sign with a new key from then on."""

    key: str = f.text("k2", "label of the new key")
    adoption: int = f.duration(0, "until every call is signed with it")
    refused: int = f.duration(0, "how long the receiver does not know it yet")
    failures: float = f.number(0.0, 0.0, 0.5, "share of calls that fail while keys change")


@dataclass(frozen=True, kw_only=True)
class NewRange(Befall):
    """A share of the calls comes from networks that no list knows yet."""

    networks: tuple[str, ...] = f.texts(("198.18.112.0/24",), "in CIDR form")
    share: float = f.number(0.5, 0.0, 1.0, "of the calls")


@dataclass(frozen=True, kw_only=True)
class Skew(Lasting):
    """The senders' clock drifts while it lasts, and stays there."""

    to: int = f.duration(what="how far it falls behind; with a minus it runs ahead")


@dataclass(frozen=True, kw_only=True)
class ClockChange(Befall):
    """Summer time begins or ends: local hours come earlier (with a minus) or later."""

    by: int = f.duration(HOUR, "how much later")


@dataclass(frozen=True, kw_only=True)
class Join(Befall):
    """The senders call for the first time; before, they are unknown to everybody."""


@dataclass(frozen=True, kw_only=True)
class OfStream(Step):
    """A fault of the stream itself; with one, records are read as from a log, not sorted."""

    lasts: int = f.duration()


@dataclass(frozen=True, kw_only=True)
class Lag(OfStream):
    """Nothing reaches the log while it lasts; then all of it comes at once."""


@dataclass(frozen=True, kw_only=True)
class Repeat(OfStream):
    """A share of the records is published twice."""

    share: float = f.number(0.2, 0.0, 1.0, "of the records")
    by: int = f.duration(5 * MINUTE, "how much later the second comes, at most")


@dataclass(frozen=True, kw_only=True)
class Disorder(OfStream):
    """A share of the records is published late, so that they are out of order."""

    share: float = f.number(0.2, 0.0, 1.0, "of the records")
    by: int = f.duration(10 * MINUTE, "how late, at most")


@dataclass(frozen=True, kw_only=True)
class ReceiverSilent(OfStream):
    """A service goes on receiving, but publishes neither events nor reports."""

    service: str = f.one_of(f.REQUIRED, ("payments", "identity", "platform"), "which")


STEPS: Final[dict[str, type[Step]]] = {
    "forge": Forge,
    "replay": Replay,
    "steal": Steal,
    "oversize": Oversize,
    "flood": Flood,
    "probe": Probe,
    "abuse-redirect": AbuseRedirect,
    "backfill": Backfill,
    "redeliver": Redeliver,
    "resend": Resend,
    "nothing": Nothing,
    "outage": Outage,
    "silence": Silence,
    "surge": Surge,
    "ramp": Ramp,
    "failing": Failing,
    "rotate": Rotate,
    "new-range": NewRange,
    "skew": Skew,
    "clock-change": ClockChange,
    "join": Join,
    "lag": Lag,
    "repeat": Repeat,
    "disorder": Disorder,
    "receiver-silent": ReceiverSilent,
}


def do_of(step: Step) -> str:
    """The word that a file uses for a step."""
    return next(word for word, kind in STEPS.items() if type(step) is kind)


def keys_of(kind: type[Any]) -> dict[str, Any]:
    """The keys that a table of a scenario file may have, with what each allows."""
    return {one.name: one for one in fields(kind) if "read" in one.metadata}
