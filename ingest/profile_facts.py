"""The kinds of facts that a provider profile may hold: what each means, and which values it takes.

A fact is a table of a profile's file. `basis` says how sure it is: what the provider itself says
is `stated` and need not be marked; what somebody else says of the provider is `secondary`; what
follows from stated facts is `inferred`, and `note` says how.

.. code-block:: toml

    [timeout_s]
    value = 15
    as_of = "2026-11"
    source = "https://docs.svix.com/retries"
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import ip_network
from typing import Any, Final, Literal, cast, get_args

Freshness = Literal["per_attempt", "body_only", "nonce", "unknown"]
Schedule = Literal["none", "exponential", "increasing"]
SourcePolicy = Literal["published", "discouraged", "changing", "paid_only", "none", "unknown"]
Basis = Literal["stated", "secondary", "inferred"]
Kind = Literal["signing", "delivery", "retries", "policy", "networks"]

BASES: Final[tuple[Basis, ...]] = get_args(Basis)
LIMIT_DAYS: Final[Mapping[Kind, int]] = {
    "signing": 730,  # a scheme outlives its sender's releases
    "delivery": 730,
    "retries": 365,  # providers change schedules every few years
    "policy": 365,
    "networks": 90,  # address lists change several times a year
}
"""After how many days a fact of each kind should be read again."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Where a fact was read, when (YYYY-MM-DD, YYYY-MM or YYYY), and how sure it is."""

    as_of: str
    source: str
    basis: Basis = "stated"
    note: str = ""

    @property
    def day(self) -> date:
        """The earliest day that `as_of` can mean.

        >>> Fact("2026-05", "x").day
        datetime.date(2026, 5, 1)
        """
        return first_day(self.as_of)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a provider says and no field holds."""

    text: str
    fact: Fact


def first_day(as_of: object) -> date:
    """The first day of a YYYY, YYYY-MM or YYYY-MM-DD; ValueError for anything else."""
    if not isinstance(as_of, str) or len(as_of) not in (4, 7, 10) or not as_of.isascii():
        raise ValueError
    return date.fromisoformat(as_of + "-01-01"[len(as_of) - 4 :])


def day_text(value: object) -> str:
    """A day as text; TOML's own dates are taken too. ValueError where it is none."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).date() if value.tzinfo else value.date()
    text = value.isoformat() if isinstance(value, date) else value
    first_day(text)
    return str(text)


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of fact: what it means, what is allowed, and how a given value is taken."""

    kind: Kind
    means: str
    allowed: str
    take: Callable[[Any], Any]


def text_of(value: object, most: int = 400) -> str:
    """A printable text of one line; ValueError for anything else."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise ValueError
    return value


def _seconds(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= cast("float", value) <= MOST_SECONDS:  # NaN is in no range
        raise ValueError
    return float(cast("float", value))


def _share(value: object) -> float:
    number = _seconds(value)
    if number >= 1:
        raise ValueError
    return number


def _gaps(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) > MOST_GAPS:
        raise ValueError
    return tuple(_seconds(item) for item in value)


def _bounds(value: object) -> tuple[float, ...]:
    found = _gaps(value)
    if len(found) != 2 or found[0] > found[1]:
        raise ValueError
    return found


def _attempts(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_ATTEMPTS:
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if value is not True and value is not False:
        raise ValueError
    return value


def _networks(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(str(ip_network(item)) for item in value)


def _url(value: object) -> str:
    if not text_of(value).startswith("https://"):
        raise ValueError
    return str(value)


def _one_of(words: tuple[str, ...]) -> tuple[str, Callable[[Any], Any]]:
    def take(value: object) -> object:
        if value not in words:
            raise ValueError
        return value

    return ", ".join(words), take


MOST_SECONDS: Final = 10 * 366 * 86_400
MOST_GAPS: Final = 100
MOST_ATTEMPTS: Final = 10_000
_SECONDS: Final = ("seconds, up to 10 years", _seconds)
_FLAG: Final = ("true or false", _flag)
_TEXT: Final = ("one line of 1 to 400 printable characters", text_of)

RULES: Final[Mapping[str, Rule]] = {
    "freshness": Rule(
        "signing",
        "what a repeated signature means: `per_attempt` = every attempt is signed anew, so it is a "
        "replay; `body_only` = retries carry the same signature; `nonce` = a single-use token",
        *_one_of(get_args(Freshness)),
    ),
    "signature_header": Rule("signing", "where the signature stands", *_TEXT),
    "algorithm": Rule("signing", "how it is made", *_TEXT),
    "signed": Rule("signing", "what is signed", *_TEXT),
    "tolerance_s": Rule("signing", "allowed age of the signed time", *_SECONDS),
    "rotation_overlap_s": Rule(
        "signing", "for how long an old key stays in use after a rotation", *_SECONDS
    ),
    "key_id_visible": Rule("signing", "whether a call names the key that signed it", *_FLAG),
    "delivery_id": Rule("delivery", "where the id of a delivery stands", *_TEXT),
    "id_stable_on_retry": Rule("delivery", "whether all attempts have the same id", *_FLAG),
    "retry_marker": Rule("delivery", "what marks a retry", *_TEXT),
    "schedule": Rule(
        "retries",
        "how retries are spaced where the gaps are not published; `none` = it never retries",
        *_one_of(get_args(Schedule)),
    ),
    "gaps_s": Rule(
        "retries",
        "seconds between attempts, in order",
        f"a list of up to {MOST_GAPS} numbers of seconds",
        _gaps,
    ),
    "gap_range_s": Rule(
        "retries",
        "shortest and longest gap, where no more is published",
        "a list of two numbers of seconds, the shorter one first",
        _bounds,
    ),
    "jitter": Rule(
        "retries",
        "random share of each gap (0.2 = 20 % to either side)",
        "a number from 0 to below 1",
        _share,
    ),
    "max_attempts": Rule(
        "retries",
        "attempts that the provider makes by itself, the first one included",
        f"an integer from 1 to {MOST_ATTEMPTS}",
        _attempts,
    ),
    "horizon_s": Rule("retries", "for how long it retries by itself", *_SECONDS),
    "resend_s": Rule("retries", "for how long a person may have it sent again", *_SECONDS),
    "timeout_s": Rule("retries", "how long it waits for an answer", *_SECONDS),
    "retries_after_success": Rule(
        "retries", "whether an automatic retry may follow a resend that was accepted", *_FLAG
    ),
    "disables_after": Rule("retries", "what makes it stop calling for good", *_TEXT),
    "source_policy": Rule(
        "policy",
        "`published` = there is a list; `discouraged`, `changing`, `paid_only` = addresses are "
        "not to be relied on; `none` = no list",
        *_one_of(get_args(SourcePolicy)),
    ),
    "ranges": Rule(
        "networks", "the networks that it calls from", "a list of networks in CIDR form", _networks
    ),
    "ranges_url": Rule(
        "policy", "where a program reads the list", "an address with https://", _url
    ),
}
