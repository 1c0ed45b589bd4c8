"""The simulated fleet: the callbacks that a mid-sized company receives, each kind of sender once.

Addresses are the providers' published ones where they publish any; everyone else lives in address
space reserved for documentation, benchmarks and carriers (RFC 5737, 2544, 6598, 3849), and in AS
numbers reserved for documentation (RFC 5398), so that no real network is accused by a simulation.
"""

from typing import Final

from detectors.benchmark import providers, sizes
from detectors.benchmark.senders import (
    BUSINESS,
    CONSUMER,
    FLAT,
    NIGHT_BATCH,
    Client,
    Sender,
    Source,
    Style,
)

AGENT_RANGE: Final = "203.0.113.16/28"
_STRIPE = Source(providers.STRIPE_RANGES, 16509, "US", used=10)
_GITHUB = Source(providers.GITHUB_RANGES, 36459, "US", used=14)
_SVIX = Source(providers.SVIX_RANGES, 16509, "US", used=4)
_BROWSERS = Source(("100.64.0.0/10", "2001:db8::/32"), 64496, "DE", style=Style.BROWSERS)
_STRIPE_CLIENT = Client("Stripe/1.0 (+https://stripe.com/docs/webhooks)", "t13d1011h2_61a7ad8aa9b6")
_HOOKSHOT = Client("GitHub-Hookshot/{build}", "t13d1812h2_85036bcba153")
_SVIX_CLIENT = Client("Svix-Webhooks/1.{build} (+https://www.svix.com/http-sender/)", "t13d1516h2")
_STANDARD = Client("webhooks/2.4", "t13d1715h2_5b57614c22b0")
_BROWSER = Client("Mozilla/5.0 ({build}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0")


def _own(network: str, asn: int, country: str, used: int = 3) -> Source:
    return Source((network,), asn, country, used)


