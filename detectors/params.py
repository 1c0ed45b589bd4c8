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


def wrong_params(
    detector: Described, given: Mapping[str, Any], where: str
) -> Iterator[tuple[str, str]]:
    """Yield each parameter that the detector does not have or take, and what is wrong with it."""
    allowed = {f.name: f.metadata for f in fields(detector.params)}
    for key, value in given.items():
        if key not in allowed:
            yield key, f"unknown key {where}.{key}; allowed: {', '.join(allowed)}"
            continue
        low, high = allowed[key]["low"], allowed[key]["high"]
        if message := wrong_number(f"{where}.{key}", value, low, high):
            yield key, message


def wrong_number(where: str, value: Any, low: float, high: float) -> str | None:
    """Return what is wrong with a number, None where it is in its range."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and low <= value <= high:  # NaN is in no range
        return None
    return f"{where} must be a number from {low:g} to {high:g} (got {value!r})"
