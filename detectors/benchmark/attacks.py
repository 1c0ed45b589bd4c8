"""What attackers add to a fleet's traffic; each function returns only the added deliveries."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.benchmark.arrivals import SECOND, Span
from detectors.benchmark.columns import Rows, Times, fresh_bits
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.origins import believed, hosts, origin_word
from detectors.benchmark.outcomes import OK, accepted, rejected
from detectors.benchmark.receivers import receive
from detectors.benchmark.senders import Sender
from detectors.benchmark.traffic import first_attempts
from detectors.benchmark.world import World

FORGED: Final = (("signature_invalid", 1.0),)
GUESSED: Final = (("signature_invalid", 0.7), ("key_unknown", 0.3))


@dataclass(frozen=True)
class Attacker:
    """Where an attacker calls from, and with what software."""

    networks: tuple[str, ...]
    asns: tuple[int, ...]
    used: int = 1
    country: str = "NL"
    user_agent: str = "python-requests/2.32.3"


def paced(rng: np.random.Generator, start: int, count: int, gap_s: float) -> Times:
    """Times of `count` calls about `gap_s` apart, the first at `start`."""
    gaps = rng.uniform(0.6, 1.4, size=count) * gap_s * SECOND
    gaps[0] = 0.0
    return start + np.cumsum(gaps).astype(np.int64)


def forged(
    world: World,
    name: str,
    attacker: Attacker,
    times: Times,
    reasons: tuple[tuple[str, float], ...] = FORGED,
) -> Rows:
    """Calls in the sender's name that it never signed: rejected, at the size of real ones."""
    sender, rng = world.sender(name), world.chance(name, "forged")
    rows = first_attempts(world, sender, times, rng)
    _strange(world, sender, attacker, rows, rng)
    rows["receiver"], _ = receive(world, sender, times, rng)
    pick = rng.choice(len(reasons), size=len(rows), p=[share for _, share in reasons])
    rows["outcome"] = np.array([rejected(world, reason) for reason, _ in reasons])[pick]
    rows["duration_ms"] = rng.lognormal(np.log(9.0), 0.3, size=len(rows))
    return rows


def signed(world: World, name: str, times: Times, attacker: Attacker | None = None) -> Rows:
    """Calls with a right signature that the sender's business does not explain.

    Without an attacker they come through the sender itself (somebody abuses what triggers them),
    else from elsewhere with a stolen secret.
    """
    sender, rng = world.sender(name), world.chance(name, "signed")
    rows = first_attempts(world, sender, times, rng)
    if attacker is not None:
        _strange(world, sender, attacker, rows, rng)
    _let_in(world, sender, rows, rng)
    return rows


def replayed(world: World, captured: Rows, times: Times, attacker: Attacker) -> Rows:
    """One captured request sent again, byte for byte, and let in by its signature."""
    sender = world.fleet[int(captured["sender"][0])]
    rng = world.chance(sender.name, "replayed")
    rows = np.repeat(captured[:1], len(times))
    rows["at"] = times
    rows["id"] = fresh_bits(rng, len(times))
    _strange(world, sender, attacker, rows, rng)
    _let_in(world, sender, rows, rng, duplicate=True)
    return rows


def redelivered(world: World, chosen: Rows, times: Times) -> Rows:
    """Old deliveries sent again by the provider, on somebody's click: not an attack at all."""
    sender = world.fleet[int(chosen["sender"][0])]
    rng = world.chance(sender.name, "redelivered")
    rows = chosen.copy()
    rows["at"] = times
    rows["id"] = fresh_bits(rng, len(times))
    _let_in(world, sender, rows, rng, duplicate=True)
    return rows


def captured(world: World, rows: Rows, name: str, before: int) -> Rows:
    """The last delivery of the sender that was let in and answered well before a moment."""
    place = world.place(name)
    known = (rows["sender"] == place) & (rows["at"] < before)
    known &= rows["outcome"] == accepted(world, world.sender(name), OK)
    found: Rows = rows[known][-1:]
    if not len(found):
        msg = f"attack on {name}: nothing was delivered before {before}, so nothing can be captured"
        raise BenchmarkError(msg)
    return found


def between(rows: Rows, span: Span, place: int) -> Rows:
    """The deliveries of one sender within a span."""
    inside: Rows = rows[(rows["sender"] == place) & span.holds(rows["at"])]
    return inside


def _strange(
    world: World, sender: Sender, attacker: Attacker, rows: Rows, rng: np.random.Generator
) -> None:
    words = [
        origin_word(
            world.words,
            address,
            attacker.asns[i % len(attacker.asns)],
            attacker.country,
            believed(sender),
        )
        for i, address in enumerate(hosts(rng, attacker.networks, attacker.used))
    ]
    # Each address is used about equally often, in an order of its own.
    turns = rng.permutation(np.arange(len(rows)) % len(words))
    rows["origin"] = np.array(words)[turns]
    rows["client"] = world.words.code(user_agent=attacker.user_agent)
    rows["key"] = 0


def _let_in(
    world: World, sender: Sender, rows: Rows, rng: np.random.Generator, *, duplicate: bool = False
) -> None:
    rows["receiver"], _ = receive(world, sender, rows["at"], rng)
    rows["key"] = world.words.code(key_id=sender.key_id)
    rows["outcome"] = accepted(world, sender, duplicate=duplicate)
    rows["duration_ms"] = rng.lognormal(np.log(45.0), 0.5, size=len(rows))
