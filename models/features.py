"""What a window of a sender's calls looks like, in ten numbers, each against the sender's own past.

A number is compared with the sender's own slow mean and deviation, so what is left is in units of
its own unrest, and windows of different senders are comparable: peers. Shares enter as square
roots, which makes their spread nearly the same whatever they are (Bartlett 1936); rates, sizes and
times as logarithms. A deviation is never below what chance alone makes of so few calls, so a sender
that never failed is not upset by one failure in ten calls. Values beyond 3.5 deviations are held
there before they are learned.

Rejected calls count as failures and nothing else: anybody can send those.

Networks, clients and event types that were not among the latest count as new for the whole window;
they are remembered at its end, and only if the window was a usual one.

>>> import numpy as np
>>> row = np.zeros(1, np.dtype(FIELDS))[0]
>>> for window in range(60):
...     begin(row, 60)
...     for call in range(20):
...         add(row, 1.0, 2000.0 + 10.0 * (call % 5), 9.0, 180_000 * call, call % 3 + 1, 5, 6, 0)
...     if window < 59:
...         learn(row, measure(row))
>>> [round(x, 2) for x in deviations(row, measure(row))]
[0.0, 0.0, -0.01, 0.0, -0.1, 0.0, 0.0, 0.0, 0.0, 0.05]
>>> row["fails"] = 10  # of 30 calls, where none had ever failed
>>> round(deviations(row, measure(row))[FAILURES], 1)
6.3
"""

from __future__ import annotations

from typing import Any

from models import guard, novelty
from models.guard import real
from models.kernel import kernel

NAMES = (
    "pace",
    "failures",
    "size",
    "size_spread",
    "new_networks",
    "repeats",
    "new_clients",
    "new_types",
    "duration",
    "unevenness",
)
"""The numbers of a window, in the order in which models know them."""
LAYOUT = 1
"""Raise it when a number means something else: models of another layout are refused."""
COUNT = len(NAMES)
PACE, FAILURES, SIZE, SPREAD, NETWORKS, REPEATS, CLIENTS, TYPES, DURATION, UNEVENNESS = range(10)

Numbers = tuple[float, float, float, float, float, float, float, float, float, float]

FIELDS: list[Any] = [
    ("minutes", "i2"),  # length of the window so far
    ("windows", "i2"),  # learned
    ("calls", "f4"),  # first presentations that were accepted, each by its weight
    ("good", "i2"),  # the same, and repeats, counted; the first MOST_CALLS of a window
    ("fails", "i2"),  # rejected
    ("timed", "i2"),  # accepted calls whose duration is known
    ("repeated", "i2"),
    ("foreign", "i2"),  # from networks that were not among the latest
    ("strange", "i2"),  # of clients that were not among the latest
    ("novel", "i2"),  # of event types that were not among the latest
    ("sizes", "f4"),  # sum of log sizes, as differences from the usual one
    ("squares", "f4"),
    ("durations", "f4"),  # sum of log milliseconds
    ("unrest", "f4"),  # sum of |ln(gap / the gap before)|
    ("last_at", "i4"),  # ms from the end of the window's hour to its newest call
    ("last_gap", "i2"),  # packed ln of the gap before the newest call; NONE = not known
    ("networks", "i2", 6),
    ("next_networks", "i2", 2),
    ("clients", "i2", 3),
    ("next_clients", "i2", 1),
    ("types", "i2", 4),
    ("next_types", "i2", 1),
    ("means", "i2", COUNT),  # of each number, packed
    ("spreads", "i2", COUNT),  # its mean absolute deviation, as a standard deviation, packed
]
IS_SHARE = (0, 1, 0, 0, 1, 1, 1, 1, 0, 0)
"""Shares of what is usually rare: less of it is nothing odd."""
NONE = -32768
STEP = 2000.0
LEAST_SPREAD, SPREAD_STEP = 0.005, 4000.0
FIRST_SPREAD = 0.3
MEMORY = 168.0
"""Windows after which a value weighs a third: a week of busy hours."""
MOST_CALLS = 20_000
HELD = 3.5
FAR = 8.0
"""Deviations beyond which more says nothing more."""
FINE = 256.0
"""Deviations are rounded to this part, which a 32-bit float holds exactly."""
PER_MAD = 1.2533141373155003
"""Standard deviation of normal values for each unit of mean absolute deviation: sqrt(pi / 2)."""


@kernel
def pack(x: float) -> int:
    """Return a number of about +-16 in 16 bits, in steps of 1/2000."""
    return int(guard.clip(x, -16.0, 16.0) * STEP + 40000.5) - 40000


@kernel
def pack_spread(x: float) -> int:
    """Return a deviation from 0.005 to 18 in 16 bits, to 0.03 %."""
    held = guard.log(guard.clip(x, LEAST_SPREAD, 18.0) / LEAST_SPREAD)
    return int(held * SPREAD_STEP + 0.5)


