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
from dataclasses import asdict, dataclass
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


class Receivers:
    """The receivers of a stream, bounded."""

    def __init__(self) -> None:
        self.live: dict[str, Instance] = {}
        """By instance, the one that was heard longest ago first."""
        self.silent: dict[str, Instance] = {}
        self.newcomers: dict[str, list[int]] = {}
        """By service: when instances appeared that replaced nobody yet (active time)."""
        self.totals: dict[str, tuple[int, int, int]] = {}
        """By process: start, and events offered and lost since."""
        self.forgotten = 0

    def hear(self, report: Report, now: int, active: int) -> tuple[str, int, int]:
        """Take a report; return its service, and what it newly offered and lost."""
        service, name = name_of(report.receiver)
        known = self.live.pop(name, None) or self.silent.pop(name, None)
        if known is None:
            known = Instance(service, active, active, now, 0)
            replaced = next((n for n, one in self.silent.items() if one.service == service), None)
            if replaced is not None:
                del self.silent[replaced]
            elif any(one.service == service for one in self.live.values()):
                self._keep(service, [*self.newcomers.get(service, [])[-63:], active])
        known.last, known.heard = active, max(now, known.heard)
        known.reports += 1
        self.live[name] = known
        if len(self.live) + len(self.silent) > MOST_RECEIVERS:
            oldest = self.silent or self.live
            del oldest[next(iter(oldest))]
            self.forgotten += 1
        return service, *self._more(f"{name} {report.process}", report)

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
            del self.live[name]
            free = [at for at in self.newcomers.get(one.service, []) if at > one.last - PLACE_FREE]
            if one.reports >= least_reports and not free:
                self.silent[name] = one
            self._keep(one.service, free[1:])

    def _keep(self, service: str, newcomers: list[int]) -> None:
        self.newcomers.pop(service, None)
        if newcomers:
            self.newcomers[service] = newcomers
        if len(self.newcomers) > MOST_RECEIVERS:
            del self.newcomers[next(iter(self.newcomers))]

    def silences(self) -> dict[str, tuple[int, int, int]]:
        """Return each service with silent instances: how many, how many live, last heard of one."""
        found: dict[str, tuple[int, int, int]] = {}
        for one in self.silent.values():
            n, live, heard = found.get(one.service, (0, 0, one.heard))
            found[one.service] = (n + 1, live, min(heard, one.heard))
        if found:
            for one in self.live.values():
                if one.service in found:
                    n, live, heard = found[one.service]
                    found[one.service] = (n, live + 1, heard)
        return found

    def forget(self, service: str) -> None:
        """Do not expect the silent instances of this service any more."""
        self.silent = {n: one for n, one in self.silent.items() if one.service != service}

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON-able values; lists, because their order counts."""
        return {
            "live": [[name, asdict(one)] for name, one in self.live.items()],
            "silent": [[name, asdict(one)] for name, one in self.silent.items()],
            "newcomers": [[service, of] for service, of in self.newcomers.items()],
            "totals": [[name, *of] for name, of in self.totals.items()],
            "forgotten": self.forgotten,
        }

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Take over what ``snapshot`` returned."""
        self.live = {name: Instance(**one) for name, one in parts["live"]}
        self.silent = {name: Instance(**one) for name, one in parts["silent"]}
        self.newcomers = {service: list(of) for service, of in parts["newcomers"]}
        self.totals = {name: (start, *of) for name, start, *of in parts["totals"]}
        self.forgotten = parts["forgotten"]
