"""Parameters of detectors: what is wrong with given ones, and the record that a step gets.

That holds the provider's retry schedule beside the detector's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np

from detectors.base import Described, Detector
from models.schedule import SCHEDULE
from models.sizes import SIZES


def params_dtype(detector: Detector) -> np.dtype[Any]:
    """Return the record that a step gets as ``params``: numbers, and ``params["schedule"]``.

    A detector that defines ``SIZE_PRIORS = True`` finds priors of sizes in ``params["sizes"]``.
    """
    own = [(f.name, "f8") for f in fields(detector.params)]
    sizes = [("sizes", SIZES)] if getattr(detector.module, "SIZE_PRIORS", False) else []
    return np.dtype([*own, ("schedule", SCHEDULE), *sizes])


Ranges = Mapping[str, tuple[float, float]]
"""The least and the greatest value of each number, by name."""


def ranges_of(detector: Described) -> Ranges:
    """Return the ranges of a detector's own parameters."""
    return {f.name: (f.metadata["low"], f.metadata["high"]) for f in fields(detector.params)}


def wrong_numbers(
    ranges: Ranges, given: Mapping[str, Any], where: str
) -> Iterator[tuple[str, str]]:
    """Yield each number that there is none of, or that is out of its range, and what is wrong."""
    for key, value in given.items():
        if key not in ranges:
            yield key, f"unknown key {where}.{key}; allowed: {', '.join(ranges)}"
            continue
        low, high = ranges[key]
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_number and low <= value <= high):  # NaN is in no range
            wanted = f"must be a number from {low:g} to {high:g}"
            yield key, f"{where}.{key} {wanted} (got {value!r})"