@kernel
def unpack_spread(cell: int) -> float:
    """Return the deviation of its 16-bit form."""
    return LEAST_SPREAD * guard.exp(cell / SPREAD_STEP)


@kernel
def begin(row: Any, minutes: int) -> None:
    """Begin a window; ``minutes`` is what is left of its first hour."""
    row["minutes"] = minutes
    row["calls"] = 0.0
    row["good"] = 0
    row["fails"] = 0
    row["timed"] = 0
    row["repeated"] = 0
    row["foreign"] = 0
    row["strange"] = 0
    row["novel"] = 0
    row["sizes"] = 0.0
    row["squares"] = 0.0
    row["durations"] = 0.0
    row["unrest"] = 0.0
    row["next_networks"][0] = 0
    row["next_networks"][1] = 0
    row["next_clients"][0] = 0
    row["next_types"][0] = 0


@kernel
def prolong(row: Any, minutes: int) -> None:
    """Let the window go on for another hour, or let the next one follow without a break."""
    row["minutes"] = min(max(int(row["minutes"]), 0) + minutes, guard.INT16_MAX)
    row["last_at"] = max(int(row["last_at"]) - minutes * 60_000, -guard.INT32_MAX)


@kernel
def add_failure(row: Any) -> None:
    """Count a rejected call: anybody can send those, so nothing else of it counts."""
    row["fails"] = min(guard.count_up16(int(row["fails"])), MOST_CALLS)


@kernel
def add(
    row: Any,
    weight: float,
    size: float,
    duration_ms: float,
    at_ms: int,
    network: int,
    client: int,
    event_type: int,
    repeated: int,
) -> None:
    """Count an accepted call; ``at_ms`` from the end of the hour, names as 15-bit tags."""
    if int(row["good"]) >= MOST_CALLS:
        row["calls"] = guard.small(real(row["calls"]) + weight)
        return
    row["good"] = guard.count_up16(int(row["good"]))
    if repeated > 0:
        row["repeated"] = guard.count_up16(int(row["repeated"]))
    else:
        row["calls"] = guard.small(real(row["calls"]) + weight)
        add_gap(row, at_ms)
    off = guard.log(1.0 + max(size, 0.0)) - int(row["means"][SIZE]) / STEP
    row["sizes"] = guard.small(real(row["sizes"]) + off)
    row["squares"] = guard.small(real(row["squares"]) + off * off)
    if duration_ms >= 0.0:
        row["timed"] = guard.count_up16(int(row["timed"]))
        row["durations"] = guard.small(real(row["durations"]) + guard.log(1.0 + duration_ms))
    if is_new(row["networks"], row["next_networks"], network) > 0:
        row["foreign"] = guard.count_up16(int(row["foreign"]))
    if is_new(row["clients"], row["next_clients"], client) > 0:
        row["strange"] = guard.count_up16(int(row["strange"]))
    if is_new(row["types"], row["next_types"], event_type) > 0:
        row["novel"] = guard.count_up16(int(row["novel"]))


@kernel
def add_gap(row: Any, at_ms: int) -> None:
    """Compare the pause before a call with the pause before that one."""
    at = max(min(at_ms, guard.INT32_MAX), -guard.INT32_MAX)
    last = int(row["last_at"])
    row["last_at"] = at
    before = int(row["last_gap"])
    if last == 0:  # no call before: at 0 exactly there is hardly ever one
        row["last_gap"] = NONE
        return
    gap = pack(guard.log(0.001 * max(at - last, 0) + 0.01))
    row["last_gap"] = gap
    if before != NONE:
        row["unrest"] = guard.small(real(row["unrest"]) + abs(gap - before) / STEP)


@kernel
def is_new(known: Any, waiting: Any, tag: int) -> int:
    """Return 1 for a tag that is not among the known ones, and note it; keep known ones in use."""
    if int(known[0]) == tag:
        return 0
    if novelty.knows(known, tag) > 0:
        novelty.remember(known, tag)
        return 0
    if int(waiting[0]) != tag:
        novelty.remember(waiting, tag)
    return 1


@kernel
def share(part: int, of: int) -> float:
    """Return the square root of a share."""
    return guard.sqrt(guard.clip(guard.ratio(float(part), float(of), 0.0), 0.0, 1.0))


