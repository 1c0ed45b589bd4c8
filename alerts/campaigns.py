"""Incidents that are one campaign: which kinds there are, and what the members add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from alerts.alert import MAX_ITEMS, Alert, Quantity, Severity
from alerts.explain import format_count, format_duration, safe

LEAST_SENDERS: Final = 3
WINDOW_US: Final = 3_600_000_000
"""Between the openings of the members."""
FORMATS: Final = frozenset({"generic", "standard-webhooks", "cloudevents"})
"""Profiles of many vendors: that two senders share one says nothing."""


@dataclass(frozen=True)
class Kind:
    """Incidents that may be one: of these reasons, with the same value of a field.

    Attributes:
        reasons: The reasons of the members.
        by: What members share: `source`, `provider`, or nothing but the kind.
        reason: What the campaign is called; None = as its first member.
        words: What the members have in common, for the summary.
    """

    detector: str
    reasons: tuple[str, ...]
    by: str
    words: str
    reason: str | None = None


KINDS: Final = (
    Kind("spoofed-source", ("forged_from_new_network",), "source", "were named in forged calls"),
    Kind("spoofed-source", ("valid_from_new_network", "outside_published_ranges"), "source",
         "had valid calls from a new network"),
    Kind("replay-burst", ("same_signature", "off_schedule", "stale_replay", "spread_replay"),
         "source", "had signed calls presented again"),
    Kind("signature-failure-spike", ("rotation",), "provider", "fail as after a change of keys"),
    Kind("signature-failure-spike", ("receiver_fault", "clock"), "", "fail at the receivers"),
    Kind("sender-silence", ("silent",), "provider", "fell silent", "provider_silent"),
    Kind("clock-skew", ("sender_drift",), "", "drift, so it is the receivers' clock",
         "receiver_drift"),
)  # fmt: skip
CAMPAIGN_REASONS: Final = {kind.detector: (kind.reason,) for kind in KINDS if kind.reason}
"""Reasons that only a campaign has, by detector."""
Key = tuple[str, ...]


def group_of(alert: Alert) -> tuple[Kind, Key] | None:
    """Return the kind of campaign that an incident may be part of, and what its members share."""
    if alert.sender is None:
        return None
    for kind in KINDS:
        if alert.detector != kind.detector or alert.reason not in kind.reasons:
            continue
        shared = getattr(alert, kind.by) if kind.by else ""
        if shared is None or shared in FORMATS:
            return None
        return kind, (kind.detector, kind.reasons[0], shared)
    return None


def kind_of(key: Key) -> Kind:
    """Return the kind of campaign that a key of `group_of` belongs to."""
    return next(k for k in KINDS if k.detector == key[0] and k.reasons[0] == key[1])


def evidence(kind: Kind, given: Iterable[Alert]) -> dict[str, Any]:
    """Return what the members of a campaign add up to, as fields of its alert."""
    members = list(given)
    senders = list(dict.fromkeys(one.sender for one in members if one.sender))
    sources = list(dict.fromkeys(source for one in members for source in one.sources))
    events = [event for one in members for event in one.events[:2]]
    first = min(one.first_seen for one in members)
    last = max(one.last_seen for one in members)
    named = ", ".join(safe(name, 40) for name in senders[:3])
    behind = next((one.source for one in members if kind.by == "source"), None)
    whom = {
        "source": f" ({behind})" if behind else "",
        "provider": f" of {members[0].provider}",
    }.get(kind.by, "")
    summary = (
        f"{format_count(len(senders), 'sender')}{whom} {kind.words} within "
        f"{format_duration((last - first) / 1e6)}: {named}"
        f"{' and others' if len(senders) > 3 else ''}"
    )
    return {
        "severity": Severity(max(one.severity for one in members)),
        "score": max(one.score for one in members),
        "confidence": max(one.confidence for one in members),
        "senders": tuple(senders[:MAX_ITEMS]),
        "sender_count": len(senders),
        "sources": tuple(sources[:MAX_ITEMS]),
        "source_count": max(len(sources), *(one.source_count for one in members)),
        "source": behind,
        "events": tuple(dict.fromkeys(events))[:MAX_ITEMS],
        "first_seen": first,
        "last_seen": last,
        "count": sum(one.count for one in members),
        "suppressed": max(len(members) - LEAST_SENDERS + 1, 0),
        "summary": safe(summary, 500),
        "observed": {
            "senders": Quantity(float(len(senders)), "senders"),
            "incidents": Quantity(float(len(members)), "incidents"),
        },
    }
