"""callwatch sees less than it should: receivers, records, state or facts are not as they were.

It is no rule on events: plain code that looks at what passes a partition, at its ticks. Whatever it
finds is about callwatch and those who run it, never about a sender. Windows are of stream time:
15 minutes for records, an hour for senders.

A receiver is silent when nothing is heard of it for five minutes in which records of others came;
that is *receiver_silent*, one incident for a service: info while other instances of it report (as
after a scale-down), medium when none does. A restart, a deployment under new names and an instance
that reported less than ten times are no silence. *events_lost* is what receivers themselves count
as dropped: it did not come late, it never comes. Both are told by partition 0 alone, since every
report goes to every partition.

*late_data* are records that were refused for their time or scored more than five minutes behind
stream time, *invalid_data* records that are no events; each of at least 5 % of the records and 100.
*cardinality* is about rows: senders were forgotten because the table is full, or an hour brought
more new senders than a partition of this size usually sees. No name is told: whoever calls chooses
them. *misplaced* are senders whose events are in a partition that their key does not lead to, so
that their baseline is split. *batch_damaged* are records in batches that cannot be read: their
checksum is wrong, or they unpack to more than a batch of events can be. *control_invalid* is a
control record whose signature does not fit the control key, *control_key_missing* one that came
while there was no key to hold it against.
*state_rebuilt* says that detection starts with less memory than it had, or that records were
deleted from the log before they were read; *facts_stale* that a provider's facts were read too long
ago to be relied on.

Known gaps: where all receivers stop at once, time stands still and nothing is told before the next
record comes; nor is a receiver missed that never reports, or one process of several behind one
receiver's name. A job that publishes for ten minutes or more and ends looks like a silent
receiver. A delay that is the same for all records cannot be seen in them. Files bring no late and
no refused records: a run's own counts tell those. Only the table of senders is watched for
evictions, and at most 64 new senders in five minutes for their partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from alerts.alert import Quantity
from detectors.base import (
    CONTRADICTED,
    CONTRIBUTES,
    EXPIRED,
    FINDING,
    INFO,
    LOW,
    MEDIUM,
    Explanation,
    Found,
)
from detectors.event import DAY, MINUTE, REJECTED, SECOND
from detectors.health_parts import Counts, Open, Params, Passage, Scored, SlotClock
from detectors.health_words import summary_of
from detectors.incidents import Happening
from detectors.keys import name_key
from detectors.receivers import MOST_RECEIVERS, Receivers
from detectors.walk import FORGOTTEN
from ingest.partition import partition_for
from ingest.profiles import Profile
from ingest.schema import Report
from models.novelty import short_tag

ID = "pipeline-health"
REASONS = (
    "receiver_silent",
    "events_lost",
    "late_data",
    "invalid_data",
    "cardinality",
    "misplaced",
    "control_invalid",
    "state_rebuilt",
    "facts_stale",
    "batch_damaged",
    "control_key_missing",
)
EVIDENCE = (
    ("instances_silent", "instances"),
    ("instances_reporting", "instances"),
    ("lost", "events"),
    ("offered", "events"),
    ("late", "events"),
    ("refused", "records"),
    ("invalid", "records"),
    ("records", "records"),
    ("new_senders", "senders"),
    ("new_senders_usual", "senders"),
    ("known_senders", "senders"),
    ("evicted", "senders"),
    ("rejected_share", "share"),
    ("misplaced", "senders"),
    ("checked", "senders"),
    ("controls", "records"),
    ("stale_facts", "facts"),
    ("oldest_days", "days"),
    ("damaged", "records"),
)


SLOT: Final = 5 * MINUTE
"""Counts are kept by slots of stream time; windows end with the running one."""
PAST_SLOTS: Final = 11
QUARTER_SLOTS: Final = 2
SLOTS_IN_HOUR: Final = 12
KEPT_HOURS: Final = 7 * 24
CHECKED_IN_SLOT: Final = 64
GIVE_UP: Final = 7 * DAY
"""A service that is silent for so long was taken down."""
USED_FOR: Final = 30 * DAY
_READ: Final = {
    "freshness", "tolerance_s", "rotation_overlap_s", "schedule", "gaps_s", "gap_range_s", "jitter",
    "max_attempts", "horizon_s", "resend_s", "timeout_s", "ranges",
}  # fmt: skip
"""Facts that detection uses; what is only told to people blinds nobody when it is old."""
_SCORES: Final = {INFO: 10.0, LOW: 30.0, MEDIUM: 60.0}
_REBUILT_AS: Final = {
    "cold_start": INFO,
    "not_fitting": INFO,
    "repartitioned": INFO,
    "records_gone": MEDIUM,
}
_EPOCH_DAY: Final = 719_163  # date(1970, 1, 1).toordinal()


STILL: Final = 2**62
"""End of a silence that lasts."""
Ordered = tuple[tuple[int, ...], Happening]


def _active(clock: SlotClock, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the active time at each stream time: a gap counts a minute at most."""
    if times[-1] - clock.now <= MINUTE:  # no gap is longer
        return times + (clock.active - clock.now)
    gaps: NDArray[np.int64] = np.diff(times, prepend=clock.now)
    return clock.active + np.minimum(gaps, MINUTE).cumsum()


