"""What a finding means in ATT&CK, OWASP, CWE and NIST terms, with version and fit.

The mapping is data: `threat_map.toml`. Alerts carry ids; formats expand them here.
"""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alerts.alert import MAX_ITEMS, Alert, Severity
from alerts.errors import ThreatMapError

MAP_FILE = Path(__file__).with_name("threat_map.toml")


class Fit(StrEnum):
    """How well an entry describes what was seen."""

    STRONG = "strong"
    PARTIAL = "partial"
    WEAK = "weak"


@dataclass(frozen=True)
class Tactic:
    """A column of ATT&CK."""

    id: str
    name: str


@dataclass(frozen=True)
class Technique:
    """One entry of one catalogue; `fit` is None where no detector's use of it was asked for."""

    id: str
    framework: str
    version: str
    name: str
    fit: Fit | None = None
    tactic: Tactic | None = None
    parent: str | None = None

    @property
    def uid(self) -> str:
        """The catalogue's own id, without ours in front of it."""
        return self.id.partition(":")[2]

    def __str__(self) -> str:
        """As a person reads it: `T1550 ..., MITRE ATT&CK 19.2, partial fit`."""
        fit = f", {self.fit} fit" if self.fit else ""
        return f"{self.uid} {self.name}, {self.framework} {self.version}{fit}"


@dataclass(frozen=True)
class ThreatMap:
    """The checked content of a threat map file."""

    entries: MappingProxyType[str, Technique]
    fits: MappingProxyType[tuple[str, str], MappingProxyType[str, Fit]]


_NOTHING: MappingProxyType[str, Fit] = MappingProxyType({})


def techniques(detector: str, reason: str, severity: Severity) -> list[str]:
    """Ids of what a finding maps to, best fit first; at most 20.

    A finding that is only worth knowing (info) claims no attack technique. A detector or reason
    that is not in the map has no ids.

    >>> techniques("replay-burst", "same_signature", Severity.HIGH)[:3]
    ['cwe:CWE-294', 'csf:DE.CM-01', 'csf:DE.AE-03']
    """
    ids = load_map().fits.get((detector, reason), _NOTHING)
    return [id_ for id_ in ids if severity > Severity.INFO or not id_.startswith("attack:")]


def expand(technique_id: str, detector: str = "", reason: str = "") -> Technique | None:
    """Name, version and, for a detector's reason, the fit of an id; None when it is not known.

    >>> print(expand("attack:T1550", "replay-burst", "same_signature"))
    T1550 Use Alternate Authentication Material, MITRE ATT&CK 19.2, partial fit
    """
    known = load_map()
    entry = known.entries.get(technique_id)
    if entry is None:
        return None
    fit = known.fits.get((detector, reason), _NOTHING).get(technique_id)
    return Technique(**(vars(entry) | {"fit": fit}))


def expand_all(alert: Alert) -> tuple[list[Technique], list[str]]:
    """The known entries of an alert, and the ids that this version does not know."""
    pairs = [(id_, expand(id_, alert.detector, alert.reason)) for id_ in alert.threat]
    known = [entry for _, entry in pairs if entry is not None]
    return known, [id_ for id_, entry in pairs if entry is None]


@cache
def load_map(path: Path = MAP_FILE) -> ThreatMap:
    """The map in a file, read once; raises `ThreatMapError` where it contradicts itself."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    entries = {id_: _entry(id_, given, data) for id_, given in data["entries"].items()}
    fits = {}
    for detector, rules in data["detectors"].items():
        for reason, graded in rules["reasons"].items():
            place = f"{path.name}: {detector}.{reason}"
            fits[detector, reason] = _graded(place, graded, rules["always"], entries)
    return ThreatMap(MappingProxyType(entries), MappingProxyType(fits))


def _entry(id_: str, given: dict[str, str], data: dict[str, Any]) -> Technique:
    framework = data["frameworks"].get(id_.partition(":")[0])
    if framework is None:
        msg = f"entry {id_}: must start with one of {', '.join(data['frameworks'])}"
        raise ThreatMapError(msg)
    tactic = given.get("tactic")
    if tactic is not None and tactic not in data["tactics"]:
        msg = f"entry {id_}: tactic {tactic} is not defined"
        raise ThreatMapError(msg)
    uid = id_.partition(":")[2]
    return Technique(
        id=id_,
        framework=framework["name"],
        version=framework["version"],
        name=given["name"],
        tactic=Tactic(tactic, data["tactics"][tactic]) if tactic else None,
        parent=data["parents"].get(uid.partition(".")[0]) if "." in uid else None,
    )


def _graded(
    place: str,
    graded: dict[str, list[str]],
    always: dict[str, list[str]],
    entries: dict[str, Technique],
) -> MappingProxyType[str, Fit]:
    """Fit by id, best first, within a fit the reason's own before the detector's."""
    unknown = (graded.keys() | always.keys()) - set(Fit)
    if unknown:
        msg = f"{place}: a fit must be one of {', '.join(Fit)} (got {', '.join(sorted(unknown))})"
        raise ThreatMapError(msg)
    fits: dict[str, Fit] = {}
    for fit in Fit:
        for id_ in (*graded.get(fit, ()), *always.get(fit, ())):
            if id_ not in entries or id_ in fits:
                problem = "given twice" if id_ in fits else "not among the entries"
                msg = f"{place}: {id_} is {problem}"
                raise ThreatMapError(msg)
            fits[id_] = fit
    if len(fits) > MAX_ITEMS:
        msg = f"{place}: at most {MAX_ITEMS} ids (got {len(fits)})"
        raise ThreatMapError(msg)
    return MappingProxyType(fits)
