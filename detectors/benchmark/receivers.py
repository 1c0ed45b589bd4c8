"""The services that receive: two instances each, deployed now and then, failing now and then."""

from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.arrivals import DAY, HOUR, MINUTE, SECOND
from detectors.benchmark.changes import Outage, of_kind
from detectors.benchmark.columns import Times
from detectors.benchmark.senders import Sender
from detectors.benchmark.world import World

TRANSIENT: Final = 0.0008  # share of calls that a healthy receiver answers with a 5xx
DEPLOY_FAILS: Final = 0.4  # share of calls that fail while an instance restarts
RESTART: Final = 40 * SECOND
SECOND_INSTANCE: Final = 3 * MINUTE  # instances are deployed one after the other
DEPLOY_EVERY: Final = 2.5 * DAY


def deploys(world: World, service: str) -> Times:
    """When the service's first instance is deployed: on working days, in working hours."""
    rng = world.lasting(service, "deploys")
    span = world.years
    count = int((span.end - span.start) / DEPLOY_EVERY) * 2 + 4
    gaps = rng.exponential(DEPLOY_EVERY, size=count)
    days = (span.start + np.cumsum(gaps).astype(np.int64)) // DAY
    days = np.unique(days[(days + 3) % 7 < 5])
    times = days * DAY + rng.integers(9 * HOUR, 16 * HOUR, size=len(days))
    return times[times < span.end]


def receive(
    world: World, sender: Sender, times: Times, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The receiver of each call (word) and its failure: a 5xx status, or 0."""
    instance = rng.integers(0, 2, size=len(times))
    rollouts = deploys(world, sender.service)
    since = times - instance * SECOND_INSTANCE
    version = np.searchsorted(rollouts, since, side="right")
    codes = np.array(
        [
            [world.words.code(receiver=f"{sender.service}/1.{40 + v}.0@{sender.service}-{i + 1}")
             for i in range(2)]
            for v in range(len(rollouts) + 1)
        ],
        dtype=np.int32,
    )  # fmt: skip
    status = rng.choice([500, 502, 504], size=len(times))
    status[rng.random(len(times)) >= TRANSIENT] = 0
    if len(rollouts):
        last = rollouts[np.maximum(version - 1, 0)]
        restarting = (version > 0) & (since - last < RESTART)
        status[restarting & (rng.random(len(times)) < DEPLOY_FAILS)] = 503
    for outage in of_kind(world.changes, Outage, sender.name):
        status[outage.span.holds(times)] = outage.status
    return codes[version, instance], status
