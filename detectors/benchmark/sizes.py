"""Event types with body sizes around real ones.

Levels in bytes come from public samples: Stripe and Shopify from hookdeck/webhook-samples
(content-length headers), Stripe `charge`, `payment_intent` and `payout` from stripe/openapi
fixtures in their event envelope, GitHub from octokit/webhooks payload examples (minified), Adyen
from hookdeck/webhook-samples. Types of home-made senders have no public sample: assumed. Spreads
are assumed everywhere, since one sample a type says nothing about them.

`payload_sizes.csv` holds the size of one public sample for each of 900 event types, with its
source; `sampled` makes event types of it for senders of scenarios.
"""

import csv
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from detectors.benchmark.senders import EventType

STRIPE: Final = (
    EventType("charge.succeeded", 0.34, 5375, 0.12),
    EventType("payment_intent.succeeded", 0.34, 2097, 0.12),
    EventType("checkout.session.completed", 0.14, 2579, 0.2),
    EventType("invoice.paid", 0.12, 6390, 0.25),
    EventType("customer.updated", 0.05, 1269, 0.1),
    EventType("payout.paid", 0.01, 1281, 0.05),
)
GITHUB: Final = (
    EventType("check_run.completed", 0.4, 11523, 0.1),
    EventType("workflow_run.completed", 0.2, 19258, 0.08),
    EventType("push", 0.25, 7235, 0.35),
    EventType("code_scanning_alert.created", 0.1, 8018, 0.12),
    EventType("pull_request.opened", 0.05, 23633, 0.15),
)
SHOPIFY: Final = (
    EventType("carts/update", 0.4, 2037, 0.4),
    EventType("checkouts/update", 0.25, 7131, 0.3),
    EventType("orders/create", 0.15, 9981, 0.35),
    EventType("orders/paid", 0.12, 9981, 0.35),
    EventType("customers/update", 0.08, 684, 0.1),
)
ADYEN: Final = (
    EventType("AUTHORISATION", 0.6, 637, 0.08),
    EventType("CAPTURE", 0.35, 388, 0.05),
    EventType("CANCELLATION", 0.05, 395, 0.05),
)
# From here on: assumed.
MFA: Final = (
    EventType("mfa.approval.granted", 0.86, 820, 0.08),
    EventType("mfa.approval.denied", 0.09, 860, 0.08),
    EventType("mfa.device.enrolled", 0.05, 1240, 0.12),
)
LIFECYCLE: Final = (
    EventType("user.updated", 0.7, 1850, 0.2),
    EventType("user.created", 0.2, 2100, 0.15),
    EventType("user.deactivated", 0.1, 640, 0.08),
)
AGENT: Final = (
    EventType("task.completed", 0.8, 3100, 0.6),
    EventType("task.failed", 0.15, 1500, 0.4),
    EventType("task.needs_approval", 0.05, 900, 0.15),
)
HR: Final = (
    EventType("employee.updated", 0.8, 1400, 0.2),
    EventType("employee.joined", 0.12, 2300, 0.15),
    EventType("employee.left", 0.08, 700, 0.1),
)
CRM: Final = (
    EventType("contact.updated", 0.6, 1700, 0.3),
    EventType("deal.updated", 0.3, 2400, 0.25),
    EventType("contact.created", 0.1, 1600, 0.25),
)
TICKETS: Final = (
    EventType("ticket.sold", 0.85, 1350, 0.15),
    EventType("ticket.refunded", 0.15, 980, 0.12),
)
LOYALTY: Final = (
    EventType("points.earned", 0.8, 540, 0.08),
    EventType("points.redeemed", 0.2, 610, 0.08),
)
BANK: Final = (
    EventType("account.balance", 0.55, 720, 0.06),
    EventType("transaction.booked", 0.45, 1150, 0.2),
)
CLAIMS: Final = (
    EventType("claim.updated", 0.7, 2600, 0.25),
    EventType("claim.opened", 0.3, 4200, 0.3),
)
SMS: Final = (EventType("message.status", 1.0, 310, 0.05),)
MAIL: Final = (EventType("events", 1.0, 2900, 0.7),)  # one call carries a batch of events
FILES: Final = (
    EventType("file.converted", 0.7, 4500, 1.3),
    EventType("file.scanned", 0.3, 1900, 0.9),
)
CHAT: Final = (
    EventType("app_mention", 0.4, 980, 0.3),
    EventType("message.channels", 0.6, 860, 0.35),
)
FAX: Final = (EventType("fax.received", 1.0, 430, 0.1),)
TAX: Final = (EventType("filing.accepted", 1.0, 1900, 0.1),)
CERTIFICATES: Final = (EventType("certificate.renewed", 1.0, 1150, 0.08),)
REDIRECT: Final = (EventType("redirect", 1.0, 260, 0.15),)


@cache
def table() -> dict[str, tuple[tuple[str, int], ...]]:
    """Event types and bytes of the public samples, by provider."""
    found: dict[str, list[tuple[str, int]]] = {}
    path = Path(__file__).with_name("payload_sizes.csv")
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["provider"], []).append((row["event_type"], int(row["bytes"])))
    return {provider: tuple(types) for provider, types in found.items()}


def sampled(provider: str, count: int, spread: float, number: int) -> tuple[EventType, ...]:
    """Some event types of a provider: a few are frequent, and each varies by a spread of its own.

    `number` draws which; spreads of the logarithm lie between a tenth of `spread` and all of it.

    >>> [kind.name for kind in sampled("monday", 2, 0.4, 1)] == [
    ...     kind.name for kind in sampled("monday", 2, 0.4, 1)]
    True
    """
    rng = np.random.Generator(np.random.PCG64(number))
    types = table()[provider]
    chosen = rng.permutation(len(types))[:count].tolist()
    spreads = rng.uniform(0.1 * spread, spread, len(chosen))
    return tuple(
        EventType(types[n][0], 1.0 / (rank + 1), types[n][1], float(spreads[rank]))
        for rank, n in enumerate(chosen)
    )
