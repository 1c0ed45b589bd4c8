"""Steps of a scenario put on the stage: changes of the fleet's traffic, and calls that are added.

What a step does to its senders' own traffic becomes changes before that traffic is made; what it
adds is made afterwards, because replays and redeliveries need something to repeat. Everything that
a step leaves open (which of several senders, when between two moments) is drawn from the seed.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors.benchmark import attacks, changes, steps
from detectors.benchmark.arrivals import DAY, HOUR, Span
from detectors.benchmark.columns import Rows, Times, empty_rows, fresh_bits
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.origins import hosts, origin_word
from detectors.benchmark.outcomes import accepted, rejected
from detectors.benchmark.receivers import receive
from detectors.benchmark.staged_attacks import BOTNET, ONE_NETWORK, OTHER_NETWORK
from detectors.benchmark.traffic import UNKNOWN
from detectors.benchmark.world import World
from ingest.prefix import source_prefix

# A network that nothing else uses, for one source that tries many doors.
CRAWLER: Final = attacks.Attacker(("198.51.100.240/28",), (64509,), used=1, country="SG")
ATTACKERS: Final = {
    "one-network": ONE_NETWORK,
    "other-network": OTHER_NETWORK,
    "botnet": BOTNET,
    "crawler": CRAWLER,
}
MANY: Final = "198.19.128.0/17"  # networks for attacks that never come twice from the same
PAST: Final = 400 * DAY


@dataclass(frozen=True)
class Staged:
    """What a step has done: whom it concerns, and when its calls came."""

    name: str
    attack: bool
    senders: tuple[str, ...]
    sources: frozenset[str]
    start: int
    end: int
    at: tuple[int, ...]


@dataclass(frozen=True)
class Drawn:
    """A step with everything decided."""

    step: steps.Step
    name: str
    start: int
    senders: tuple[str, ...]


def draw(world: World, given: tuple[steps.Step, ...]) -> tuple[Drawn, ...]:
    """Decides for this seed what the steps leave open."""
    drawn = []
    for number, step in enumerate(given):
        rng = world.chance(f"step {number}")
        low, high = step.at
        start = world.span.start + int(rng.integers(low, high + 1))
        names: tuple[str, ...] = ()
        if isinstance(step, steps.Calls | steps.Resend):
            names = (str(rng.choice(step.sender)),)
        elif isinstance(step, steps.Befall):
            names = _fleet_names(world, step.senders)
        drawn.append(Drawn(step, step.name, start, names))
    return tuple(drawn)


def _fleet_names(world: World, given: tuple[str, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for word in given:
        if word in ("all", "webhooks"):
            names += [s.name for s in world.fleet if word == "all" or s.kind == "webhook"]
        else:
            names.append(word)
    return tuple(dict.fromkeys(names))


def changes_of(world: World, one: Drawn) -> list[changes.Change]:
    """What a step changes in the fleet's own traffic."""
    step, at = one.step, one.start
    found: list[changes.Change] = []
    for name in one.senders:
        match step:
            case steps.Outage():
                found.append(changes.Outage(name, Span(at, at + step.lasts), step.status))
            case steps.Silence():
                found.append(changes.Boost(name, Span(at, at + step.lasts), 0.0))
            case steps.Surge():
                found.append(changes.Boost(name, Span(at, at + step.lasts), step.times))
            case steps.Ramp():
                found += _ramp(world, name, step, at)
            case steps.Failing():
                span, sticks = Span(at, at + step.lasts), step.retries == "refused"
                found.append(changes.Failing(name, span, step.share, step.reason, sticks))
            case steps.Rotate():
                found.append(
                    changes.Rotation(name, at, step.key, step.adoption, step.refused, step.failures)
                )
            case steps.NewRange():
                found.append(changes.NewRange(name, at, step.networks, step.share))
            case steps.Skew():
                found.append(changes.Skew(name, Span(at, at + step.lasts), step.to))
            case steps.ClockChange():
                found.append(changes.ClockChange(name, at, step.by))
            case steps.Join():
                found.append(changes.Boost(name, Span(at - PAST, at), 0.0))
    return found


