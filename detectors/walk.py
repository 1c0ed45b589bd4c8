"""The walk of one detector over a batch, written out for its number of tables.

For each event, in order: timers that are due at the ticks that the event crosses; rows that start
afresh; the step; the row's next timer. Everything that happened comes back as records: which event,
when, which row, and what the step wrote.

A tick is a full minute of stream time. A timer fires at the first tick at least GRACE after its
time, so that late events still count. One event may cross many ticks at once, where another cut of
the stream (at a report that moves the clock) stops in between; so a record names the tick at which
its timer would have fired without any leap, and what fires at one crossing is sorted by it
afterwards: rows do not see each other, so their order changes only the order of alerts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.base import EVICTED, Detector, Table, close
from detectors.event import HOUR, MINUTE
from models.kernel import kernel

FORGOTTEN = 2 * HOUR
"""A service's silence is of no interest so long after its end: rows are looked at every hour."""
GRACE = MINUTE
LAST_TICK, NEXT_DUE, WRITTEN = range(3)
"""What a walk keeps between calls, and hands to its timers: see ``clock``."""

RECORD = [
    ("at", "i8"),  # index of the event at which it happened
    ("timed", "i8"),  # 1 where a timer or an eviction did it, 0 where the event's own step
    ("when", "i8"),  # the event's time, or the timer's
    ("now", "i8"),  # stream time: at the event, or the tick of the timer
    ("who", "i8"),  # class of parameters, as it was then
    ("code", "i8"),
    ("in_table", "i8"),
    ("position", "i8"),
]


def record_dtype(detector: Detector) -> np.dtype[Any]:
    """Return the record that the walk writes: RECORD, then what the step fills."""
    out = [(name, detector.out.fields[name][0]) for name in detector.out.names or ()]  # type: ignore[index]
    return np.dtype(RECORD + out)


@kernel
def next_of(row: Any) -> int:
    """Return when the row wants its timer next, microseconds; 0 = never."""
    due = int(row["due"])
    if int(row["opened_at"]) != 0:
        until = int(row["open_until"])
        if due == 0 or until < due:
            due = until
    return due * MINUTE


@kernel
def end_of(row: Any) -> int:
    """Return when the incident of a row without times of its own ends, microseconds; 0 = never."""
    return int(row["open_until"]) * MINUTE if int(row["opened_at"]) != 0 else 0


@kernel
def give_up(row: Any) -> None:
    """Switch a row's timers off."""
    row["due"] = 0
    close(row)


@kernel
def end_of_last(pauses: Any, service: int, tick: int) -> int:
    """Return the end of a service's last pause that began before the tick; 0 where there was none.

    Pauses are in order of their services, those of one service in order of time; of the whole
    stream's the service is 0.
    """
    low = 0
    high = len(pauses)
    while low < high:
        middle = (low + high) >> 1
        of = int(pauses[middle, 2])
        if of < service or (of == service and int(pauses[middle, 0]) < tick):
            low = middle + 1
        else:
            high = middle
    if low == 0 or int(pauses[low - 1, 2]) != service:
        return 0
    return int(pauses[low - 1, 1])


@kernel
def heard_since(pauses: Any, tick: int, service: int) -> int:
    """Return the end of the last pause that began before the tick; 0 where there was none.

    Pauses of the whole stream have no service; of the others only those of this one count, and
    while such a pause lasts, its end is the tick. The pauses of a batch and the last ones before it
    tell it of every tick that the batch crosses, wherever the stream was cut. Pauses of one kind
    do not overlap, so that the last of them ends last, however many there are: a sparse stream has
    one at each event, and every timer asks.
    """
    found = max(0, end_of_last(pauses, 0, tick))
    if service != 0:
        end = end_of_last(pauses, service, tick)
        if tick - end <= FORGOTTEN:
            found = max(found, min(end, tick))
    return found


EVICTED_CODE = EVICTED
FADED = "faded"
"""The field of a row that is set where the key was there before, but its row had to go."""
MODEL = ", models[0]"
"""What a step and a timer of a learned detector take beside their parameters."""

