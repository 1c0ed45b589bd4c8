"""What the parameters of a step hold beside the detector's own: the provider's retry schedule."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from detectors.base import Detector
from models.schedule import SCHEDULE
from models.sizes import SIZES


def params_dtype(detector: Detector) -> np.dtype[Any]:
    """Return the record that a step gets as ``params``: numbers, and ``params["schedule"]``.

    A detector that defines ``SIZE_PRIORS = True`` finds priors of sizes in ``params["sizes"]``.
    """
    own = [(f.name, "f8") for f in fields(detector.params)]
    sizes = [("sizes", SIZES)] if getattr(detector.module, "SIZE_PRIORS", False) else []
    return np.dtype([*own, ("schedule", SCHEDULE), *sizes])
