"""What new senders lean on: the failure share and the sizes of a provider's senders.

Constants, never pooled live: ``callwatch priors`` fits them from archived events, by empirical
Bayes, into a file that the configuration names (``priors = "priors.toml"``) and that is part of its
hash. Failure shares: a beta distribution over senders, by moments. Sizes, by event type: mean and
variance of the log size of a new sender's delivery, and the weight of that knowledge. A few senders
that fail most of the time, or are under attack, must not move it: the tenth with the highest shares
is left out.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from detectors.errors import ConfigError
from detectors.keys import name_key
from detectors.rules.signature_failure_spike import PROOF_REASONS
from ingest.errors import IngestError
from ingest.toml_text import load_toml
from models.sizes import MOST_TYPES, MOST_WEIGHT, SIZES

LEAST_SENDERS = 5
LEAST_CALLS = 30
LEAST_SIZES = 10
MOST_CALLS = 500.0
MOST_KEPT = 1_000_000
"""Senders, and types of senders, that a fit tells apart; more are left out."""


class _Event(msgspec.Struct, gc=False):
    sender: str
    verdict: str
    body_bytes: int
    kind: str = "webhook"
    provider: str | None = None
    reason: str | None = None
    event_type: str | None = None


@dataclass(frozen=True)
class SizePrior:
    """Sizes of a type's deliveries at a sender of whom nothing is known."""

    bytes: float
    spread: float
    """Standard deviation of the logarithm."""
    weight: float
    """In deliveries."""


@dataclass(frozen=True)
class Prior:
    """What is known of a provider's senders."""

    failure_share: float | None = None
    failure_calls: float | None = None
    sizes: Mapping[str, SizePrior] = field(default_factory=dict)

    def params(self) -> dict[str, float]:
        """Return the parameters of signature-failure-spike that it stands for."""
        if self.failure_share is None or self.failure_calls is None:
            return {}
        return {"prior_share": self.failure_share, "prior_calls": self.failure_calls}

    def record(self) -> np.void:
        """Return the sizes as payload-volume's step reads them."""
        made = np.zeros(1, SIZES)
        for i, (name, size) in enumerate(sorted(self.sizes.items())[:MOST_TYPES]):
            made["types"][0, i] = name_key(name)
            made["means"][0, i] = math.log(1.0 + size.bytes)
            made["variances"][0, i] = size.spread * size.spread
            made["weights"][0, i] = min(size.weight, MOST_WEIGHT)
        record: np.void = made[0]
        return record


class Fit:
    """Counts calls, failures and log sizes of senders, and fits priors to them."""

    def __init__(self) -> None:
        self.events = 0
        self._calls: dict[tuple[str, str], list[int]] = {}
        self._sizes: dict[tuple[str, str, str], list[float]] = {}
        self._decode = msgspec.json.Decoder(_Event).decode

    def add(self, values: Iterable[bytes | memoryview]) -> None:
        """Count events; what is none is left out."""
        for value in values:
            try:
                self._count(self._decode(value))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue

    def _count(self, event: _Event) -> None:
        if event.provider is None or event.kind != "webhook":
            return
        self.events += 1
        failed = event.verdict == "rejected" and event.reason in PROOF_REASONS
        if event.verdict == "verified" or failed:
            key = (event.provider, event.sender)
            if key in self._calls or len(self._calls) < MOST_KEPT:
                counts = self._calls.setdefault(key, [0, 0])
                counts[0] += 1
                counts[1] += failed
        if event.verdict == "verified" and event.event_type is not None:
            place = (event.provider, event.event_type, event.sender)
            if place in self._sizes or len(self._sizes) < MOST_KEPT:
                sums = self._sizes.setdefault(place, [0.0, 0.0, 0.0])
                x = math.log(1.0 + event.body_bytes)
                sums[0] += 1.0
                sums[1] += x
                sums[2] += x * x

    def priors(self) -> dict[str, Prior]:
        """Return what was fitted, by provider; nothing where too few senders were seen."""
        shares, sizes = defaultdict(list), defaultdict(list)
        for (provider, _), (n, f) in self._calls.items():
            shares[provider].append((n, f))
        for (provider, event_type, _), sums in self._sizes.items():
            sizes[provider, event_type].append(sums)
        found: dict[str, Prior] = {}
        for provider in sorted(shares):
            share, weight = fit_share(shares[provider]) or (None, None)
            types = {
                name: (sum(s[0] for s in of), fitted)
                for (whose, name), of in sizes.items()
                if whose == provider and (fitted := fit_size(of)) is not None
            }
            most = sorted(types, key=lambda name: (-types[name][0], name))[:MOST_TYPES]
            prior = Prior(share, weight, {name: types[name][1] for name in sorted(most)})
            if prior.sizes or prior.failure_share is not None:
                found[provider] = prior
        return found


