"""How the simulated providers sign, retry and call: the world that detectors have to cope with.

Kept apart from `ingest/profiles` on purpose. A detector that reads a wrong fact from a profile must
be seen to fail here, not agree with a simulation that reads the same fact. Intervals that a
provider does not publish are guesses and say so. Sources are the providers' own pages.
"""

from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0


@dataclass(frozen=True)
class Behaviour:
    """What a provider does with one delivery."""

    fresh_signature: bool  # every attempt is signed anew, with its own time
    signs_time: bool
    gaps_s: tuple[float, ...]  # from one failed attempt to the next
    jitter: float  # share of a gap that is random
    says_created: bool
    content_type: str = "application/json"
    counts_attempts: bool = False  # a header numbers the retries
    signed: bool = True


BEHAVIOURS: Final[dict[str, Behaviour]] = {
    # docs.stripe.com/webhooks: up to three days, exponential, intervals not published (guessed);
    # "we generate a new signature and timestamp for the new delivery attempt".
    "stripe": Behaviour(
        True,
        True,
        (60, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 12 * HOUR, 24 * HOUR),
        0.2,
        says_created=True,
    ),
    # github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, example schedule.
    "standard-webhooks": Behaviour(
        True,
        True,
        (
            5,
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ),
        0.1,
        says_created=False,
    ),
    # docs.svix.com/retries; same id, fresh signature.
    "svix": Behaviour(
        True,
        True,
        (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR),
        0.1,
        says_created=False,
    ),
    # docs.github.com, handling failed webhook deliveries: no automatic retries.
    "github": Behaviour(False, False, (), 0.0, says_created=False),
    # shopify.dev/changelog/updates-to-webhook-retry-mechanism: 8 over 4 h, exponential, original
    # payload; the intervals are not published (guessed).
    "shopify": Behaviour(
        False,
        False,
        (
            60,
            2 * MINUTE,
            4 * MINUTE,
            8 * MINUTE,
            16 * MINUTE,
            32 * MINUTE,
            64 * MINUTE,
            113 * MINUTE,
        ),
        0.1,
        says_created=True,
    ),
    # twilio.com/docs/usage/webhooks/webhooks-connection-overrides: retries only when it could not
    # connect.
    "twilio": Behaviour(
        False, False, (), 0.0, says_created=False, content_type="application/x-www-form-urlencoded"
    ),
    # docs.sendgrid.com, event webhook troubleshooting: growing intervals up to 24 h (guessed).
    "sendgrid": Behaviour(
        True,
        True,
        (60, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 8 * HOUR, 12 * HOUR),
        0.3,
        says_created=False,
    ),
    # docs.slack.dev, Events API: almost at once, 1 min, 5 min; the header numbers the retries.
    "slack": Behaviour(
        True, True, (1, MINUTE, 5 * MINUTE), 0.1, says_created=True, counts_attempts=True
    ),
    # docs.adyen.com/development-resources/webhooks/troubleshoot: 9, 18, 27 s, then growing.
    "adyen": Behaviour(
        False,
        False,
        (9, 18, 27, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR),
        0.05,
        says_created=True,
    ),
    # Home-made senders: an HMAC over the body, three tries (guessed).
    "generic": Behaviour(False, False, (MINUTE, 5 * MINUTE, 30 * MINUTE), 0.1, says_created=False),
    # A browser carries no signature; the receiver checks state and code.
    "": Behaviour(
        False,
        False,
        (),
        0.0,
        says_created=False,
        content_type="application/x-www-form-urlencoded",
        signed=False,
    ),
}

# Published callback ranges; where a provider publishes single hosts these are /32.
# github: api.github.com/meta, "hooks", as of 2025-07-25. stripe: stripe.com/files/ips/
# ips_webhooks.json, as of 2026-01-03. svix: docs.svix.com/receiving/source-ips, 2026.
GITHUB_RANGES: Final = ("140.82.112.0/20", "185.199.108.0/22", "192.30.252.0/22")
STRIPE_RANGES: Final = (
    "3.18.12.63/32",
    "3.130.192.231/32",
    "13.235.14.237/32",
    "18.211.135.69/32",
    "35.154.171.200/32",
    "52.15.183.38/32",
    "54.88.130.119/32",
    "54.187.174.169/32",
    "54.187.205.235/32",
    "54.187.216.72/32",
)
SVIX_RANGES: Final = (
    "44.228.126.217/32",
    "50.112.21.217/32",
    "52.24.126.164/32",
    "54.148.139.208/32",
)
