"""What receivers tell of themselves: who reports, who has stopped, and what was lost on the way.

Each receiver process sends its totals once a minute. Whether a receiver is silent is measured in
active time: the stream time in which records came, at most a minute for each. So a pause of the
whole stream makes nobody silent. A process that starts in another's place is a restart, and so is
an instance that appears when another of its service goes: a deployment renames them all.

>>> name_of("hooks/1.4@eu-1")
('hooks', 'hooks@eu-1')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from detectors.event import MINUTE
from ingest.rfc3339 import to_us
from ingest.schema import Report

MOST_RECEIVERS: Final = 4096
"""Instances, and processes, that are remembered; the one that was heard longest ago goes."""
INTENDED: Final = frozenset({"hook_refused", "disabled"})
"""Drops that somebody wanted: no loss."""
YOUNG: Final = 5 * MINUTE
"""A process that started so lately counts from its start, an older one from its first report."""
PLACE_FREE: Final = 10 * MINUTE
"""So long before or after an instance goes, a new one of its service takes its place."""
MOST_COUNTED: Final = 10**12


@dataclass
class Instance:
    """One instance of a service, as its reports show it; microseconds."""

    service: str
    first: int
    """Active time of the first report."""
    last: int
    """Active time of the newest report."""
    heard: int
    """Stream time of the newest report."""
    reports: int = 1


def name_of(receiver: str) -> tuple[str, str]:
    """Return a receiver's service and instance; the version changes and does not count."""
    build, _, instance = receiver.partition("@")
    service = build.partition("/")[0]
    return service, f"{service}@{instance}"


def _written(receivers: Mapping[str, Instance]) -> list[list[Any]]:
    """Return them as lists; the name tells the service, as ``name_of`` made it."""
    return [[n, one.first, one.last, one.heard, one.reports] for n, one in receivers.items()]


class Receivers:
    """The receivers of a stream, bounded."""

    def __init__(self) -> None:
        self.live: dict[str, Instance] = {}
        """By instance, the one that was heard longest ago first."""
        self.silent: dict[str, Instance] = {}
        self._live_of: dict[str, int] = {}
        """By service, how many live: not part of the state, which holds them all."""
        self._silent_of: dict[str, dict[str, Instance]] = {}
        """By service, those that are silent, in their order."""
        self.newcomers: dict[str, list[int]] = {}
        """By service: when instances appeared that replaced nobody yet (active time)."""
        self.totals: dict[str, tuple[int, int, int]] = {}
        """By process: start, and events offered and lost since."""
        self.forgotten = 0

    def hear(self, report: Report, now: int, active: int) -> tuple[str, int, int]:
        """Take a report; return its service, and what it newly offered and lost."""
        service, name = name_of(report.receiver)
        known = self._drop_live(name) or self._drop_silent(name)
        if known is None:
            known = Instance(service, active, active, now, 0)
            replaced = next(iter(self._silent_of.get(service, ())), None)
            if replaced is not None:
                self._drop_silent(replaced)
            elif service in self._live_of:
                self._keep(service, [*self.newcomers.get(service, [])[-63:], active])
        known.last, known.heard = active, max(now, known.heard)
        known.reports += 1
        self._add_live(name, known)
        if len(self.live) + len(self.silent) > MOST_RECEIVERS:
            if self.silent:
                self._drop_silent(next(iter(self.silent)))
            else:
                self._drop_live(next(iter(self.live)))
            self.forgotten += 1
        return service, *self._more(f"{name} {report.process}", report)

    def _add_live(self, name: str, one: Instance) -> None:
        self.live[name] = one
        self._live_of[one.service] = self._live_of.get(one.service, 0) + 1

    def _drop_live(self, name: str) -> Instance | None:
        one = self.live.pop(name, None)
        if one is not None:
            left = self._live_of.pop(one.service) - 1
            if left:
                self._live_of[one.service] = left
        return one

    def _add_silent(self, name: str, one: Instance) -> None:
        self.silent[name] = one
        self._silent_of.setdefault(one.service, {})[name] = one

    def _drop_silent(self, name: str) -> Instance | None:
        one = self.silent.pop(name, None)
        if one is not None:
            of = self._silent_of[one.service]
            del of[name]
            if not of:
                del self._silent_of[one.service]
        return one

    def _more(self, process: str, report: Report) -> tuple[int, int]:
        """Return what a process offered and lost since its last report."""
        lost = sum(n for why, n in report.dropped.items() if why not in INTENDED)
        started = to_us(report.started_at)
        before = self.totals.pop(process, None)
        now = (started, report.offered, lost)
        self.totals[process] = now
        if len(self.totals) > MOST_RECEIVERS:
            del self.totals[next(iter(self.totals))]
        if before is None or before[0] != started:
            if to_us(report.at) - started > YOUNG:
                return 0, 0
            before = (started, 0, 0)
        elif now < before:  # an older report that comes late
            self.totals[process] = before
        more = [max(a - b, 0) for a, b in zip(now[1:], before[1:], strict=True)]
        return min(more[0], MOST_COUNTED), min(more[1], MOST_COUNTED)

    def due(self, silent_us: int) -> int | None:
        """Return the stream time before which nobody else can be silent; None without receivers."""
        first = next(iter(self.live.values()), None)
        return None if first is None else first.heard + silent_us

    def miss(self, active: int, silent_us: int, least_reports: int) -> None:
        """Let those be silent that have not reported for so long of active time."""
        while self.live:
            name, one = next(iter(self.live.items()))
            if active - one.last < silent_us:
                return  # all others were heard later
            self._drop_live(name)
            free = [at for at in self.newcomers.get(one.service, []) if at > one.last - PLACE_FREE]
            if one.reports >= least_reports and not free:
                self._add_silent(name, one)
            self._keep(one.service, free[1:])

    def _keep(self, service: str, newcomers: list[int]) -> None:
        self.newcomers.pop(service, None)
        if newcomers:
            self.newcomers[service] = newcomers
        if len(self.newcomers) > MOST_RECEIVERS:
            del self.newcomers[next(iter(self.newcomers))]

    def silences(self) -> dict[str, tuple[int, int, int]]:
        """Return each service with silent instances: how many, how many live, last heard of one."""
        of = dict.fromkeys(one.service for one in self.silent.values())  # in this order
        return {
            service: (
                len(self._silent_of[service]),
                self._live_of.get(service, 0),
                min(one.heard for one in self._silent_of[service].values()),
            )
            for service in of
        }

    def forget(self, service: str) -> None:
        """Do not expect the silent instances of this service any more."""
        for name in [*self._silent_of.get(service, ())]:
            self._drop_silent(name)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON-able values; lists, because their order counts."""
        return {
            "live": _written(self.live),
            "silent": _written(self.silent),
            "newcomers": [[service, of] for service, of in self.newcomers.items()],
            "totals": [[name, *of] for name, of in self.totals.items()],
            "forgotten": self.forgotten,
        }

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Take over what ``snapshot`` returned."""
        for name, *one in parts["live"]:
            self._add_live(name, Instance(name.partition("@")[0], *one))
        for name, *one in parts["silent"]:
            self._add_silent(name, Instance(name.partition("@")[0], *one))
        self.newcomers = {service: list(of) for service, of in parts["newcomers"]}
        self.totals = {name: (start, *of) for name, start, *of in parts["totals"]}
        self.forgotten = parts["forgotten"]
