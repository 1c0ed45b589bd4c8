"""OCSF 1.8.0 Detection Finding (class 2004), as of github ocsf/ocsf-schema tag 1.8.0.

One incident is one `finding_info.uid`; open, updated and closed are the activities Create, Update
and Close of it. What has no place in the class stands in `unmapped`.
"""

from functools import cache
from importlib import metadata
from typing import Any, Final
from uuid import UUID, uuid5

from alerts.alert import Alert, Severity, Status
from alerts.jsonline import json_line
from alerts.threat import Technique, expand_all

VERSION: Final = "1.8.0"
CLASS_UID: Final = 2004

_ACTIVITY = {Status.OPEN: (1, "Create"), Status.UPDATED: (2, "Update"), Status.CLOSED: (3, "Close")}
_STATUS = {
    Status.OPEN: (1, "New"),
    Status.UPDATED: (2, "In Progress"),
    Status.CLOSED: (4, "Resolved"),
}
_SEVERITY = {
    Severity.INFO: (1, "Informational"),
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_CONFIDENCE = ((1, "Low"), (2, "Medium"), (3, "High"))  # thirds of 0 to 1

# How a detector works, what it analyses, what it sees then; another one is behavioural.
_ANALYTIC = {
    "spoofed-source": (2, "Behavioral", "Frequency Analysis", "UNSEEN"),
    "replay-burst": (1, "Rule", "Time Pattern Analysis", "SURGE"),
    "signature-failure-spike": (3, "Statistical", "Frequency Analysis", "SURGE"),
    "payload-volume": (3, "Statistical", "Volume Analysis", "SURGE"),
}
_OTHER_ANALYTIC = (2, "Behavioral", None, None)
_MOST_INT32 = 2**31 - 1  # integer_t; the exact number is in unmapped where it is larger


def encode(alert: Alert) -> bytes:
    """The finding as one line of JSON."""
    return json_line(finding(alert))


def finding(alert: Alert) -> dict[str, Any]:
    """The Detection Finding of one state of an incident; every time in it is event time."""
    activity_id, activity = _ACTIVITY[alert.status]
    status_id, status = _STATUS[alert.status]
    severity_id, severity = _SEVERITY[alert.severity]
    confidence_id, confidence = _CONFIDENCE[min(int(alert.confidence * 3), 2)]
    techniques, unknown = expand_all(alert)
    return _given(
        {
            "activity_id": activity_id,
            "activity_name": activity,
            "category_uid": 2,
            "category_name": "Findings",
            "class_uid": CLASS_UID,
            "class_name": "Detection Finding",
            "type_uid": CLASS_UID * 100 + activity_id,
            "type_name": f"Detection Finding: {activity}",
            "time": _ms(alert.updated_at),
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "status_detail": alert.close_reason,
            "is_alert": not alert.shadow,
            "confidence_id": confidence_id,
            "confidence": confidence,
            "confidence_score": round(alert.confidence * 100),
            "risk_score": round(alert.score),
            "action_id": 3,
            "action": "Observed",
            "disposition_id": 15,
            "disposition": "Detected",
            "message": alert.summary,
            "count": min(alert.count, _MOST_INT32),
            "start_time": _ms(alert.first_seen),
            "end_time": _ms(alert.last_seen),
            "metadata": _metadata(alert),
            "finding_info": _finding_info(alert, techniques),
            "anomaly_analyses": _anomaly_analyses(alert),
            "evidences": _evidences(alert),
            "observables": _observables(alert),
            "resources": [_endpoint(alert.endpoint)] if alert.endpoint else None,
            "remediation": {"desc": "Follow the runbook.", "references": [alert.runbook]},
            "unmapped": _unmapped(alert, techniques, unknown),
        }
    )


def _metadata(alert: Alert) -> dict[str, Any]:
    """`uid` is a function of the state, so a record that is delivered twice is seen to be one."""
    return {
        "version": VERSION,
        "product": {"name": "callwatch", "vendor_name": "callwatch", "version": _product_version()},
        "profiles": ["security_control"],
        "uid": str(uuid5(UUID(alert.id), alert.to_json().decode())),
        "correlation_uid": alert.id,
        "event_code": f"{alert.detector}:{alert.reason}",
        "log_name": "callwatch.alerts",
    }


@cache
def _product_version() -> str:
    return metadata.version("callwatch")


def _finding_info(alert: Alert, techniques: list[Technique]) -> dict[str, Any]:
    type_id, type_name, _, _ = _ANALYTIC.get(alert.detector, _OTHER_ANALYTIC)
    detector, reason = alert.detector.replace("-", " "), alert.reason.replace("_", " ")
    return _given(
        {
            "uid": alert.id,
            "title": f"{detector.capitalize()}: {reason}",
            "desc": alert.summary,
            "types": [f"{alert.detector}:{alert.reason}"],
            "analytic": {
                "type_id": type_id,
                "type": type_name,
                "uid": alert.detector,
                "name": detector.capitalize(),
                "version": alert.config,
            },
            "attacks": [_attack(one) for one in techniques if one.id.startswith("attack:")],
            "created_time": _ms(alert.opened_at),
            "modified_time": _ms(alert.updated_at),
            "first_seen_time": _ms(alert.first_seen),
            "last_seen_time": _ms(alert.last_seen),
            "related_events": [{"uid": event, "type": "callback"} for event in alert.events],
            "related_events_count": min(alert.count, _MOST_INT32),
        }
    )


def _attack(technique: Technique) -> dict[str, Any]:
    parent, dot, _ = technique.uid.partition(".")
    named = {"uid": technique.uid, "name": technique.name}
    return _given(
        {
            "version": technique.version,
            "tactic": technique.tactic
            and {"uid": technique.tactic.id, "name": technique.tactic.name},
            "technique": _given({"uid": parent, "name": technique.parent}) if dot else named,
            "sub_technique": named if dot else None,
        }
    )


def _anomaly_analyses(alert: Alert) -> list[dict[str, Any]]:
    """Expected as baselines, observed as anomalies; none where nothing was measured."""
    if not alert.observed:
        return []
    _, _, kind, pattern = _ANALYTIC.get(alert.detector, _OTHER_ANALYTIC)
    if alert.reason.endswith("_low"):
        pattern = "DROP"
    targets = (("sender", alert.sender), ("source", alert.source), ("endpoint", alert.endpoint))
    named = [{"name": name, "type": type_} for type_, name in targets if name is not None]
    return [
        _given(
            {
                "analysis_targets": named or [{"name": alert.detector, "type": "detector"}],
                "anomalies": [
                    _given(
                        {
                            "observation_parameter": name,
                            "observation_type": kind,
                            "observed_pattern": pattern,
                            "observations": [{"value": _number(quantity.value)}],
                        }
                    )
                    for name, quantity in alert.observed.items()
                ],
                "baselines": [
                    {
                        "observation_parameter": name,
                        "observations": [{"value": _number(quantity.value)}],
                    }
                    for name, quantity in alert.expected.items()
                ],
            }
        )
    ]


def _evidences(alert: Alert) -> list[dict[str, Any]]:
    """Every source, and what was claimed from there; never empty, as the class demands."""
    claimed = _given(
        {
            "user": _user(alert.sender) if alert.sender else None,
            "resources": [_endpoint(alert.endpoint)] if alert.endpoint else None,
        }
    )
    found = [{"src_endpoint": _src_endpoint(source), **claimed} for source in _sources(alert)]
    return found or [claimed or {"data": {"count": alert.count}}]


def _observables(alert: Alert) -> list[dict[str, Any]]:
    found = []
    for source in _sources(alert):
        attribute, value = next(iter(_src_endpoint(source).items()))
        type_id, type_name = (2, "IP Address") if attribute == "ip" else (12, "Subnet")
        name = f"evidences[].src_endpoint.{attribute}"
        found.append({"name": name, "type_id": type_id, "type": type_name, "value": value})
    if alert.sender:
        user = {"name": "evidences[].user.name", "type_id": 4, "type": "User Name"}
        found.append({**user, "value": alert.sender})
    return found


def _unmapped(alert: Alert, techniques: list[Technique], unknown: list[str]) -> dict[str, Any]:
    units = {name: one.unit for name, one in (alert.expected | alert.observed).items() if one.unit}
    return _given(
        {
            "provider": alert.provider,
            "senders": list(alert.senders),
            "sender_count": alert.sender_count,
            "source_count": alert.source_count,
            "count": alert.count if alert.count > _MOST_INT32 else None,
            "suppressed": alert.suppressed,
            "shadow": alert.shadow or None,
            "verdict": alert.verdict,
            "notes": list(alert.notes),
            "close_reason": alert.close_reason,
            "units": units,
            "expected": {name: one.value for name, one in alert.expected.items()}
            if not alert.observed
            else None,
            "threat": [
                {
                    "id": one.id,
                    "name": one.name,
                    "framework": one.framework,
                    "version": one.version,
                    "fit": one.fit and str(one.fit),
                }
                for one in techniques
            ],
            "threat_unknown": unknown,
        }
    )


def _sources(alert: Alert) -> list[str]:
    first = [alert.source] if alert.source else []
    return list(dict.fromkeys([*first, *alert.sources]))


def _src_endpoint(source: str) -> dict[str, str]:
    """A single address is an `ip`; a prefix has no attribute of its own and is a `name`."""
    return {"name": source} if "/" in source else {"ip": source}


def _user(sender: str) -> dict[str, Any]:
    return {"name": sender, "type_id": 99, "type": "Callback sender"}


def _endpoint(endpoint: str) -> dict[str, str]:
    return {"name": endpoint, "type": "Callback endpoint"}


def _number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _ms(us: int) -> int:
    return us // 1000


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something: neither None nor an empty list or object."""
    return {name: value for name, value in fields.items() if value not in (None, [], {})}