def _ramp(world: World, name: str, step: steps.Ramp, at: int) -> list[changes.Change]:
    found: list[changes.Change] = []
    days = -(-step.lasts // DAY)
    for n in range(days):
        end = at + (n + 1) * DAY if n + 1 < days else world.span.end
        factor = (1.0 + step.daily) ** (n + 1)
        span = Span(at + n * DAY, end)
        if step.of == "calls":
            found.append(changes.Boost(name, span, factor))
        else:
            share = min(world.sender(name).failure_share * factor, 0.99)
            found.append(changes.Failing(name, span, share))
    return found


def added_by(world: World, one: Drawn, rows: Rows) -> Rows:
    """The calls that a step adds to the rows so far (history included)."""
    world = replace(world, phase=f"{world.phase}/{one.name}")
    step = one.step
    if isinstance(step, steps.Resend):
        return _resend(world, one, step, rows)
    if isinstance(step, steps.Probe):
        times = attacks.paced(world.chance("pace"), one.start, step.count, step.every / 1e6)
        return _probe(world, step, times)
    if not isinstance(step, steps.Calls):
        return rows[:0]
    name = one.senders[0]
    times = attacks.paced(world.chance("pace"), one.start, step.count, step.every / 1e6)
    match step:
        case steps.Forge():
            return _forge(world, name, step, times)
        case steps.Replay():
            return _replay(world, name, step, rows, times)
        case steps.Steal():
            return _steal(world, name, step, times)
        case steps.Oversize():
            return _oversize(world, name, step, times)
        case steps.Backfill():
            return _backfill(world, name, step, times)
        case steps.Redeliver():
            return _redeliver(world, name, step, rows, times)
        case steps.AbuseRedirect():
            reasons = tuple((reason, 1.0 / len(step.reasons)) for reason in step.reasons)
            return attacks.forged(world, name, ATTACKERS[step.attacker], times, reasons)
    return attacks.signed(world, name, times)


def _forge(world: World, name: str, step: steps.Forge, times: Times) -> Rows:
    attacker = ATTACKERS[step.attacker]
    if step.networks:
        attacker = replace(attacker, networks=(MANY,), used=step.networks)
    reasons = tuple((reason, 1.0 / len(step.reasons)) for reason in step.reasons)
    return attacks.forged(world, name, attacker, times, reasons)


def _replay(world: World, name: str, step: steps.Replay, rows: Rows, times: Times) -> Rows:
    rng = world.chance("captured")
    low, high = step.captured
    parts = []
    for n in range(step.calls):
        mine = times[n :: step.calls]
        age = int(rng.integers(low, high + 1))
        found = attacks.captured(world, rows, name, int(times[0]) - age)
        inner = replace(world, phase=f"{world.phase}/{n}")
        parts.append(attacks.replayed(inner, found, mine, ATTACKERS[step.attacker]))
    added = np.concatenate(parts)
    if step.answer == "stale":
        added["outcome"] = rejected(world, "timestamp_stale", signature_ok=True)
    return added


def _steal(world: World, name: str, step: steps.Steal, times: Times) -> Rows:
    rows = attacks.signed(world, name, times, ATTACKERS[step.attacker])
    if step.key:
        rows["key"] = world.words.code(key_id=step.key)
    if step.answer == "key_retired":
        rows["outcome"] = rejected(world, "key_retired", signature_ok=True)
    return rows


def _oversize(world: World, name: str, step: steps.Oversize, times: Times) -> Rows:
    rows = attacks.signed(world, name, times)
    usual = max(
        kind.median_bytes * np.exp(2.33 * kind.log_spread) for kind in world.sender(name).events
    )
    rows["body_bytes"] = step.times * usual * world.chance("size").uniform(0.9, 1.3, len(rows))
    return rows


def _backfill(world: World, name: str, step: steps.Backfill, times: Times) -> Rows:
    rows = attacks.signed(world, name, times)
    age = world.chance("age").uniform(0.5, 1.5, len(rows)) * step.age
    rows["created_at"] = times - age.astype(np.int64)
    rows["body_bytes"] = rows["body_bytes"] * step.size
    return rows


def _redeliver(world: World, name: str, step: steps.Redeliver, rows: Rows, times: Times) -> Rows:
    span = Span(int(times[0]) - step.within, int(times[0]) - HOUR)
    old = attacks.between(rows, span, world.place(name))
    if len(old) < len(times):
        msg = f"step {step.name}: {name} made {len(old)} calls to choose {len(times)} from"
        raise BenchmarkError(msg)
    picks = np.sort(world.chance("chosen").choice(len(old), size=len(times), replace=False))
    return attacks.redelivered(world, old[picks], times)


def _resend(world: World, one: Drawn, step: steps.Resend, rows: Rows) -> Rows:
    """Resent by hand: signed anew where the provider does so, and taken by the receiver."""
    name, rng = one.senders[0], world.chance("resent")
    sender = world.sender(name)
    taken = accepted(world, sender)
    mine = rows[(rows["sender"] == world.place(name)) & (rows["at"] < one.start)]
    _, last = np.unique(mine["delivery"][::-1], axis=0, return_index=True)
    latest = mine[::-1][np.sort(last)]
    failed = latest[(latest["outcome"] != taken) & (latest["key"] > 0)]
    chosen: Rows = failed[rng.random(len(failed)) < step.share]
    if not len(chosen):
        return chosen
    times = attacks.paced(rng, one.start, len(chosen), step.every / 1e6)
    again = attacks.redelivered(world, chosen, times)
    again["outcome"] = taken
    if sender.provider in ("stripe", "standard-webhooks", "svix"):
        again["signature"] = fresh_bits(rng, len(again))
        again["signed_at"] = times // 1_000_000 * 1_000_000
    return again


def know_again(world: World, name: str, rows: Rows) -> None:
    """Lets the receiver say `duplicate` of whatever comes after a call that it has taken."""
    sender = world.sender(name)
    if not sender.tells_duplicates:
        return
    taken, known = accepted(world, sender), accepted(world, sender, duplicate=True)
    seen: set[bytes] = set()
    for n in np.flatnonzero((rows["sender"] == world.place(name)) & (rows["outcome"] == taken)):
        delivery = rows["delivery"][n].tobytes()
        if delivery in seen:
            rows["outcome"][n] = known
        seen.add(delivery)


def _probe(world: World, step: steps.Probe, times: Times) -> Rows:
    rng, attacker = world.chance("probe"), ATTACKERS[step.attacker]
    rows = empty_rows(len(times))
    rows["at"], rows["sender"] = times, -1
    rows["id"] = fresh_bits(rng, len(rows))
    address = hosts(rng, attacker.networks, 1)[0]
    rows["origin"] = origin_word(
        world.words, address, attacker.asns[0], attacker.country, "trusted_proxy"
    )
    rows["client"] = world.words.code(user_agent=attacker.user_agent)
    rows["body_bytes"] = rng.integers(0, 400, len(rows))
    rows["duration_ms"] = rng.lognormal(1.0, 0.4, len(rows))
    targets = [s for s in world.fleet if s.kind == "webhook"]
    rows["receiver"], _ = receive(world, targets[0], times, rng)
    if step.what == "paths":
        rows["path"] = fresh_bits(rng, len(rows))
        rows["who"] = world.words.code(
            sender=UNKNOWN, kind="webhook", endpoint="(unmatched)", method="POST"
        )
        rows["outcome"] = rejected(world, "endpoint_unknown")
    else:
        numbers = rng.choice(90_000, size=len(rows), replace=False)
        rows["who"] = [
            world.words.code(
                sender=f"acct-{10_000 + n}", kind="webhook", endpoint=targets[0].endpoint,
                method="POST",
            )
            for n in numbers.tolist()
        ]  # fmt: skip
        rows["outcome"] = rejected(world, "sender_unknown")
    return rows


def staged(world: World, one: Drawn, added: Rows, everything: Rows) -> Staged:
    """What a step has done, to judge alerts by: its calls, or those of the traffic it changes."""
    step, start = one.step, one.start
    calls = added
    if isinstance(step, steps.OfStream):
        end, calls = start + step.lasts, everything[:0]
    elif not len(added):
        places = [world.place(name) for name in one.senders]
        end = start + step.lasts if isinstance(step, steps.Lasting) else world.span.end
        calls = everything[np.isin(everything["sender"], places)]
        calls = calls[Span(start, end).holds(calls["at"])]
        if isinstance(step, steps.Rotate) and (step.refused or step.failures):
            calls = calls[calls["outcome"] == rejected(world, "signature_invalid")]
    else:
        end = int(added["at"].max()) + 1
    sources = frozenset(
        source_prefix(str(world.words.fields(code)["source_ip"]))
        for code in np.unique(added["origin"]).tolist()
    ) if step.attack else frozenset()  # fmt: skip
    at = tuple(np.sort(calls["at"]).tolist())
    return Staged(one.name, step.attack, one.senders, sources, start, end, at)
