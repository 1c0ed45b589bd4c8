import doctest
import json
import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

import alerts.jsonline
from alerts.alert import Alert, Quantity, Severity, Status
from alerts.errors import AlertsError
from alerts.formats import format_names, load_format, native, ocsf
from alerts.threat import techniques
from tests.unit.alerts.samples import OPENED, REASONS, closed, hostile_alerts, make_alert, seeded

DATA = Path("tests/data/ocsf")
VALIDATOR = Draft202012Validator(
    json.loads((DATA / "detection_finding-1.8.0.schema.json").read_text()),
    format_checker=Draft202012Validator.FORMAT_CHECKER,
)
EVERY = [(detector, reason) for detector, reasons in REASONS.items() for reason in reasons]


def faults(finding: object) -> list[str]:
    """What the schema has against a finding."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(finding)]


def test_examples_in_docstrings_are_true() -> None:
    """The examples in the docstrings are what the code gives."""
    assert doctest.testmod(alerts.jsonline).failed == 0


def test_formats_are_found_by_their_files() -> None:
    """The folder is the list of formats; another name is an error that says which there are."""
    assert format_names() == ["native", "ocsf"]
    assert load_format("ocsf") is ocsf.encode
    with pytest.raises(AlertsError, match="one of native, ocsf"):
        load_format("../errors")


def test_native_is_the_alert_itself(alert: Alert) -> None:
    """The native format reads back as the same alert."""
    assert Alert.from_json(native.encode(alert)) == alert


@pytest.mark.parametrize("name", format_names())
@seeded
@given(alert=hostile_alerts())
def test_every_format_is_one_printable_line(name: str, alert: Alert) -> None:
    """No format lets a control, bidi or line-ending character of a name through."""
    text = load_format(name)(alert).decode()
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(text.splitlines()) == 1
    assert isinstance(json.loads(text, object_pairs_hook=unique), dict)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys occur once."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_the_validator_tells_good_from_bad() -> None:
    """The schema accepts the published example and refuses it with a field spoilt."""
    example = json.loads((DATA / "example-valid.json").read_text())
    assert faults(example) == []
    assert faults(example | {"severity_id": 7})
    assert faults(example | {"evidences": [{"src_endpoint": {"ip": "nonsense"}}]})
    assert faults(example | {"made_up": 1})


@pytest.mark.parametrize(("detector", "reason"), EVERY)
def test_ocsf_is_valid_for_every_finding(detector: str, reason: str) -> None:
    """Every detector, reason, severity and status gives a valid Detection Finding."""
    for severity, status in product(Severity, Status):
        alert = make_alert(
            detector=detector,
            reason=reason,
            severity=severity,
            status=status,
            close_reason="expired" if status is Status.CLOSED else None,
            threat=techniques(detector, reason, severity),
        )
        finding = json.loads(ocsf.encode(alert))
        assert faults(finding) == []
        assert len(finding["unmapped"]["threat"]) == len(alert.threat)


@seeded
@given(hostile_alerts())
def test_ocsf_is_valid_for_hostile_alerts(alert: Alert) -> None:
    """Names chosen by an attacker change no field's type and invent no field."""
    finding = json.loads(ocsf.encode(alert))
    assert faults(finding) == []
    assert finding["finding_info"]["uid"] == alert.id
    assert finding.get("message", "") == alert.summary


def test_ocsf_says_what_the_alert_says(alert: Alert) -> None:
    """Severity, confidence, score, times and texts arrive in their places."""
    finding = ocsf.finding(alert)
    expected = {
        "activity_id": 1,
        "type_uid": 200401,
        "time": OPENED // 1000,
        "severity_id": 4,
        "status_id": 1,
        "confidence_id": 3,
        "confidence_score": 80,
        "risk_score": 92,
        "message": alert.summary,
        "count": 42,
        "start_time": OPENED // 1000 - 300_000,
        "end_time": OPENED // 1000,
    }
    assert {name: finding[name] for name in expected} == expected
    assert finding["finding_info"]["attacks"] == [
        {
            "version": "19.2",
            "tactic": {"uid": "TA0006", "name": "Credential Access"},
            "technique": {"uid": "T1110", "name": "Brute Force"},
        }
    ]
    assert finding["anomaly_analyses"] == [
        {
            "analysis_targets": [
                {"name": "acme-stripe", "type": "sender"},
                {"name": "203.0.113.0/24", "type": "source"},
                {"name": "/hooks/stripe", "type": "endpoint"},
            ],
            "anomalies": [
                {
                    "observation_parameter": name,
                    "observation_type": "Frequency Analysis",
                    "observed_pattern": "SURGE",
                    "observations": [{"value": value}],
                }
                for name, value in (("failure_share", "0.42"), ("failures", "42"))
            ],
            "baselines": [
                {"observation_parameter": "failure_share", "observations": [{"value": "0.01"}]}
            ],
        }
    ]
    assert [one["value"] for one in finding["observables"]] == [
        "203.0.113.0/24",
        "203.0.113.7",
        "2001:db8:1::/48",
        "acme-stripe",
    ]
    assert finding["unmapped"]["units"] == {"failure_share": "share", "failures": "events"}
    assert finding["unmapped"]["threat"][1]["fit"] == "strong"


def test_one_incident_is_one_finding(alert: Alert) -> None:
    """Create, update and close share the finding's uid; each state has a record uid of its own."""
    updated = alert.model_copy(update={"status": Status.UPDATED, "updated_at": OPENED + 60_000_000})
    states = [ocsf.finding(one) for one in (alert, updated, closed(alert, OPENED + 3_600_000_000))]
    assert [one["activity_id"] for one in states] == [1, 2, 3]
    assert [one["status_id"] for one in states] == [1, 2, 4]
    assert {one["finding_info"]["uid"] for one in states} == {alert.id}
    assert len({one["metadata"]["uid"] for one in states}) == 3
    assert states[2]["status_detail"] == "expired"
    assert ocsf.finding(alert) == states[0]


def test_sub_techniques_name_their_technique() -> None:
    """A sub-technique stands in its own place, beside the technique that it belongs to."""
    alert = make_alert(
        detector="payload-volume",
        reason="count_high",
        threat=["attack:T1499.002", "attack:T1684.001"],
    )
    first, second = ocsf.finding(alert)["finding_info"]["attacks"]
    assert first["technique"] == {"uid": "T1499", "name": "Endpoint Denial of Service"}
    assert first["sub_technique"] == {"uid": "T1499.002", "name": "Service Exhaustion Flood"}
    assert second["technique"] == {"uid": "T1684"}


def test_evidence_is_never_empty() -> None:
    """Without a source the claimed sender is the evidence, and without both at least the count."""
    bare = {"source": None, "sources": [], "source_count": 0, "endpoint": None}
    by_sender = ocsf.finding(make_alert(**bare))
    assert by_sender["evidences"] == [
        {"user": {"name": "acme-stripe", "type_id": 99, "type": "Callback sender"}}
    ]
    by_count = ocsf.finding(make_alert(**bare, sender=None))
    assert by_count["evidences"] == [{"data": {"count": 42}}]
    assert faults(by_sender) == faults(by_count) == []


def test_expectation_without_observation_is_kept() -> None:
    """A finding of absence keeps what was expected, in `unmapped`."""
    finding = ocsf.finding(make_alert(expected={"gap": Quantity(60, "s")}, observed={}))
    assert "anomaly_analyses" not in finding
    assert finding["unmapped"]["expected"] == {"gap": 60}
    assert faults(finding) == []