class Health:
    """Watches what passes one partition; part of its state, a function of its records alone."""

    def __init__(
        self,
        params: Params,
        profiles: Sequence[Profile] = (),
        *,
        which: int = 0,
        partition: int = 0,
        partitions: int | None = None,
    ) -> None:
        self.params = params
        self.receivers = Receivers()
        self._which = which
        self._partition = partition
        self._partitions = partitions
        self._names = [profile.name for profile in profiles]
        self._facts = {one.name: _facts_of(one, params) for one in profiles}
        self._used = np.zeros(len(profiles), np.bool_)
        self._clock = SlotClock()
        self._counts, self._recent = Counts(), Counts()
        self._past: list[Counts] = []
        self._losses: list[dict[str, list[int]]] = [{}]
        """By service: offered and lost, of the last slots, the running one last."""
        self._hours: list[int] = []
        self._hour_new = 0
        self._known = 0
        self._open: dict[tuple[str, str], Open] = {}
        self._opened = 0
        self._rebuilt = ""
        self._unheard: dict[int, list[int]] = {}
        """By service (a short tag), begin and end of its last silence, and the tag, for detectors
        of absence. So there are no more than tags, and those that last are no more than receivers.
        """
        self._unheard_lately: list[list[int]] = []
        """The same, with all of the last batch: not part of the state."""
        self._out: list[Ordered] = []
        self._at = 0

    def rebuilt(self, why: str) -> None:
        """Let it be told, at the next tick, that the state was made anew."""
        self._rebuilt = why
        if self._clock.slot >= 0:
            self._clock.soon = self._clock.now - self._clock.now % MINUTE + MINUTE

    @property
    def silent_services(self) -> frozenset[str]:
        """Services none of whose instances report any more."""
        return frozenset(s for s, (_, live, _) in self.receivers.silences().items() if not live)

    @property
    def unheard(self) -> NDArray[np.int64]:
        """Begin, end and service (a short tag) of each silence of a whole service, up to now.

        It tells of every tick of the last batch what was known then. Silences are in order of their
        services, those of one service in order of time.
        """
        found = np.array(self._unheard_lately, np.int64).reshape(-1, 3)
        return found[np.lexsort((found[:, 0], found[:, 2]))]

    def walk(self, passage: Passage, scored: Scored) -> list[Ordered]:
        """Take a batch; return what happened at its ticks, with the order among all happenings."""
        clock, times = self._clock, passage.times
        self._unheard_lately = list(self._unheard.values())
        if len(times) == 0:
            self.note(passage.faults)
            return []
        if clock.slot < 0:
            self._begin(int(times[0]))
        active = _active(clock, times)
        late = scored.now - scored.t > int(self.params.late_s * SECOND)
        troubled = scored.now[np.flatnonzero(late | (scored.fresh > 1))]
        heard = times[[at for at, _ in passage.reports]]
        faulty = np.array(
            [int(times[n - 1]) if n else clock.now for n, _ in passage.faults], np.int64
        )
        last = int(times[-1])
        self._out = []
        e = r = f = k = 0
        while True:
            tick = self._next_tick()
            if len(troubled):
                k += int(troubled[k:].searchsorted(scored.now[e])) if e < len(late) else len(late)
            first = min([*troubled[k : k + 1].tolist(), *faulty[f : f + 1].tolist()], default=None)
            if not clock.soon and first is not None:
                tick = min(tick, first - first % MINUTE + MINUTE)
            to_e, to_r, to_f = len(late), len(heard), len(faulty)
            if tick <= last:
                to_e, to_r, to_f = (
                    int(of.searchsorted(tick)) for of in (scored.now, heard, faulty)
                )
            self._take(scored, e, to_e, late)
            for at, report in passage.reports[r:to_r]:
                self._hear(report, int(times[at]), int(active[at]))
            for _, code in passage.faults[f:to_f]:
                self._fault(code)
            if first is not None and first < tick:
                self._look_after(first)
            if tick > last:
                break
            e, r, f = to_e, to_r, to_f
            reached = int(times.searchsorted(tick))
            self._at = e
            before = int(active[reached - 1]) if reached else clock.active
            self._judge(tick, before)
            jumped = int(times[reached]) - int(times[reached]) % MINUTE
            if jumped >= self._next_tick():  # no record came between: one more look is enough
                self._judge(jumped, before)
        clock.now, clock.active = last, int(active[-1])
        return self._out

    def note(self, faults: Sequence[tuple[int, str]]) -> None:
        """Take faults of records alone: time stood still."""
        for _, code in faults:
            self._fault(code)
        if faults and self._clock.slot >= 0:
            self._look_after(self._clock.now)

    def lost(self, records: int) -> None:
        """Take records that stand in the log and cannot be read: time stood still."""
        self._recent.damaged += records
        if self._clock.slot >= 0:
            self._look_after(self._clock.now)

    def release(self, number: int) -> None:
        """Forget an incident that a person has ended; what goes on opens another."""
        for key in [key for key, one in self._open.items() if one.number == number]:
            del self._open[key]
            if key[0] == "receiver_silent":
                self.receivers.forget(key[1])

    def _begin(self, t: int) -> None:
        clock = self._clock
        clock.slot, clock.day, clock.now, clock.judged = t // SLOT, t // DAY, t, t
        if self._rebuilt or self._recent != Counts():
            self._look_after(t)

    def _look_after(self, t: int) -> None:
        """Judge at the full minute after t, where nothing is to be judged before."""
        if not self._clock.soon:
            self._clock.soon = t - t % MINUTE + MINUTE

    def _next_tick(self) -> int:
        clock = self._clock
        tick = (clock.slot + 1) * SLOT
        if clock.soon:
            tick = min(tick, clock.soon)
        due = self.receivers.due(int(self.params.silent_s * SECOND))
        if due is not None:
            later = clock.judged - clock.judged % MINUTE + MINUTE
            tick = min(tick, max(due + -due % MINUTE, later))
        return tick

    def _take(self, scored: Scored, start: int, stop: int, late: NDArray[np.bool_]) -> None:
        """Count the events from start to stop."""
        if start == stop:
            return
        recent = self._recent
        recent.scored += stop - start
        recent.late += int(np.count_nonzero(late[start:stop]))
        self._used[scored.who[start:stop]] = True
        new = np.flatnonzero(scored.fresh[start:stop]) + start
        if len(new) == 0:
            return
        recent.new += len(new)
        recent.evicted += int(np.count_nonzero(scored.fresh[new] > 1))
        recent.new_rejected += int(np.count_nonzero(scored.columns["verdict"][new] == REJECTED))
        self._known = max(self._known, int(scored.position[new].max()) + 1)
        if self._partitions is not None:
            room = CHECKED_IN_SLOT - self._counts.checked - recent.checked
            for e in new[: max(room, 0)].tolist():
                recent.checked += 1
                home = partition_for(scored.sender(e).encode(), self._partitions)
                recent.misplaced += home != self._partition

    def _hear(self, report: Report, now: int, active: int) -> None:
        service, offered, lost = self.receivers.hear(report, now, active)
        if (offered or lost) and self._partition == 0:
            sums = self._losses[-1].setdefault(service, [0, 0])
            sums[0] += offered
            sums[1] += lost

    def _fault(self, code: str) -> None:
        if code == "time_out_of_range":
            self._recent.refused += 1
        elif code == "control_invalid":
            self._recent.controls += 1
        elif code == "control_key_missing":
            self._recent.unkeyed += 1
        else:
            self._recent.invalid += 1

    def _judge(self, tick: int, active: int) -> None:
        """Look at everything that is known at a tick."""
        clock = self._clock
        clock.judged, clock.soon = tick, 0
        for key in [key for key, one in self._open.items() if one.until <= tick]:
            if key[0] == "receiver_silent":
                self.receivers.forget(key[1])
            self._close(key, tick, self._open[key].until, EXPIRED)
        recent, self._recent = self._recent, Counts()
        self._counts += recent
        self._hour_new += recent.new
        self._judge_records(tick, recent)
        self._judge_senders(tick, recent)
        self._judge_receivers(tick, active)
        if self._rebuilt:
            why, self._rebuilt = self._rebuilt, ""
            severity = _REBUILT_AS.get(why, LOW)
            self._tell("state_rebuilt", self._here, tick, 1, severity, {}, detail=why)
        if tick // SLOT > clock.slot:
            self._next_slot(tick // SLOT)
        if tick // DAY > clock.day:
            self._judge_facts((clock.day + 1) * DAY, tick)  # of the day in which they were used
            clock.day = tick // DAY

    @property
    def _here(self) -> str:
        return f"partition {self._partition}"

    def _next_slot(self, slot: int) -> None:
        """Let a slot end; those that are skipped are empty."""
        passed = min(slot - self._clock.slot, PAST_SLOTS)
        empty = [Counts() for _ in range(passed - 1)]
        self._past = [*self._past, self._counts, *empty][-PAST_SLOTS:]
        self._losses = [*self._losses, *({} for _ in range(passed))][-QUARTER_SLOTS - 1 :]
        hours = slot // SLOTS_IN_HOUR - self._clock.slot // SLOTS_IN_HOUR
        if hours > 0:
            quiet = ("cardinality", self._here) not in self._open
            ended = [self._hour_new] if quiet else []  # an explosion is nothing usual
            skipped = [0] * min(hours - 1, KEPT_HOURS)
            self._hours = [*self._hours, *ended, *skipped][-KEPT_HOURS:]
            self._hour_new = 0
        self._counts, self._clock.slot = Counts(), slot

    def _window(self, past_slots: int) -> Counts:
        """Return what passed in the last slots and the running one."""
        return sum(self._past[-past_slots:], self._counts)

    def _judge_records(self, tick: int, recent: Counts) -> None:
        params = self.params
        window = self._window(QUARTER_SLOTS)
        records = window.scored + window.refused + window.invalid
        least = max(params.least_bad, params.bad_share * records)
        numbers = {"late": window.late, "refused": window.refused, "records": records}
        if recent.late + recent.refused and window.late + window.refused >= least:
            more = self._more("late_data", recent, window, ("late", "refused"))
            severity = MEDIUM if window.refused >= least else LOW
            self._tell("late_data", self._here, tick, more, severity, numbers)
        if recent.invalid and window.invalid >= least:
            more = self._more("invalid_data", recent, window, ("invalid",))
            numbers = {"invalid": window.invalid, "records": records}
            self._tell("invalid_data", self._here, tick, more, MEDIUM, numbers)
        if recent.damaged:
            more = self._more("batch_damaged", recent, window, ("damaged",))
            numbers = {"damaged": window.damaged, "records": records + window.damaged}
            self._tell("batch_damaged", self._here, tick, more, MEDIUM, numbers)
        if recent.controls:
            numbers = {"controls": window.controls}
            self._tell("control_invalid", self._here, tick, recent.controls, MEDIUM, numbers)
        if recent.unkeyed:
            numbers = {"controls": window.unkeyed}
            self._tell("control_key_missing", self._here, tick, recent.unkeyed, MEDIUM, numbers)
        wrong = window.misplaced
        if recent.misplaced and wrong > params.misplaced_share * window.checked:
            more = self._more("misplaced", recent, window, ("misplaced",))
            numbers = {"misplaced": wrong, "checked": window.checked}
            self._tell("misplaced", self._here, tick, more, LOW, numbers)

    def _more(self, reason: str, recent: Counts, window: Counts, names: Sequence[str]) -> int:
        """Return what contributes: all of the window where nothing is open yet."""
        of = recent if (reason, self._here) in self._open else window
        return sum(int(getattr(of, name)) for name in names)

    def _judge_senders(self, tick: int, recent: Counts) -> None:
        params = self.params
        if not recent.new:
            return
        hour = self._window(PAST_SLOTS)
        usual = sorted(self._hours)[-3:][0] if len(self._hours) >= 3 else 0
        unusual = max(params.least_new, params.new_factor * usual, params.known_share * self._known)
        settled = len(self._hours) >= DAY // (SLOTS_IN_HOUR * SLOT)
        explodes = settled and hour.new >= unusual and self._counts.new * SLOTS_IN_HOUR >= unusual
        floods = recent.evicted > 0 and hour.evicted >= params.least_evicted
        if not (explodes or floods):
            return
        numbers = {
            "new_senders": hour.new,
            "new_senders_usual": usual,
            "known_senders": self._known,
            "evicted": hour.evicted,
            "rejected_share": hour.new_rejected / hour.new,
        }
        more = self._more("cardinality", recent, hour, ("new",))
        self._tell("cardinality", self._here, tick, more, MEDIUM if floods else LOW, numbers)

    def _judge_receivers(self, tick: int, active: int) -> None:
        params = self.params
        self.receivers.miss(active, int(params.silent_s * SECOND), int(params.least_reports))
        silences = self.receivers.silences()
        self._note_unheard(tick, {name for name, (_, live, _) in silences.items() if not live})
        if self._partition != 0:
            return
        for service, (gone, reporting, heard) in silences.items():
            known = self._open.get(("receiver_silent", service))
            severity = INFO if reporting else MEDIUM
            if known is None or gone > known.count or severity > known.severity:
                numbers = {"instances_silent": gone, "instances_reporting": reporting}
                more = gone - (0 if known is None else known.count)
                self._tell("receiver_silent", service, tick, more, severity, numbers, since=heard)
            one = self._open["receiver_silent", service]
            if not reporting:
                one.until = tick + GIVE_UP
            elif one.until > tick + int(params.close_after_s * SECOND):  # some are back
                one.until = tick + int(params.close_after_s * SECOND)
        for key in [k for k in self._open if k[0] == "receiver_silent" and k[1] not in silences]:
            self._close(key, tick, tick, CONTRADICTED)
        self._judge_losses(tick)

    def _note_unheard(self, tick: int, silent: set[str]) -> None:
        """Note which services fell silent, and which are heard again."""
        if not silent and not self._unheard:
            return
        tags = {_tag_of(service) for service in silent}
        for tag, one in self._unheard.items():
            if one[1] == STILL and tag not in tags:
                one[1] = tick
        kept = {t: one for t, one in self._unheard.items() if one[1] > tick - 2 * FORGOTTEN}
        more = {
            tag: [tick, STILL, tag]
            for tag in sorted(tags)
            if tag not in kept or kept[tag][1] != STILL
        }
        self._unheard = kept | more  # after its begin, a silence makes the one before it needless
        self._unheard_lately += more.values()

    def _judge_losses(self, tick: int) -> None:
        params = self.params
        for service, (_, newly) in self._losses[-1].items():
            if not newly or tick % SLOT:
                continue
            offered, lost = (
                sum(of.get(service, (0, 0))[n] for of in self._losses) for n in range(2)
            )
            if lost < max(params.least_lost, params.lost_share * offered):
                continue
            severity = MEDIUM if lost >= 0.1 * offered else LOW
            more = newly if ("events_lost", service) in self._open else lost
            numbers = {"lost": lost, "offered": offered}
            self._tell("events_lost", service, tick, more, severity, numbers)

    def _judge_facts(self, midnight: int, tick: int) -> None:
        """Look, once a day, at the facts of the providers that were seen since."""
        used = {self._names[which] for which in np.flatnonzero(self._used)}
        self._used[:] = False
        today = midnight // DAY + _EPOCH_DAY
        for provider in sorted(used):
            ages = [(today - day, limit) for day, limit in self._facts[provider]]
            stale = [age for age, limit in ages if age > limit]
            more = int(("facts_stale", provider) not in self._open)
            if stale:
                numbers = {"stale_facts": len(stale), "oldest_days": max(stale)}
                self._tell(
                    "facts_stale", provider, tick, more, INFO, numbers,
                    when=midnight, lasts=USED_FOR, provider=provider,
                )  # fmt: skip

    def _tell(
        self,
        reason: str,
        subject: str,
        tick: int,
        more: int,
        severity: int,
        numbers: Mapping[str, float],
        *,
        when: int = 0,
        since: int = 0,
        lasts: int = 0,
        provider: str | None = None,
        detail: str = "",
    ) -> None:
        """Open an incident about a subject, or add to it."""
        key = (reason, subject)
        one = self._open.get(key)
        opens = one is None
        if one is None:
            one = self._open[key] = Open(self._opened, 0)
            self._opened += 1
        one.count += more
        one.severity = max(severity, one.severity)
        one.until = tick + (lasts or int(self.params.close_after_s * SECOND))
        happening = self._happening(key, one, FINDING if opens else CONTRIBUTES, when or tick, tick)
        words = (*key, detail) if detail else key
        evidence = {name: float(value) for name, value in numbers.items()}
        told = happening._replace(key=words, since=since, evidence=evidence, provider=provider)
        self._add(told)

    def _close(self, key: tuple[str, str], tick: int, when: int, code: int) -> None:
        self._add(self._happening(key, self._open.pop(key), code, when, tick))

    def _happening(
        self, key: tuple[str, str], one: Open, code: int, when: int, tick: int
    ) -> Happening:
        reason = REASONS.index(key[0]) + 1
        return Happening(
            slot=(self._which, reason, one.number),
            code=code,
            when=when,
            now=tick,
            reason=reason,
            severity=one.severity,
            score=_SCORES.get(one.severity, 0.0),
            confidence=0.95,
            count=one.count,
            since=0,
            evidence={},
            source_key=0,
            sender_key=0,
            value=None,
            sender=None,
            provider=None,
            key=key,
        )

    def _add(self, happening: Happening) -> None:
        order = (self._at, 0, happening.now, happening.when, *happening.slot)
        self._out.append((order, happening))

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "receivers": self.receivers.snapshot(),
            "clock": asdict(self._clock),
            "counts": [list(vars(of).values()) for of in (self._counts, self._recent, *self._past)],
            "losses": self._losses,
            "hours": [*self._hours, self._hour_new],
            "known": self._known,
            "used": sorted({self._names[which] for which in np.flatnonzero(self._used)}),
            "open": [[*key, asdict(one)] for key, one in self._open.items()],
            "opened": self._opened,
            "rebuilt": self._rebuilt,
            "unheard": list(self._unheard.values()),
        }

    def restore(self, parts: Mapping[str, Any]) -> None:
        """Take over what ``snapshot`` returned."""
        self.receivers.restore(parts["receivers"])
        self._clock = SlotClock(**parts["clock"])
        self._counts, self._recent, *self._past = (Counts(*of) for of in parts["counts"])
        self._losses = [{name: list(sums) for name, sums in of.items()} for of in parts["losses"]]
        *self._hours, self._hour_new = parts["hours"]
        self._known = parts["known"]
        known = [self._names.index(name) for name in parts["used"] if name in self._facts]
        self._used[known] = True
        self._open = {(reason, subject): Open(**one) for reason, subject, one in parts["open"]}
        self._opened = parts["opened"]
        self._rebuilt = parts["rebuilt"]
        self._unheard = {one[2]: list(one) for one in parts["unheard"]}


@lru_cache(maxsize=MOST_RECEIVERS)
def _tag_of(service: str) -> int:
    """Return the tag of a service, as rows have it: at each tick all silent ones are asked for."""
    return short_tag(name_key(service))


def _facts_of(profile: Profile, params: Params) -> list[tuple[int, float]]:
    """Return the day on which each fact that detection uses was read, and its limit in days."""
    return [
        (
            fact.day.toordinal(),
            params.ranges_days if name == "ranges" else params.facts_days,
        )
        for name, fact in profile.facts.items()
        if name in _READ
    ]


def explain(found: Found) -> Explanation:
    """Say what callwatch does not see, or did not remember."""
    given = found.evidence
    observed = {name: Quantity(given[name], unit) for name, unit in EVIDENCE if name in given}
    return Explanation(summary_of(found), {}, observed)
