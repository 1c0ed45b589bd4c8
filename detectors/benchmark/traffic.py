"""Benign deliveries of the whole fleet, with the retries that failures cause."""

from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.arrivals import DAY, SECOND, arrivals
from detectors.benchmark.changes import Boost, ClockChange, Skew, of_kind
from detectors.benchmark.columns import Rows, Times, empty_rows, fresh_bits, in_order
from detectors.benchmark.origins import clients, hosts, origin_word, origins
from detectors.benchmark.outcomes import judge, rejected
from detectors.benchmark.senders import Sender
from detectors.benchmark.world import World, behaviour

SCANS_PER_DAY: Final = 25.0  # strangers trying paths that do not exist
BARE_CALLS_PER_DAY: Final = 3.0  # strangers calling a real endpoint without any signature
SCANNERS: Final = ("198.19.0.0/17",)
UNKNOWN: Final = "(unknown)"


def benign(world: World) -> Rows:
    """All deliveries of the fleet and the internet's usual noise, by time received."""
    parts = [sender_rows(world, sender) for sender in world.fleet]
    return in_order(np.concatenate([*parts, scanner_rows(world)]))


def sender_rows(world: World, sender: Sender) -> Rows:
    """Every attempt of every delivery of one sender, in no particular order."""
    rng = world.chance(sender.name, "traffic")
    boosts = tuple((c.span, c.factor) for c in of_kind(world.changes, Boost, sender.name))
    shifts = tuple((c.at, c.by) for c in of_kind(world.changes, ClockChange, sender.name))
    times = arrivals(
        rng, sender.rhythm, sender.daily, world.span,
        noise=sender.noise, factors=boosts, shifts=shifts,
    )  # fmt: skip
    rows = deliver(world, sender, first_attempts(world, sender, times, rng), rng)
    for silence in (span for span, factor in boosts if factor == 0.0):
        rows = rows[~silence.holds(rows["at"])]  # who is down does not retry either
    return rows


def first_attempts(world: World, sender: Sender, times: Times, rng: np.random.Generator) -> Rows:
    """A new delivery at each of the times, not judged yet."""
    acts = behaviour(sender)
    count = len(times)
    rows = empty_rows(count)
    rows["at"] = times
    rows["sender"] = world.place(sender.name)
    rows["who"] = who(world, sender)
    shares = np.array([event.share for event in sender.events])
    pick = rng.choice(len(sender.events), size=count, p=shares / shares.sum())
    names = [world.words.code(event_type=event.name) for event in sender.events]
    rows["event_type"] = np.array(names)[pick] if sender.kind == "webhook" else 0
    medians = np.array([event.median_bytes for event in sender.events], dtype=np.float64)[pick]
    spreads = np.array([event.log_spread for event in sender.events])[pick]
    rows["body_bytes"] = np.maximum(2, medians * np.exp(spreads * rng.standard_normal(count)))
    rows["delivery"] = fresh_bits(rng, count)
    if sender.kind == "webhook":
        rows["body"] = fresh_bits(rng, count)
    if acts.says_created:
        rows["created_at"] = _seconds(times - (rng.exponential(1.0, count) * SECOND))
    _send(world, sender, rows, rng)
    if acts.signed and sender.verified:
        rows["signature"] = fresh_bits(rng, count)
    return rows


def who(world: World, sender: Sender) -> int:
    """The word for what never changes about a sender."""
    return world.words.code(
        sender=sender.name,
        provider=sender.provider or None,
        kind=sender.kind,
        endpoint=sender.endpoint,
        method="POST" if sender.kind == "webhook" else "GET",
        content_type=behaviour(sender).content_type if sender.kind == "webhook" else None,
    )


def deliver(world: World, sender: Sender, first: Rows, rng: np.random.Generator) -> Rows:
    """First attempts and the retries that the provider makes until one is answered 2xx."""
    acts = behaviour(sender)
    waves, pending = [], first
    for number, gap in enumerate((*acts.gaps_s, None), start=1):
        failed = judge(world, sender, pending, rng)
        waves.append(pending)
        if gap is None or not failed.any():
            break
        pending = retry(world, sender, pending[failed], gap, number + 1, rng)
        pending = pending[pending["at"] < world.span.end]
    return np.concatenate(waves)


def retry(
    world: World, sender: Sender, rows: Rows, gap_s: float, number: int, rng: np.random.Generator
) -> Rows:
    """The next attempt of the deliveries: same id and body, signed as the provider does."""
    acts = behaviour(sender)
    again = rows.copy()
    jitter = 1.0 + acts.jitter * (2.0 * rng.random(len(rows)) - 1.0)
    again["at"] += (gap_s * jitter * SECOND).astype(np.int64)
    if acts.fresh_signature:
        again["signature"] = fresh_bits(rng, len(rows))
    if acts.counts_attempts:
        again["attempt"] = number
    _send(world, sender, again, rng)
    return again


def _send(world: World, sender: Sender, rows: Rows, rng: np.random.Generator) -> None:
    rows["id"] = fresh_bits(rng, len(rows))
    rows["origin"] = origins(world, sender, rows["at"], rng)
    rows["client"] = clients(world, sender, rows["at"], rng)
    if behaviour(sender).signs_time:
        delay = rng.exponential(0.3, len(rows)) + 0.03
        behind = np.zeros(len(rows))
        for change in of_kind(world.changes, Skew, sender.name):
            length = change.span.end - change.span.start
            behind += change.by * np.clip((rows["at"] - change.span.start) / length, 0.0, 1.0)
        rows["signed_at"] = _seconds(rows["at"] - delay * SECOND - behind)


def _seconds(times: npt.NDArray[np.float64]) -> Times:
    return times.astype(np.int64) // SECOND * SECOND


def scanner_rows(world: World) -> Rows:
    """Strangers: paths that do not exist, and now and then a real endpoint without a signature."""
    rng = world.chance(UNKNOWN, "scans")
    days = (world.span.end - world.span.start) / DAY
    scans, bare = rng.poisson([SCANS_PER_DAY * days, BARE_CALLS_PER_DAY * days]).tolist()
    rows = empty_rows(scans + bare)
    rows["at"] = rng.integers(world.span.start, world.span.end, size=len(rows))
    rows["id"] = fresh_bits(rng, len(rows))
    rows["path"][:scans] = fresh_bits(rng, scans)
    rows["sender"] = -1
    rows["who"] = world.words.code(
        sender=UNKNOWN, kind="webhook", endpoint="(unmatched)", method="POST"
    )
    rows["outcome"] = rejected(world, "endpoint_unknown")
    targets = [place for place, sender in enumerate(world.fleet) if sender.key_id is not None]
    for row, place in enumerate(rng.choice(targets, size=bare).tolist(), start=scans):
        rows["sender"][row] = place
        rows["who"][row] = who(world, world.fleet[place])
        rows["outcome"][row] = rejected(world, "signature_missing")
    rows["origin"] = [
        origin_word(world.words, address, 64500 + i % 8, "US", "trusted_proxy")
        for i, address in enumerate(hosts(rng, SCANNERS, len(rows)))
    ]
    rows["client"] = world.words.code(user_agent="Mozilla/5.0 zgrab/0.x")
    rows["receiver"] = world.words.code(receiver="platform/1.40.0@platform-1")
    rows["body_bytes"] = rng.integers(0, 400, size=len(rows))
    rows["duration_ms"] = rng.lognormal(1.0, 0.4, size=len(rows))
    return rows
