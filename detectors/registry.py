"""Every file in ``detectors/rules`` is a detector: the folder is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import detectors.rules
from detectors.base import Detector, detector_of


@cache
def detectors_found() -> tuple[Detector, ...]:
    """Return all detectors, in the order of their ids."""
    modules = pkgutil.iter_modules(detectors.rules.__path__)
    found = [
        detector_of(importlib.import_module(f"detectors.rules.{module.name}")) for module in modules
    ]
    return tuple(sorted(found, key=lambda detector: detector.id))