_HEAD = '''\
"""Generated from detectors/walk.py for {id}; changes here are lost."""
from numba import njit

import {module} as rule
from detectors.passing import REMEMBERED
from detectors.event import MINUTE
from detectors.walk import EVICTED_CODE, GRACE, LAST_TICK, NEXT_DUE, WRITTEN
from detectors.walk import close, end_of, give_up, heard_since, next_of
from models.kernel import kernel
from models.prefetch import AHEAD, prefetch

step = kernel(rule.step)
'''

_WALK = """

@njit(cache=True, error_model="python", _nrt=False)
def walk(events, first, ticks, final_tick, clock, params, records, pauses{models}{tables}):
    n = 0
    room = len(records) - 4
    for e in range(first, len(events)):
        if n >= room:
            return n, e
        prefetch(events, e + 2 * AHEAD)
        if {comes}:{ahead}
        tick = int(ticks[e])
        if tick > int(clock[LAST_TICK]):
            if int(clock[NEXT_DUE]) != 0 and int(clock[NEXT_DUE]) + GRACE <= tick:
                clock[WRITTEN] = n
                wake(e, tick, clock, params, records, pauses{wake_args})
                n = int(clock[WRITTEN])
                if n >= room:
                    return n, e
            clock[LAST_TICK] = tick
        event = events[e]
        who = int(event["who"]){relevant}{afresh}
        if {skip}:
            continue
        code = step({rows}, event, params[who]{model}, records[n])
        if code != 0:
            k = int(records[n]["table"])
            {note}
            n += 1{dues}
    if final_tick > int(clock[LAST_TICK]):
        if int(clock[NEXT_DUE]) != 0 and int(clock[NEXT_DUE]) + GRACE <= final_tick:
            clock[WRITTEN] = n
            wake(len(events), final_tick, clock, params, records, pauses{wake_args})
            n = int(clock[WRITTEN])
            if n >= room:
                return n, len(events)
        clock[LAST_TICK] = final_tick
    return n, -1
"""


_LISTEN = """
            fires = max(due + GRACE, int(clock[LAST_TICK]) + MINUTE)
            records[n]["since"] = heard_since(pauses, fires, int(row["service"]))"""
_UNHEARD = """
            else:
                records[n]["since"] = 0"""


def _timed(table: Table) -> bool:
    return _has(table, "opened_at")


def _has(table: Table, field: str) -> bool:
    return field in (table.row.names or ())


def walk_source(detector: Detector) -> str:
    """Return the text of the detector's walk module."""
    tables = range(len(detector.tables))
    timed = [k for k in tables if _timed(detector.tables[k])]
    judging = [k for k in timed if _has(detector.tables[k], "who")]
    waiting = [k for k in timed if _has(detector.tables[k], "due")]
    choosy = detector.is_choosy
    head = _HEAD.format(id=detector.id, module=detector.module.__name__)
    head += "".join(f"timer{k} = kernel(rule.TABLES[{k}].timer)\n" for k in timed)
    if choosy:
        head += "relevant = kernel(rule.relevant)\n"
    walk = _WALK.format(
        tables="".join(f", position{k}, fresh{k}, rows{k}, blank{k}, dirty{k}" for k in tables),
        models=", models" if detector.is_learned else "",
        model=MODEL if detector.is_learned else "",
        wake_args=(", models" if detector.is_learned else "")
        + "".join(f", rows{k}, dirty{k}" for k in timed),
        comes="e + AHEAD < len(events)" + " and relevant(events[e + AHEAD])" * choosy,
        ahead="".join(
            f"\n            prefetch(rows{k}, int(position{k}[e + AHEAD]))" for k in tables
        ),
        relevant="\n        wanted = relevant(event)" if choosy else "",
        afresh="".join(
            _afresh_source(k, k in timed, k in judging, choosy, _has(detector.tables[k], FADED))
            for k in tables
        ),
        skip=" or ".join(["not wanted"] * choosy + [f"int(position{k}[e]) < 0" for k in tables]),
        rows=", ".join(f"rows{k}[int(position{k}[e])]" for k in tables),
        note=_note_source(
            12,
            "e",
            0,
            'int(event["t"])',
            'int(event["now"])',
            "who",
            "code",
            "k",
            _position_source(len(detector.tables)),
        ),
        dues="".join(_due_source(k, k in waiting) for k in timed),
    )
    waking = _wake_source(
        timed, judging, waiting, learned=detector.is_learned, listens=detector.listens
    )
    return head + waking + walk


