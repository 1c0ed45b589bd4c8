"""Sizes of one kind: mean and variance of ``ln(1 + bytes)``, held against outliers.

A size far out is compared in two ways: by its ratio to the usual size, and by deviations. What lies
within is learned, held at ``HELD`` deviations; what lies outside is counted as a habit, so that a
heavy-tailed kind stops being news. While an incident is open a candidate learns beside.

>>> import numpy as np
>>> row = np.zeros(1, np.dtype(FIELDS))[0]
>>> for size in (900, 1000, 1100) * 20:
...     learn(row, log_size(size))
>>> round(usual(row)), round(deviations_of(row, log_size(1000)), 2)
(997, 0.03)
>>> chance_of(3.75) < 1e-4
True
"""

from __future__ import annotations

from typing import Any

from models import ewma, guard, packed
from models.guard import real
from models.kernel import kernel

FIELDS: list[Any] = [
    ("mean", "f4"),  # of ln(1 + bytes)
    ("var", "f4"),
    ("n", "i2"),  # sizes learned, at most HORIZON, in 1/8
    ("reach", "i2"),  # how far out the habit's sizes are on average, in log sizes, 1/1,000
    ("habit", "f4"),  # sizes far out, decayed with n
    ("new_mean", "f4"),  # candidate while an incident is open
    ("new_var", "f4"),
    ("new_n", "i2"),
]
N_UNIT, REACH_UNIT = 8.0, 1000.0
HORIZON = 4000.0
"""Sizes after which an old one weighs a third."""
LEAST_DEVIATION = 0.1
"""Kinds of one fixed size have no spread of their own; 10 % is no news."""
HELD = 3.5
HELD_FROM = 30.0
TWICE = 0.6931471805599453
HEAVY_FROM, LEAST_EXCESS = 10.0, 0.3
"""Sizes far out from which on a tail is known; and its least mean, as of log-normal sizes."""
HABIT = 0.002
"""A kind that goes far out once in 500 does so habitually."""


@kernel
def log_size(size: int) -> float:
    """Return the logarithm in which sizes are compared."""
    return guard.log(1.0 + float(size))


@kernel
def known(row: Any) -> float:
    """Return from how many sizes mean and variance are known; more than HORIZON are not told."""
    return int(row["n"]) / N_UNIT


@kernel
def candidates(row: Any) -> float:
    """Return how many sizes the candidate knows."""
    return int(row["new_n"]) / N_UNIT


@kernel
def begin(row: Any, mean: float, var: float, n: float) -> None:
    """Take over what others have learned, as if it were ``n`` sizes of the row's own."""
    row["mean"] = mean
    row["var"] = var
    row["n"] = packed.part(min(n, HORIZON), N_UNIT)


@kernel
def reach_of(row: Any) -> float:
    """Return how far out the habit's sizes are on average, in log sizes."""
    return int(row["reach"]) / REACH_UNIT


@kernel
def usual(row: Any) -> float:
    """Return the usual size in bytes."""
    return guard.exp(real(row["mean"])) - 1.0


@kernel
def deviation(row: Any) -> float:
    """Return the standard deviation of the logarithm."""
    return max(guard.sqrt(real(row["var"])), LEAST_DEVIATION)


@kernel
def caution(n: float) -> float:
    """Return by how much wider a bound is that leans on a deviation learned from n sizes.

    As Student's distribution is wider than the normal one at 1 in 10,000, and a new size lies
    farther from a learned mean than from the true one: 17 % at n = 30.
    """
    return 1.0 + guard.ratio(5.0, n, 0.0)


@kernel
def deviations_of(row: Any, x: float) -> float:
    """Return how many deviations a log size is out."""
    return guard.ratio(x - real(row["mean"]), deviation(row), 0.0)


@kernel
def learn(row: Any, x: float) -> None:
    """Learn a log size that is not far out."""
    mean, n = real(row["mean"]), known(row)
    held = ewma.held(x, mean, deviation(row), HELD) if n >= HELD_FROM else x
    mean, var, n = ewma.update(mean, real(row["var"]), n, held, HORIZON)
    row["mean"] = mean
    row["var"] = guard.small(var)
    row["n"] = packed.part(n, N_UNIT)
    row["habit"] = real(row["habit"]) * (1.0 - 1.0 / HORIZON)


@kernel
def is_habit(row: Any, distance: float) -> bool:
    """Count one more size far out; return whether sizes so far out are a habit of this kind.

    What is more than twice as large as the habit's mean stays news: nobody can make a flood of
    huge sizes usual by a few large ones.
    """
    habit, reach = real(row["habit"]), reach_of(row)
    row["habit"] = guard.small(habit + 1.0)
    usual = habit >= max(3.0, HABIT * known(row)) and distance <= reach + TWICE
    if distance <= reach + TWICE or habit < 3.0 or habit >= HEAVY_FROM:
        step = min(distance - reach, 2.0) / guard.clip(habit + 1.0, 1.0, 50.0)
        row["reach"] = packed.part(reach + step, REACH_UNIT)
    return usual


@kernel
def is_heavy(row: Any) -> bool:
    """Return whether the kind goes far out often enough to know its tail."""
    return real(row["habit"]) >= HEAVY_FROM


@kernel
def tail_of(row: Any, distance: float, reach: float) -> float:
    """Return how likely a size so far out is by the kind's own tail, beyond ``reach``; else 0.

    Sizes of files are Pareto's (Crovella and Bestavros 1997): beyond a bound, log sizes are
    exponential, and their mean excess is what it is at the bound.
    """
    if real(row["habit"]) < 3.0:
        return 0.0
    share = guard.ratio(real(row["habit"]), guard.clip(known(row), HELD_FROM, HORIZON), 0.0)
    excess = max(reach_of(row) - reach, LEAST_EXCESS)
    beyond = guard.clip(guard.ratio(distance - reach, excess, 0.0), 0.0, 100.0)
    return min(share, 1.0) * guard.exp(-beyond)


@kernel
def learn_candidate(row: Any, x: float) -> None:
    """Learn a log size while an incident is open: perhaps it is the new usual."""
    mean, var, n = ewma.update(
        real(row["new_mean"]), real(row["new_var"]), candidates(row), x, HORIZON
    )
    row["new_mean"] = mean
    row["new_var"] = guard.small(var)
    row["new_n"] = packed.part(n, N_UNIT)


@kernel
def adopt(row: Any, far_out: int) -> None:
    """Take the candidate as the usual, and with it how many of its sizes were far out."""
    row["mean"] = real(row["new_mean"])
    row["var"] = real(row["new_var"])
    row["n"] = int(row["new_n"])
    row["habit"] = guard.clip(float(far_out), 0.0, 50.0)
    row["reach"] = packed.part(4.0 * deviation(row), REACH_UNIT)


@kernel
def chance_of(z: float) -> float:
    """Return about how likely a normal value is z > 0 deviations out (Mills' ratio)."""
    return guard.exp(-0.5 * z * z) / (2.5066282746310002 * max(z, 1.0))
