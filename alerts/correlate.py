"""One attack is one alert: campaigns over many senders, and consequences behind their cause.

A pure function of the alerts in their order. *Campaigns*: when three senders or more have open
incidents of one kind, with the same source, provider or receiver behind them and within an hour,
the alert of the first becomes that of the campaign, under its id, and names them all; further
members are folded into it instead of being told. So a campaign is two alerts. *Causes*: a replay
brings volume, retries and repeated deliveries along, and calls with an old key fail; while it is
open these are held back, and told only if they last longer. What is held back is counted in the
alert that hides it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alerts.alert import Alert, Quantity, Severity, Status
from alerts.campaigns import LEAST_SENDERS, WINDOW_US, Key, Kind, evidence, group_of, kind_of
from alerts.explain import format_count, runbook, safe
from alerts.members import Members
from alerts.threat import techniques

MOST_GROUPS: Final = 10_000
MOST_MEMBERS: Final = 4096
CAUSES: Final[Mapping[str, frozenset[tuple[str, str]]]] = {
    "replay-burst": frozenset({
        ("payload-volume", "count_high"), ("payload-volume", "bytes_high"),
        ("payload-volume", "campaign"), ("payload-volume", "retry_flood"),
        ("duplicate-acceptance", "accepted_twice"),
    }),
    "stale-key": frozenset({
        ("spoofed-source", "forged_from_new_network"),
        ("signature-failure-spike", "forgery"), ("signature-failure-spike", "mixed"),
    }),
}  # fmt: skip
"""What a detector's open incident explains of the same sender: other detectors' reasons."""
NO_CAUSES: Final = frozenset({"rotation_started", "rotation_stalled"})
"""Reasons of these detectors that are news of the sender itself, and bring nothing along."""


@dataclass
class _Group:
    """Incidents that may be one, and the campaign that they have become."""

    members: Members = field(default_factory=Members)
    campaign: Alert | None = None
    folded: dict[str, None] = field(default_factory=dict)
    told_members: int = 0


@dataclass
class _Cause:
    alert: Alert
    held: OrderedDict[str, Alert] = field(default_factory=OrderedDict)
    hidden: dict[str, None] = field(default_factory=dict)


class Correlator:
    """Takes alerts one by one, in order of time, and says which go on."""

    def __init__(self) -> None:
        self.folded = 0
        """States that were not told, for a summary."""
        self._groups: OrderedDict[Key, _Group] = OrderedDict()
        self._key_of: OrderedDict[str, Key] = OrderedDict()
        """Of each open member: reasons may change, its group does not."""
        self._causes: OrderedDict[tuple[str, str], _Cause] = OrderedDict()

    def take(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Return the alerts that people should see, campaigns among them."""
        passed: list[Alert] = []
        for alert in alerts:
            if alert.shadow:  # what is on trial hides nothing, and is no member of anything
                passed.append(alert)
                continue
            told: list[Alert] = []
            for each in self._behind_causes(alert):
                told += self._in_campaigns(each)
            self.folded += all(one.id != alert.id for one in told)
            passed += told
        return passed

    # --- causes and consequences ---------------------------------------------------------------

    def _behind_causes(self, alert: Alert) -> list[Alert]:
        if alert.sender is None:
            return [alert]
        if alert.detector in CAUSES and alert.reason not in NO_CAUSES:
            return self._cause(alert)
        for detector, consequences in CAUSES.items():
            cause = self._causes.get((detector, alert.sender))
            if cause is None:
                continue
            if alert.id in cause.hidden and alert.id not in cause.held:
                return []  # it has ended behind its cause, and is told again by a restarted worker
            explained = (alert.detector, alert.reason) in consequences and _brings(cause, alert)
            starts = alert.id not in cause.hidden and alert.status is Status.OPEN
            if alert.id not in cause.held and not (starts and explained):
                continue
            graver = alert.severity > cause.alert.severity or not explained
            if graver or len(cause.hidden) >= MOST_MEMBERS:
                held = cause.held.pop(alert.id, None)
                cause.hidden.pop(alert.id, None)
                return [alert if held is None else _first(alert)]
            cause.hidden[alert.id] = None
            if alert.status is Status.CLOSED:
                cause.held.pop(alert.id, None)
            else:
                cause.held[alert.id] = alert
            return []
        return [alert]

    def _cause(self, alert: Alert) -> list[Alert]:
        assert alert.sender is not None
        key = (alert.detector, alert.sender)
        cause = self._causes.get(key)
        if alert.status is Status.CLOSED:
            if cause is None:
                return [alert]
            del self._causes[key]
            return [_hiding(alert, cause), *map(_first, cause.held.values())]
        freed: list[Alert] = []
        if cause is None or cause.alert.id != alert.id:
            freed += [] if cause is None else map(_first, cause.held.values())
            cause = self._causes[key] = _Cause(alert)
            if len(self._causes) > MOST_GROUPS:
                _, oldest = self._causes.popitem(last=False)
                freed += map(_first, oldest.held.values())
        cause.alert = alert
        return [_hiding(alert, cause), *freed]

    def flush(self) -> list[Alert]:
        """Give up what is held back: whoever ends here must not keep it to himself."""
        held = [_first(one) for cause in self._causes.values() for one in cause.held.values()]
        for cause in self._causes.values():
            cause.held.clear()
        return held

    # --- campaigns -----------------------------------------------------------------------------

    def _in_campaigns(self, alert: Alert) -> list[Alert]:
        known = self._key_of.get(alert.id)
        found = group_of(alert)
        if known is None and found is None:
            return [alert]
        key = known if known is not None else found[1]  # type: ignore[index]
        if alert.status is Status.CLOSED:
            return self._closed(key, alert)
        turned = known is not None and (found is None or found[1] != known)
        if turned and not self._leads(key, alert):
            return self._left(key, alert)
        if known is None:
            self._key_of[alert.id] = key
            if len(self._key_of) > MOST_GROUPS * 10:
                self._key_of.popitem(last=False)
        group = self._groups.setdefault(key, _Group())
        self._groups.move_to_end(key)
        if len(self._groups) > MOST_GROUPS:
            self._groups.popitem(last=False)
        is_new = alert.id not in group.members
        newest = group.members.newest()
        late = (
            group.campaign is not None
            and newest is not None
            and alert.opened_at - newest > WINDOW_US
        )
        if is_new and (late or len(group.members) >= MOST_MEMBERS):
            self._key_of.pop(alert.id, None)
            return [alert]  # an incident of its own
        group.members.put(alert)
        own = alert.id in group.folded and not self._leads(key, alert)
        if not is_new and own and alert.severity >= Severity.CRITICAL:
            del group.folded[alert.id]  # nothing that is critical stays behind a campaign
            return [_first(alert), *self._updated(key, group, alert)]
        if group.campaign is not None:
            if is_new:
                group.folded[alert.id] = None
            told = [] if alert.id in group.folded else [alert]
            return told + self._updated(key, group, alert)
        if is_new and found is not None:
            return self._perhaps_opened(found[0], group, alert)
        return [alert]

    def _perhaps_opened(self, kind: Kind, group: _Group, alert: Alert) -> list[Alert]:
        since = alert.opened_at - WINDOW_US
        if not group.members.are_of(LEAST_SENDERS, since):
            return [alert]
        recent = [one for one in group.members if one.opened_at >= since]
        leader = recent[0]
        group.folded.update({alert.id: None, leader.id: None})
        group.told_members = len(recent)
        reason = kind.reason or leader.reason
        severity = max(one.severity for one in recent)
        group.campaign = alert.model_copy(
            update={
                "id": leader.id,
                "opened_at": leader.opened_at,
                "reason": reason,
                "status": Status.UPDATED,
                "sender": None,
                "endpoint": None,
                "provider": alert.provider if kind.by == "provider" else None,
                "runbook": runbook(kind.detector, reason),
                "threat": tuple(techniques(kind.detector, reason, severity)),
                "expected": {"senders": Quantity(float(LEAST_SENDERS - 1), "senders")},
            }
            | evidence(kind, recent)
        )
        return [group.campaign]

    def _updated(self, key: Key, group: _Group, alert: Alert) -> list[Alert]:
        """Tell of a campaign again when it is graver, or has twice the members."""
        assert group.campaign is not None
        rose = alert.severity > group.campaign.severity
        if not rose and len(group.members) < 2 * group.told_members:
            return []
        group.told_members = len(group.members)
        group.campaign = group.campaign.model_copy(
            update=evidence(kind_of(key), group.members)
            | {"status": Status.UPDATED, "updated_at": alert.updated_at}
        )
        return [group.campaign]

    def _leads(self, key: Key, alert: Alert) -> bool:
        """Tell whether the campaign goes under this alert's id: then it never leaves it."""
        group = self._groups.get(key)
        campaign = None if group is None else group.campaign
        return campaign is not None and campaign.id == alert.id

    def _left(self, key: Key, alert: Alert) -> list[Alert]:
        """Tell a member that has turned out to be something else, and let it go."""
        self._key_of.pop(alert.id, None)
        group = self._groups.get(key)
        if group is None:
            return [alert]
        group.members.pop(alert.id)
        return [_first(alert) if alert.id in group.folded else alert]

    def _closed(self, key: Key, alert: Alert) -> list[Alert]:
        self._key_of.pop(alert.id, None)
        group = self._groups.get(key)
        if group is None:
            return [alert]
        member = group.members.pop(alert.id)
        told = [] if alert.id in group.folded or self._leads(key, alert) else [alert]
        group.folded.pop(alert.id, None)
        if not group.members:
            del self._groups[key]
            if group.campaign is not None:
                seen = [one.last_seen for one in (group.campaign, member) if one is not None]
                closing = {
                    "status": Status.CLOSED,
                    "close_reason": alert.close_reason,
                    "updated_at": alert.updated_at,
                    "last_seen": max(seen),
                }
                told.append(group.campaign.model_copy(update=closing))
        return told

    # --- state ---------------------------------------------------------------------------------

    def snapshot(self) -> Any:
        """Return the state as a JSON-able value."""
        return {
            "groups": [
                [
                    list(key),
                    [one.to_json().decode() for one in group.members],
                    None if group.campaign is None else group.campaign.to_json().decode(),
                    list(group.folded),
                    group.told_members,
                ]
                for key, group in self._groups.items()
            ],
            "keys": [[id_, list(key)] for id_, key in self._key_of.items()],
            "causes": [
                [
                    cause.alert.to_json().decode(),
                    [one.to_json().decode() for one in cause.held.values()],
                    list(cause.hidden),
                ]
                for cause in self._causes.values()
            ],
        }

    def restore(self, state: Any) -> None:
        """Take over what ``snapshot`` returned."""
        for key, members, campaign, folded, told in state["groups"]:
            group = self._groups[tuple(key)] = _Group(told_members=told)
            for one in map(_read, members):
                group.members.put(one)
            group.campaign = None if campaign is None else _read(campaign)
            group.folded.update(dict.fromkeys(folded))
        self._key_of.update((id_, tuple(key)) for id_, key in state["keys"])
        for alert, held, hidden in state["causes"]:
            cause = _Cause(_read(alert))
            cause.held.update((one.id, one) for one in map(_read, held))
            cause.hidden.update(dict.fromkeys(hidden))
            self._causes[cause.alert.detector, str(cause.alert.sender)] = cause


def _read(text: str) -> Alert:
    return Alert.from_json(text.encode())


def _first(alert: Alert) -> Alert:
    """Return the state of an incident that is told for the first time."""
    if alert.status is not Status.UPDATED:
        return alert
    return alert.model_copy(update={"status": Status.OPEN})


def _brings(cause: _Cause, alert: Alert) -> bool:
    """Tell whether a cause can bring this along: what was refused adds no accepted calls.

    And calls with an old key are the failures from their own networks, not those from others.
    """
    if alert.detector in ("spoofed-source", "signature-failure-spike"):
        return set() < set(alert.sources) <= set(cause.alert.sources)
    accepted = cause.alert.observed.get("accepted")
    return alert.reason == "retry_flood" or (accepted is not None and accepted.value > 0)


def _hiding(alert: Alert, cause: _Cause) -> Alert:
    """Return the cause's alert with the number of consequences that it hides."""
    if not cause.hidden:
        return alert
    number = format_count(len(cause.hidden), "consequence")
    return alert.model_copy(
        update={
            "suppressed": alert.suppressed + len(cause.hidden),
            "summary": safe(f"{alert.summary}; {number} not told apart", 500),
        }
    )
