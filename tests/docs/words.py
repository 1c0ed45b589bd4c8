"""What the code does not say by itself: meanings of keys, variables and topics, for the tables."""

from ingest.kafka_config import PREFIX, VARIABLES
from ingest.receivers.options import VARIABLES as RECEIVER_VARIABLES

EXAMPLES = {
    "spoofed-source": "stripe-eu: three calls with a wrong signature in 2.5 s from a network "
    "where it never verified",
    "replay-burst": "loyalty-points: one captured call accepted again, and again",
    "behaviour-outlier": "none without a model; with one, loyalty-points while replayed (info)",
    "duplicate-acceptance": "none: redelivered and retried calls are known to their receivers",
    "redirect-abuse": "none: oauth-login's expired sessions and pay-return's bookmarks stay quiet",
    "signature-failure-spike": "bank-feed: its key was changed on one side only; every call fails",
    "stale-key": "idp-lifecycle: a new key takes over from the old one within twelve hours (info)",
    "unregistered": "oauth-login: a sender that is not in the inventory (info, at its first call)",
    "clock-skew": "none: nobody's clock drifts in the demo",
    "sender-silence": "none: nobody stops in the demo, and its sparse senders only rest",
    "payload-volume": "sms-status: 201 calls in an hour where 6 are usual",
}

SENDER = {
    "provider": ("profile of the provider", "yes: its facts, whatever the event says"),
    "owner": ("who answers for it", "no"),
    "endpoints": ("where it may call", "yes: calls elsewhere are an info"),
    "ranges": ("networks that it calls from", "yes: instead of the profile's"),
    "mtls": ("it shows a client certificate", "no"),
    "keys": ("labels of its keys", "no"),
}
ENDPOINT = {
    "owner": ("who answers for it", "no"),
    "callers": ("which senders call it", "no; `callwatch doctor` holds them against the senders"),
    "trigger": ("what makes them call", "no"),
    "audience": ("a user's browser, or servers", "no"),
    "retries_expected": ("callers repeat what fails", "no"),
}
PLAN = {
    "kind": ("what is announced", "yes"),
    "sender": ("of which registered sender", "yes"),
    "from": ("when it begins", "yes"),
    "to": ("when it is over: the first moment after it", "yes"),
    "reason": ("for people", "no"),
}

MAPPING = {
    "receiver": "who received: `service/version@instance`; part of the ids; `--receiver` overrides",
    "hosts": "only these hosts; `*.example.com` means all below it",
    "status": 'what statuses mean, such as `{ 400 = "signature_invalid", 5xx = "ignore" }`',
    "unmatched": "paths without a route: `ignore` (default), or `rejected`: 404, 405 and 410 "
    "become events of `(unmatched)`",
    "size": "`none` (default), or `request`: a request's size with headers stands for its body's",
    "source_ip_from": "how much the address can be believed: `socket` (default), "
    "`trusted_proxy` (realip and the like), `untrusted_header`",
    "trusted_proxies": "networks of proxies before which `forwarded_for` says who called",
    "timezone": "of times without an offset, such as `+01:00` or `Europe/Berlin`",
    "extra": "nginx, apache: names of the fields after the user agent, in order",
    "fields": "nginx-json: under which keys the facts stand",
    "path": "a template: `{name}` is one whole segment",
    "prefix": "all paths that begin so",
    "regex": "a regular expression for whole paths; `(?P<sender>...)` captures",
    "methods": "only these methods; others are ignored",
    "endpoint": "the endpoint's name; default: `path`",
    "sender": "the sender's name, with placeholders of the path; default: its `{sender}`",
    "kind": "`webhook` (default) or `redirect`",
    "provider": "the provider's [profile](providers.md)",
    "accepted": "what an accepted call is: `unverified` (default), or `verified` where the "
    "endpoint verifies",
    "event_type": "the event's type, with placeholders of the path",
}

TOPICS = {
    "callwatch.events": (
        "sender; for `(unknown)` the source network",
        "an event ([event.md](event.md)), a report, or a [control record](tuning.md#verdicts)",
    ),
    "callwatch.events.rejected": (
        "-",
        "up to 16 KiB of a bad record; headers `topic partition offset reason message`",
    ),
    "callwatch.sources": (
        "source network; `mark`",
        "an event that concerns other senders too; none: a mark; headers `partition place now`",
    ),
    "callwatch.state": (
        "`[partition, fence, epoch, table, chunk]`",
        "claims; checkpoints: a compressed snapshot, or what changed since, then a manifest",
    ),
    "callwatch.alerts": ("alert id", "a state of an alert ([alerts.md](alerts.md))"),
    "callwatch.alerts.dead": ("alert id", "not used yet: alerts that no sink took"),
}

_KAFKA = {
    "BOOTSTRAP_SERVERS": "`host:port,host:port`; default `localhost:9092`",
    "SECURITY_PROTOCOL": "`PLAINTEXT` (default), `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`",
    "SASL_MECHANISM": "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER` (not for `worker`)",
    "SASL_USERNAME": "needed with SASL but for `OAUTHBEARER`",
    "SASL_PASSWORD": "this or the file is needed, likewise",
    "SASL_PASSWORD_FILE": "a file that holds the password",
    "SASL_TOKEN_FILE": "`OAUTHBEARER`: a file with a token that something else keeps fresh; or",
    "SASL_TOKEN_URL": "the issuer that is asked for one (client credentials), `https://`",
    "SASL_CLIENT_ID": "needed with an issuer",
    "SASL_CLIENT_SECRET": "this or the file is needed with an issuer",
    "SASL_CLIENT_SECRET_FILE": "a file that holds the client's secret",
    "SASL_SCOPE": "the scope that the issuer is asked for",
    "SSL_CAFILE": "PEM; default: the system's certificate authorities",
    "SSL_CERTFILE": "PEM; the client's own certificate (mTLS)",
    "SSL_KEYFILE": "PEM; its key",
    "SSL_KEY_PASSWORD": "of the key, where it is encrypted; or the file",
    "SSL_KEY_PASSWORD_FILE": "a file that holds the key's password",
}
_OTHERS = [
    *((f"CALLWATCH_{name}", "receivers", means) for name, means in RECEIVER_VARIABLES.items()),
    ("CALLWATCH_SECRET", "`ingest.examples`", "`label:whsec_...`, separated by blanks; needed"),
    (
        "CALLWATCH_CACHE_DIR",
        "all that detect",
        "folder of compiled detectors; default `~/.cache/callwatch`. Who can write there runs code",
    ),
    (
        "CALLWATCH_CONTROL_KEY",
        "`worker`, `detect`, `backtest`, `verdict`",
        "at least 16 bytes in hexadecimal, under which control records are signed; or ..._FILE",
    ),
    (
        "CALLWATCH_UID",
        "`docker-compose.yml`",
        "the user that the router runs as, who owns `./out`; default 1000",
    ),
    ("CALLWATCH_OUT", "notebooks", "folder of a finished demo; default `out`"),
    ("CALLWATCH_TEST_KAFKA", "tests", "`host:port` of a broker that the tests may use"),
    ("CALLWATCH_REQUIRE_BROKER", "tests", "`1`: fail without a broker instead of skipping"),
]


def environment() -> list[list[str]]:
    """Every environment variable: name, who reads it, meaning."""
    clients = "`topics`, `worker`, `route`, `verdict`, `doctor`, receivers"
    rows = [[f"`{PREFIX}{name}`", clients, _KAFKA[name]] for name in VARIABLES]
    return rows + [[f"`{name}`", who, meaning] for name, who, meaning in _OTHERS]
