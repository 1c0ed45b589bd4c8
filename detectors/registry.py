"""Every file in ``detectors/rules`` is a detector: the folder is the registry.

What alerts without being a rule on events is added to them here.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import detectors.rules
from detectors import health
from detectors.base import Described, Detector, described_of, detector_of


@cache
def detectors_found() -> tuple[Detector, ...]:
    """Return all detectors, in the order of their ids."""
    modules = pkgutil.iter_modules(detectors.rules.__path__)
    found = [
        detector_of(importlib.import_module(f"detectors.rules.{module.name}")) for module in modules
    ]
    return tuple(sorted(found, key=lambda detector: detector.id))


@cache
def alerting_found() -> tuple[Described, ...]:
    """Return everything that can alert, in the order of the ids: the detectors, and health."""
    found = (*detectors_found(), described_of(health))
    return tuple(sorted(found, key=lambda one: one.id))


def unknown_detector(name: object) -> str:
    """Return what is wrong with a name that none of them has.

    >>> unknown_detector("replay-brust").startswith("unknown detector 'replay-brust'; allowed: ")
    True
    """
    return f"unknown detector {name!r}; allowed: {', '.join(one.id for one in alerting_found())}"
