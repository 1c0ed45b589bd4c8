"""The traps of the labelled day: harmless things that look like attacks, on senders of their own.

The ids are the project's scenario ids (S11 to S18); Q marks senders whose ordinary behaviour is the
trap. S15, a rotation without overlap, is staged here with the changes, and judged as an attack:
every call is refused until somebody acts.
"""

from typing import Final

import numpy as np

from detectors.benchmark import attacks
from detectors.benchmark.arrivals import DAY, HOUR, MINUTE, Span
from detectors.benchmark.changes import Boost, Change, NewRange, Outage, Rotation
from detectors.benchmark.columns import Rows
from detectors.benchmark.labels import Allowed, Kind, Label
from detectors.benchmark.staged_attacks import FAILURES, REPLAY, SPOOF, VOLUME, Staged
from detectors.benchmark.world import World

REDELIVERED: Final = 400


def changes(midnight: int) -> tuple[Change, ...]:
    """What befalls benign traffic on the day that begins at `midnight`."""
    hour = [midnight + n * HOUR for n in range(25)]
    return (
        Outage("crm-saas", Span(hour[10], hour[10] + 40 * MINUTE)),
        Outage("shop-orders", Span(hour[16], hour[16] + 40 * MINUTE)),
        Rotation("idp-lifecycle", hour[8], "k2", adoption=12 * HOUR, transient_failures=0.03),
        Rotation("bank-feed", hour[13], "k2", refused=30 * MINUTE),
        NewRange("stripe-us", hour[6], ("198.18.112.0/24",), share=0.5),
        Boost("ticket-sales", Span(hour[10], hour[16]), 8.0),
    )


def redelivery(world: World, rows: Rows, midnight: int) -> Staged:
    """S13: 400 old deliveries of the last two days, sent again on somebody's click."""
    name = "repo-mirror"
    start = midnight + 15 * HOUR
    old = attacks.between(rows, Span(start - 2 * DAY, start - HOUR), world.place(name))
    rng = world.chance("S13")
    chosen = old[np.sort(rng.choice(len(old), size=min(REDELIVERED, len(old)), replace=False))]
    times = attacks.paced(rng, start, len(chosen), 2.0)
    added = attacks.redelivered(world, chosen, times)
    return added, trap(
        "S13", "Manual redelivery of 400 old deliveries: same ids, same signatures, known network",
        name, start, midnight + DAY - 1, Allowed(REPLAY, "low"),
    )  # fmt: skip


def trap(
    label: str,
    what: str,
    sender: str,
    start: int,
    end: int,
    *allowed: Allowed,
    never: tuple[str, ...] = (),
) -> Label:
    """The label of something harmless."""
    return Label(label, what, Kind.TRAP, sender, start, end, allowed=allowed, never=never)


def traps(midnight: int) -> tuple[Label, ...]:
    """What must stay quiet on that day; redelivery brings its own label."""
    hour = [midnight + n * HOUR for n in range(25)]
    end = midnight + DAY - 1
    return (
        trap("S11", "Outage of 40 minutes, then the retry flood, every attempt signed anew",
             "crm-saas", hour[10], end, Allowed(VOLUME, "info"), never=(REPLAY, SPOOF)),
        trap("S12", "Outage of 40 minutes, then the retry flood with identical signatures",
             "shop-orders", hour[16], end, Allowed(VOLUME, "info"), never=(REPLAY, SPOOF)),
        trap("S14", "Key rotation with overlap, adopted over twelve hours, 3 % transient failures",
             "idp-lifecycle", hour[8], end, Allowed(FAILURES, "medium", at_most=2),
             never=(SPOOF,)),
        trap("S16", "New source range, right signatures, not in the published list yet",
             "stripe-us", hour[6], end, Allowed(SPOOF, "info"), never=(SPOOF,)),
        trap("S18", "Campaign: eight times the usual calls for six hours, all fresh and verified",
             "ticket-sales", hour[10], end, Allowed(VOLUME, "low"), never=(REPLAY, SPOOF)),
        trap("S17", "Mail provider with five new addresses a day", "mail-events", midnight, end,
             never=(SPOOF,)),
        trap("S17b", "Chat provider on a public cloud's addresses", "chat-events", midnight, end,
             never=(SPOOF,)),
        trap("Q01", "Heavy-tailed result sizes", "file-processing", midnight, end),
        trap("Q02", "Sign-in redirects: every user a new address", "oauth-login", midnight, end,
             never=(SPOOF,)),
        trap("Q03", "Payment returns: every customer a new address", "pay-return", midnight, end,
             never=(SPOOF,)),
        trap("Q04", "A handful of calls a day", "tax-filings", midnight, end),
        trap("Q05", "Three calls a day", "cert-renewals", midnight, end),
        trap("Q06", "An endpoint that verifies nothing", "legacy-fax", midnight, end),
    )  # fmt: skip
