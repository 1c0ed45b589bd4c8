import doctest
from pathlib import Path

import pytest

import alerts.threat
from alerts.alert import Severity
from alerts.errors import ThreatMapError
from alerts.threat import MAP_FILE, Fit, expand, expand_all, load_map, techniques
from tests.unit.alerts.samples import REASONS, make_alert

EVERY = [(detector, reason) for detector, reasons in REASONS.items() for reason in reasons]


def test_examples_in_docstrings_are_true() -> None:
    """The examples in the docstrings are what the code gives."""
    assert doctest.testmod(alerts.threat).failed == 0


def test_every_reason_is_mapped_and_no_other() -> None:
    """The map covers exactly the reason codes of the detectors."""
    assert set(load_map().fits) == set(EVERY)


def test_every_entry_is_used() -> None:
    """The map defines nothing that no reason uses."""
    used = {id_ for fits in load_map().fits.values() for id_ in fits}
    assert used == set(load_map().entries)


@pytest.mark.parametrize(("detector", "reason"), EVERY)
def test_every_id_expands_with_fit_and_version(detector: str, reason: str) -> None:
    """Every id of an alert can be printed with name, version and how well it fits."""
    for id_ in techniques(detector, reason, Severity.HIGH):
        entry = expand(id_, detector, reason)
        assert entry is not None
        assert entry.name
        assert entry.version
        assert f"{entry.fit} fit" in str(entry)


def test_attack_version_is_stated() -> None:
    """ATT&CK techniques carry the version that they were taken from."""
    entry = expand("attack:T1499.002")
    assert entry is not None
    assert (entry.version, entry.uid, entry.fit) == ("19.2", "T1499.002", None)
    assert entry.parent == "Endpoint Denial of Service"


def test_signature_decides_what_a_new_source_means() -> None:
    """A forged call is impersonation; a valid one from a new network is a valid account."""
    forged = techniques("spoofed-source", "forged_from_new_network", Severity.HIGH)
    valid = techniques("spoofed-source", "valid_from_new_network", Severity.HIGH)
    assert ("attack:T1684.001" in forged, "attack:T1684.001" in valid) == (True, False)
    assert ("attack:T1078" in forged, "attack:T1078" in valid) == (False, True)
    assert ("nhi:NHI2:2025" in forged, "nhi:NHI2:2025" in valid) == (False, True)


@pytest.mark.parametrize(
    ("detector", "reason"),
    [
        ("spoofed-source", "range_drift"),
        ("signature-failure-spike", "rotation"),
        ("signature-failure-spike", "receiver_fault"),
        ("signature-failure-spike", "clock"),
        ("payload-volume", "backfill"),
        ("payload-volume", "campaign"),
        ("payload-volume", "retry_flood"),
        ("stale-key", "rotation_stalled"),
        ("stale-key", "rotation_started"),
    ],
)
def test_benign_reasons_claim_no_attack(detector: str, reason: str) -> None:
    """What is usually benign is tagged with no ATT&CK technique at any severity."""
    ids = techniques(detector, reason, Severity.CRITICAL)
    assert [id_ for id_ in ids if id_.startswith("attack:")] == []


@pytest.mark.parametrize(("detector", "reason"), EVERY)
def test_info_claims_no_attack(detector: str, reason: str) -> None:
    """What is only worth knowing is tagged with no ATT&CK technique."""
    ids = techniques(detector, reason, Severity.INFO)
    assert [id_ for id_ in ids if id_.startswith("attack:")] == []


def test_best_fit_comes_first() -> None:
    """Ids are ordered from strong to weak, so a format that shows one shows the best."""
    for fits in load_map().fits.values():
        grades = [list(Fit).index(fit) for fit in fits.values()]
        assert grades == sorted(grades)


def test_what_is_not_known_is_no_error() -> None:
    """A new detector has no ids, and ids of a newer version are handed back as they are."""
    assert techniques("my-detector", "odd", Severity.HIGH) == []
    known, unknown = expand_all(make_alert(threat=["attack:T1110", "attack:T9999", "x"]))
    assert [entry.id for entry in known] == ["attack:T1110"]
    assert unknown == ["attack:T9999", "x"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('partial = ["attack:T1550", ', 'partial = ["attack:T0", ', "T0 is not among the entries"),
        ('strong = ["cwe:CWE-294"]', 'strong = ["zta:7"]', "zta:7 is given twice"),
        ('weak = ["cwe:CWE-347"]', 'good = ["cwe:CWE-347"]', "a fit must be one of strong"),
        ('"nhi:NHI1:2025" =', '"nih:NHI1:2025" =', "nih:NHI1:2025: must start with one of"),
        ('tactic = "TA0043"', 'tactic = "TA0"', "tactic TA0 is not defined"),
    ],
)
def test_a_wrong_map_is_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """A map that contradicts itself is refused with the place of the fault."""
    text = MAP_FILE.read_text()
    assert old in text
    file = tmp_path / "map.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(ThreatMapError, match=fault):
        load_map(file)
