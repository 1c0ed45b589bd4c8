"""The decoded event: one fixed-size record that detector steps read.

Only signed integers and floats, so that compiled and plain code treat them alike. Strings are
64-bit keys (``detectors.keys``); 0 means null. Times are int64 microseconds since 1970, UTC.
"""

from __future__ import annotations

import numpy as np

from ingest.inventory import PlanKind
from ingest.schema import Kind, Reason, SourceIpFrom, Verdict

EVENT = np.dtype(
    [
        # what nearly every detector reads
        ("t", "i8"),  # received_at
        ("body_bytes", "i8"),
        ("created_at", "i8"),
        ("weight", "f8"),  # 1 / sample_rate
        ("who", "i4"),  # class of parameters: the profile, or the sender's own
        ("status", "i4"),  # 0 = null
        ("asn", "i4"),
        ("attempt", "i4"),  # 0 = null
        ("kind", "i2"),  # 0 = webhook: tables with this key hold no rows of webhooks
        ("verdict", "i2"),
        ("reason", "i2"),  # 0 = none
        ("signature_ok", "i2"),  # -1 = null
        ("duplicate", "i2"),  # -1 = null
        ("in_range", "i2"),  # 1 inside the published ranges, 0 outside, -1 none known
        ("policy", "i2"),
        ("plan", "i2"),  # bits of what was announced for the sender at this time
        # what many read
        ("now", "i8"),  # stream time of the partition when this event was read, >= t
        ("gap", "i8"),  # usual time between the sender's events; 0 before the second one
        ("age", "i8"),  # time since the sender's first event
        ("repeats", "i8"),  # earlier presentations of this delivery, as far as remembered
        ("source", "i8"),  # /24 of IPv4, /48 of IPv6
        ("client", "i8"),  # user agent without versions, TLS and certificate fingerprints
        ("receiver", "i8"),  # service/version, without the instance
        ("service", "i8"),  # service alone
        # what few read, and what only makes keys
        ("sender", "i8"),  # 0 for "(unknown)", which has no baseline of its own
        ("event_type", "i8"),  # never 0: events without a type share one
        ("unit", "i8"),  # what was signed: signature_fp, else delivery_fp; 0 where nothing proved
        ("delivery", "i8"),  # delivery_fp, else signature_fp; 0 where nothing proved it
        ("claimed", "i8"),  # the same, whether proved or anybody's word
        ("endpoint", "i8"),
        ("key_id", "i8"),
        ("signed_at", "i8"),
        ("path", "i8"),  # what was asked for: the unmatched path's fingerprint, else the endpoint
        ("address", "i8"),
        ("events", "i8"),  # events of this sender before this one
        ("running", "i8"),  # stream time since the partition's first record; a leap counts a day
        ("tolerance", "i8"),  # of signed timestamps; 0 where the provider signs none
        ("horizon", "i8"),  # how long the provider retries; 0 where it does not
        ("overlap", "i8"),  # how long an old key may be used after a rotation
        ("duration_ms", "f8"),  # -1 = null
        ("max_attempts", "i4"),  # 0 = not published
        ("country", "i2"),  # 0 = null
        ("believed", "i2"),  # source_ip_from
        ("freshness", "i2"),
        ("signed", "i2"),  # 1 = the unit is a signature, 0 = a delivery id
        ("registered", "i2"),  # bits of what the inventory knows: see ``detectors.registered``
        ("spare", "i2"),  # whole columns are read far faster where they lie at multiples of 8
    ]
)
"""The order is that of use: a step that reads few fields reads few lines of memory."""

KINDS = {kind: code for code, kind in enumerate(Kind)}
VERDICTS = {verdict: code for code, verdict in enumerate(Verdict)}
REASONS = {reason: code for code, reason in enumerate(Reason, start=1)}
BELIEVED = {where: code for code, where in enumerate(SourceIpFrom)}
FRESHNESS = {"unknown": 0, "per_attempt": 1, "body_only": 2, "nonce": 3}
POLICIES = {
    "unknown": 0,
    "published": 1,
    "discouraged": 2,
    "changing": 3,
    "paid_only": 4,
    "none": 5,
}

PLANS: dict[PlanKind, int] = {
    "rotation": 1,
    "backfill": 2,
    "campaign": 4,
    "migration": 8,
    "maintenance": 16,
}

PROVED_BY_ORDER = {str(Reason.DUPLICATE_DELIVERY), str(Reason.SCHEMA_INVALID)}
"""Checks that come after that of the signature: who fails one of them has passed it."""

WEBHOOK = KINDS[Kind.WEBHOOK]
REDIRECT = KINDS[Kind.REDIRECT]
VERIFIED = VERDICTS[Verdict.VERIFIED]
REJECTED = VERDICTS[Verdict.REJECTED]
UNVERIFIED = VERDICTS[Verdict.UNVERIFIED]
UNTRUSTED_HEADER = BELIEVED[SourceIpFrom.UNTRUSTED_HEADER]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