def fit_share(senders: list[tuple[int, int]]) -> tuple[float, float] | None:
    """Return mean and weight of a beta distribution over the shares of senders, by moments.

    >>> mean, calls = fit_share([(1000, 10), (1000, 2), (1000, 60), (1000, 30), (1000, 12)])
    >>> round(mean, 4), round(calls)
    (0.0135, 52)
    """
    known = sorted((f / n, n) for n, f in senders if n >= LEAST_CALLS)
    if len(known) < LEAST_SENDERS:
        return None
    known = known[: len(known) - max(len(known) // 10, 1)]
    shares = np.array([share for share, _ in known])
    mean = float(np.clip(shares.mean(), 1e-3, 0.2))
    chance = mean * (1.0 - mean) * float(np.mean([1.0 / n for _, n in known]))
    between = max(float(shares.var(ddof=1)) - chance, 1e-12)
    weight = 0.5 * (mean * (1.0 - mean) / between - 1.0)  # the tenth left out held half of it
    return mean, float(np.clip(weight, 20.0, MOST_CALLS))


def fit_size(senders: list[list[float]]) -> SizePrior | None:
    """Return the sizes of a type at a sender of whom nothing is known.

    Each sender is given as number, sum and sum of squares of its log sizes.
    """
    known = [s for s in senders if s[0] >= LEAST_SIZES]
    if len(known) < LEAST_SENDERS:
        return None
    n = np.array([s[0] for s in known])
    means = np.array([s[1] for s in known]) / n
    variances = np.maximum(np.array([s[2] for s in known]) / n - means * means, 1e-4)
    within = float(np.median(variances))
    between = max(float(means.var(ddof=1)) - within * float(np.mean(1.0 / n)), 1e-4)
    weight = min(within / between, MOST_WEIGHT)
    usual = math.exp(float(np.median(means))) - 1.0
    return SizePrior(usual, math.sqrt(within + between), weight)


def text_of(priors: Mapping[str, Prior], events: int) -> str:
    """Return priors as the file that ``load_priors`` reads."""
    lines = [f"# Fitted by `callwatch priors` from {events:,} events. Changing it starts baselines"]
    lines += ["# afresh: it is part of the configuration's hash.", ""]
    for name, prior in priors.items():
        lines.append(f"[{json.dumps(name)}]")
        if prior.failure_share is not None:
            lines.append(f"failure_share = {prior.failure_share:.6f}")
            lines.append(f"failure_calls = {prior.failure_calls:.1f}")
        for event_type, size in prior.sizes.items():
            lines.append(f"[{json.dumps(name)}.sizes.{json.dumps(event_type)}]")
            lines.append(f"bytes = {size.bytes:.1f}")
            lines.append(f"spread = {size.spread:.4f}")
            lines.append(f"weight = {size.weight:.2f}")
        lines.append("")
    return "\n".join(lines)


_SHARE = {"failure_share": (0.0005, 0.5), "failure_calls": (1.0, 1e5)}
_SIZE = {"bytes": (0.0, 2.0**40), "spread": (0.0, 10.0), "weight": (0.0, 1e6)}


def load_priors(path: Path) -> dict[str, Prior]:
    """Read a file of priors; ConfigError names the first thing that is wrong in it."""
    try:
        text = load_toml(path)
    except IngestError as error:
        raise ConfigError(str(error)) from None
    found = {}
    for name, given in text.data.items():
        where = text.where(name)
        table = _table(given, where, name, (*_SHARE, "sizes"))
        types = _table(table.pop("sizes", {}), where, f"{name}.sizes", None)
        if len(types) > MOST_TYPES:
            msg = f"{where}: {name}.sizes: allowed are {MOST_TYPES} types (got {len(types)})"
            raise ConfigError(msg)
        share = _numbers(table, where, name, _SHARE) if table else {}
        sizes = {
            event_type: SizePrior(
                **_numbers(_table(size, where, event_type, tuple(_SIZE)), where, event_type, _SIZE)
            )
            for event_type, size in types.items()
        }
        found[name] = Prior(**share, sizes=sizes)
    return found


def _table(given: Any, where: str, name: str, allowed: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(given, dict):
        msg = f"{where}: {name} must be a table (got {given!r})"
        raise ConfigError(msg)
    for key in given:
        if allowed is not None and key not in allowed:
            msg = f"{where}: unknown key {key!r} of {name!r}; allowed: {', '.join(allowed)}"
            raise ConfigError(msg)
    return dict(given)


def _numbers(
    given: dict[str, Any], where: str, name: str, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    found = {}
    for key, (low, high) in ranges.items():
        value = given.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and low <= value <= high):  # type: ignore[operator]
            allowed = f"a number from {low:g} to {high:g}"
            msg = f"{where}: {key} of {name!r} must be {allowed} (got {value!r})"
            raise ConfigError(msg)
        found[key] = float(value)  # type: ignore[arg-type]
    return found