FLEET: Final[tuple[Sender, ...]] = (
    Sender("stripe-eu", "payment processor, transactions of the EU shop", "stripe",
           "/hooks/stripe/eu", "payments", 1900, CONSUMER, sizes.STRIPE, _STRIPE, _STRIPE_CLIENT),
    Sender("stripe-us", "payment processor, transactions of the US shop", "stripe",
           "/hooks/stripe/us", "payments", 1500, CONSUMER, sizes.STRIPE, _STRIPE, _STRIPE_CLIENT),
    Sender("mfa-approvals", "identity platform, second factor approved or denied",
           "standard-webhooks", "/hooks/idp/mfa", "identity", 1500, BUSINESS, sizes.MFA,
           _own("198.51.100.32/28", 64497, "IE", 6), _STANDARD),
    Sender("idp-lifecycle", "identity platform, accounts created and closed", "standard-webhooks",
           "/hooks/idp/users", "identity", 900, BUSINESS, sizes.LIFECYCLE,
           _own("198.51.100.48/28", 64497, "IE", 6), _STANDARD),
    Sender("agent-tasks", "agent platform, task completions; fixed range and client certificate",
           "standard-webhooks", "/hooks/agents", "platform", 1200, FLAT, sizes.AGENT,
           _own(AGENT_RANGE, 64498, "US", 8),
           Client("agent-callbacks/3.1", "t13d1312h2_f57a46bbacb6", "9f3c51d07be2468a" * 4),
           mtls=True, ranges=(AGENT_RANGE,)),
    Sender("ci-scanner", "CI/CD scanner, check results and findings", "github", "/hooks/ci",
           "platform", 1500, BUSINESS, sizes.GITHUB, _GITHUB, _HOOKSHOT),
    Sender("repo-mirror", "CI/CD, pushes to mirrored repositories", "github", "/hooks/mirror",
           "platform", 900, BUSINESS, sizes.GITHUB, _GITHUB, _HOOKSHOT),
    Sender("hr-provisioning", "HR system, joiners, movers and leavers", "generic", "/hooks/hr",
           "identity", 500, BUSINESS, sizes.HR, _own("198.51.100.64/29", 64499, "DE"),
           Client("hr-connect/5.0")),
    Sender("crm-saas", "SaaS vendor that retries", "svix", "/hooks/crm", "platform", 1500,
           BUSINESS, sizes.CRM, _SVIX, _SVIX_CLIENT),
    Sender("shop-orders", "web shop, carts and orders; signs the body alone", "shopify",
           "/hooks/shop", "payments", 1600, CONSUMER, sizes.SHOPIFY,
           Source(("198.18.64.0/22",), 64500, "CA", used=24), Client("Shopify-Captain-Hook"),
           tells_duplicates=False),
    Sender("ticket-sales", "ticket shop", "standard-webhooks", "/hooks/tickets", "payments", 900,
           CONSUMER, sizes.TICKETS, _own("198.51.100.96/28", 64501, "NL", 4), _STANDARD),
    Sender("loyalty-points", "loyalty programme; its receiver keeps no idempotency store",
           "standard-webhooks", "/hooks/loyalty", "payments", 1100, CONSUMER, sizes.LOYALTY,
           _own("198.51.100.112/28", 64502, "FR", 4), _STANDARD, tells_duplicates=False),
    Sender("bank-feed", "bank, balances and bookings", "generic", "/hooks/bank", "payments", 1400,
           FLAT, sizes.BANK, _own("198.51.100.128/29", 64503, "DE"), Client("BankFeed/7")),
    Sender("claims-intake", "insurer, claims opened and updated", "generic", "/hooks/claims",
           "platform", 600, BUSINESS, sizes.CLAIMS, _own("198.51.100.136/29", 64504, "CH"),
           Client("claims-gw/2.2")),
    Sender("sms-status", "text messages, delivery reports", "twilio", "/hooks/sms", "platform",
           1200, CONSUMER, sizes.SMS, Source(("198.18.72.0/22",), 64505, "US", used=20),
           Client("TwilioProxy/1.1")),
    Sender("mail-events", "mail provider whose addresses change daily", "sendgrid", "/hooks/mail",
           "platform", 1500, CONSUMER, sizes.MAIL,
           Source(("198.18.128.0/17",), 64506, "US", used=8, style=Style.CHANGING, new_per_day=5),
           Client("SendGrid Event API")),
    Sender("file-processing", "file conversion, heavy-tailed results", "generic", "/hooks/files",
           "platform", 700, NIGHT_BATCH, sizes.FILES, _own("198.51.100.144/28", 64507, "US", 6),
           Client("Go-http-client/2.0")),
    Sender("oauth-login", "OAuth redirect of signing-in users", "", "/oauth/callback", "identity",
           1200, BUSINESS, sizes.REDIRECT, _BROWSERS, _BROWSER, kind="redirect", key_id=None,
           failure_share=0.01),
    Sender("pay-return", "customers coming back from the payment page", "", "/checkout/return",
           "payments", 700, CONSUMER, sizes.REDIRECT, _BROWSERS, _BROWSER, kind="redirect",
           key_id=None, failure_share=0.006),
    Sender("chat-events", "chat workspace, addresses of a public cloud", "slack", "/hooks/chat",
           "platform", 250, BUSINESS, sizes.CHAT,
           Source(("198.18.80.0/20",), 64508, "US", used=10, style=Style.CHANGING, new_per_day=3),
           Client("Slackbot 1.0 (+https://api.slack.com/robots)")),
    Sender("adyen-pos", "card terminals of two branches", "adyen", "/hooks/adyen", "payments", 40,
           BUSINESS, sizes.ADYEN, Source(("198.18.96.0/24",), 64509, "NL", used=6),
           Client("Adyen HttpClient 1.0")),
    Sender("legacy-fax", "fax gateway; its endpoint verifies nothing", "generic", "/hooks/fax",
           "platform", 60, BUSINESS, sizes.FAX, _own("198.51.100.160/29", 64510, "DE", 1),
           Client("FaxGate/1"), key_id=None, failure_share=0.0, verified=False),
    Sender("tax-filings", "tax office, a handful of replies a day", "generic", "/hooks/tax",
           "payments", 6, BUSINESS, sizes.TAX, _own("198.51.100.168/29", 64511, "DE", 1),
           Client("eFile/4")),
    Sender("cert-renewals", "certificate authority, a few calls a day", "standard-webhooks",
           "/hooks/certs", "platform", 3, FLAT, sizes.CERTIFICATES,
           _own("198.51.100.176/29", 64511, "US", 1), _STANDARD),
)  # fmt: skip


def by_name(fleet: tuple[Sender, ...] = FLEET) -> dict[str, int]:
    """The place of every sender in the fleet."""
    return {sender.name: place for place, sender in enumerate(fleet)}