@kernel
def measure(row: Any) -> Numbers:
    """Return the numbers of the window; what nothing is known of is as usual."""
    n = max(int(row["good"]), 1)
    minutes = max(int(row["minutes"]), 1)
    offset = real(row["sizes"]) / n
    variance = guard.clip(real(row["squares"]) / n - offset * offset, 0.0, 1e30)
    timed = int(row["timed"])
    duration = int(row["means"][DURATION]) / STEP
    if timed > 0:
        duration = real(row["durations"]) / timed
    fresh = max(n - int(row["repeated"]), 1)
    return (
        guard.log(60.0 * (real(row["calls"]) + 1.0) / minutes),
        share(int(row["fails"]), int(row["fails"]) + int(row["good"])),
        int(row["means"][SIZE]) / STEP + offset,
        guard.log(guard.sqrt(variance) + 0.05),
        share(int(row["foreign"]), n),
        share(int(row["repeated"]), n),
        share(int(row["strange"]), n),
        share(int(row["novel"]), n),
        duration,
        real(row["unrest"]) / fresh,
    )


@kernel
def by_chance(row: Any, which: int) -> float:
    """Return the deviation that chance, or rounding, alone brings into a number."""
    n = float(max(int(row["good"]), 1))
    if which == FAILURES:
        n += float(max(int(row["fails"]), 0))
    root = guard.sqrt(n)
    if which == PACE:
        return max(1.0 / root, 0.1)
    if which == SIZE:
        usual = guard.exp(int(row["means"][SPREAD]) / STEP) - 0.05
        return max(usual / root, 0.03)
    if which in (SPREAD, UNEVENNESS):
        return max(1.0 / root, 0.1)
    if which == DURATION:
        return 0.1
    return 0.5 / root


@kernel
def scale(row: Any, which: int) -> float:
    """Return the deviation that a number of this window may have."""
    return max(unpack_spread(int(row["spreads"][which])), by_chance(row, which))


@kernel
def deviation(row: Any, which: int, x: float) -> float:
    """Return how many of its own deviations a number is off, to 1/256, within +-FAR."""
    off = guard.ratio(x - int(row["means"][which]) / STEP, scale(row, which), 0.0)
    return (int(guard.clip(off, -FAR, FAR) * FINE + 4096.5) - 4096) / FINE


@kernel
def deviations(row: Any, numbers: Numbers) -> Numbers:
    """Return all numbers of a window in deviations from the sender's usual ones."""
    return (
        deviation(row, 0, numbers[0]),
        deviation(row, 1, numbers[1]),
        deviation(row, 2, numbers[2]),
        deviation(row, 3, numbers[3]),
        deviation(row, 4, numbers[4]),
        deviation(row, 5, numbers[5]),
        deviation(row, 6, numbers[6]),
        deviation(row, 7, numbers[7]),
        deviation(row, 8, numbers[8]),
        deviation(row, 9, numbers[9]),
    )


@kernel
def oddity(which: int, off: float) -> float:
    """Return what of a deviation is odd: beyond one, to either side, of shares only upwards.

    What is within one deviation says nothing, and would only give a forest something to cut at.
    """
    if IS_SHARE[which] > 0:
        return max(off - 1.0, 0.0)
    return max(abs(off) - 1.0, 0.0)


@kernel
def oddities(off: Numbers) -> Numbers:
    """Return what of all deviations is odd: what models see."""
    return (
        oddity(0, off[0]),
        oddity(1, off[1]),
        oddity(2, off[2]),
        oddity(3, off[3]),
        oddity(4, off[4]),
        oddity(5, off[5]),
        oddity(6, off[6]),
        oddity(7, off[7]),
        oddity(8, off[8]),
        oddity(9, off[9]),
    )


@kernel
def learn(row: Any, numbers: Numbers) -> None:
    """Move the usual numbers towards those of the window, and remember whom it brought."""
    windows = max(int(row["windows"]), 0)
    rate = 1.0 / min(windows + 1.0, MEMORY)
    for which in range(COUNT):
        x = numbers[which]
        mean = int(row["means"][which]) / STEP
        if windows == 0:  # everything is new to the first window
            is_novelty = which in (NETWORKS, CLIENTS, TYPES)
            row["means"][which] = 0 if is_novelty else pack(x)
            row["spreads"][which] = pack_spread(FIRST_SPREAD)
            continue
        spread = unpack_spread(int(row["spreads"][which]))
        reach = HELD * max(spread, by_chance(row, which))
        off = guard.clip(x - mean, -reach, reach)
        row["means"][which] = pack(mean + rate * off)
        row["spreads"][which] = pack_spread(spread + rate * (PER_MAD * abs(off) - spread))
    row["windows"] = guard.count_up16(windows)
    for i in range(1, -1, -1):
        if int(row["next_networks"][i]) != 0:
            novelty.remember(row["networks"], int(row["next_networks"][i]))
    if int(row["next_clients"][0]) != 0:
        novelty.remember(row["clients"], int(row["next_clients"][0]))
    if int(row["next_types"][0]) != 0:
        novelty.remember(row["types"], int(row["next_types"][0]))