def _note_source(indent: int, at: str, timed: int, *rest: str) -> str:
    """Return the lines that fill a record's own fields."""
    values = (at, str(timed), *rest)
    lines = [
        f'records[n]["{name}"] = {value}' for (name, _), value in zip(RECORD, values, strict=True)
    ]
    return ("\n" + " " * indent).join(lines)


def _position_source(count: int) -> str:
    text = f"int(position{count - 1}[e])"
    for k in reversed(range(count - 1)):
        text = f"(int(position{k}[e]) if k == {k} else {text})"
    return text


def _afresh_source(k: int, timed: bool, judging: bool, choosy: bool, fades: bool) -> str:
    if not timed:
        faded = f"""
            if fresh{k}[e] == REMEMBERED:
                rows{k}[int(position{k}[e])]["{FADED}"] = 1"""
        return f"""
        if fresh{k}[e] > 0:
            rows{k}[int(position{k}[e])] = blank{k}[0]{faded if fades else ""}"""
    text = f"""
        p = int(position{k}[e])
        if p >= 0:
            if fresh{k}[e] > 0:
                if int(rows{k}[p]["opened_at"]) != 0:
                    now = int(event["now"])
                    {_note_source(20, "e", 1, "now", "now", "who", "EVICTED_CODE", str(k), "p")}
                    n += 1
                rows{k}[p] = blank{k}[0]"""
    if not judging:
        return text
    return f"""{text}
                rows{k}[p]["who"] = who
            {"if wanted" if choosy else "else"}:
                rows{k}[p]["who"] = who"""


def _due_source(k: int, waits: bool) -> str:
    return f"""
        due = {"next_of" if waits else "end_of"}(rows{k}[int(position{k}[e])])
        if due != 0 and (int(clock[NEXT_DUE]) == 0 or due < int(clock[NEXT_DUE])):
            clock[NEXT_DUE] = due"""


def _wake_source(
    timed: list[int], judging: list[int], waiting: list[int], *, learned: bool, listens: bool
) -> str:
    model = MODEL if learned else ""
    parts = (", models" if learned else "") + "".join(f", rows{k}, dirty{k}" for k in timed)
    text = f"""

@kernel
def wake(at, tick, clock, params, records, pauses{parts}):
    n = int(clock[WRITTEN])
    soonest = 0
    room = len(records) - 4"""
    for k in timed:
        next_, stop = ("next_of", "give_up") if k in waiting else ("end_of", "close")
        text += f"""
    for p in range(len(dirty{k})):
        row = rows{k}[p]
        due = {next_}(row)
        again = 0
        while due != 0 and due + GRACE <= tick:
            if n >= room:
                clock[WRITTEN] = n
                return
            dirty{k}[p] = 1
            who = {'int(row["who"])' if k in judging else 0}{_LISTEN if listens else ""}
            code = timer{k}(row, due, params[who]{model}, records[n])
            if code != 0:
                now = max(due + GRACE, int(clock[LAST_TICK]) + MINUTE)
                {_note_source(16, "at", 1, "due", "now", "who", "code", str(k), "p")}
                n += 1{_UNHEARD if listens else ""}
            later = {next_}(row)
            again = again + 1 if later == due else 0
            if later != 0 and (later < due or again > 2):
                {stop}(row)  # a timer that does not move on would never end
                later = 0
            due = later
        if due != 0 and (soonest == 0 or due < soonest):
            soonest = due"""
    return (
        text
        + """
    clock[NEXT_DUE] = soonest
    clock[WRITTEN] = n
"""
    )
