"""The attacks of the labelled day, each on a sender of its own.

Deadlines count from the first event of an attack. A second detector that sees the same attack is
allowed one alert of any severity: it is right, and inhibition is another stage's work. The ids are
the project's scenario ids: S01 to S25 are described with the benchmark; letters mark what is staged
in addition.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from detectors.benchmark import attacks
from detectors.benchmark.arrivals import HOUR, MINUTE, Span
from detectors.benchmark.columns import Rows
from detectors.benchmark.labels import Allowed, Kind, Label
from detectors.benchmark.outcomes import rejected
from detectors.benchmark.world import World

SPOOF: Final = "spoofed-source"
REPLAY: Final = "replay-burst"
FAILURES: Final = "signature-failure-spike"
VOLUME: Final = "payload-volume"

Staged: TypeAlias = tuple[Rows, Label]
Stage: TypeAlias = Callable[[World, Rows, int], Staged]
# Scanning and hosting networks that the fleet never uses (reserved: RFC 5737, 2544).
ONE_NETWORK: Final = attacks.Attacker(("192.0.2.0/25",), (64504,), used=2)
OTHER_NETWORK: Final = attacks.Attacker(("192.0.2.128/25",), (64505,), country="RO")
BOTNET: Final = attacks.Attacker(
    ("198.19.128.0/17", "198.18.0.0/18"), (64506, 64507, 64508), used=200, country="BR"
)


def attack(
    label: str,
    what: str,
    rows: Rows,
    sender: str,
    detector: str,
    reasons: tuple[str, ...],
    **limits: object,
) -> Staged:
    """Attack deliveries with their label; the window is that of the deliveries."""
    at = tuple(np.sort(rows["at"]).tolist())
    return rows, Label(
        label, what, Kind.ATTACK, sender, at[0], at[-1], detector, reasons, at=at,
        **limits,  # type: ignore[arg-type]
    )  # fmt: skip


def forged_posts(world: World, _rows: Rows, midnight: int) -> Staged:
    """S01: forged calls from one new network, one a second."""
    times = attacks.paced(world.chance("S01"), midnight + 11 * HOUR, 240, 1.0)
    return attack(
        "S01", "Forged payment notices from one new network, one a second for four minutes",
        attacks.forged(world, "stripe-eu", ONE_NETWORK, times), "stripe-eu", SPOOF,
        ("forged_from_new_network",), deadline_events=5, deadline_s=30.0,
        allowed=(Allowed(FAILURES),),
    )  # fmt: skip


def distributed_forgery(world: World, _rows: Rows, midnight: int) -> Staged:
    """S02: forged calls from two hundred addresses, at most two each."""
    times = attacks.paced(world.chance("S02"), midnight + 9 * HOUR + 20 * MINUTE, 300, 3.0)
    return attack(
        "S02", "Forged MFA approvals from 200 addresses in three networks, at most two from each",
        attacks.forged(world, "mfa-approvals", BOTNET, times), "mfa-approvals", SPOOF,
        ("distributed_forgery", "forged_from_new_network"), deadline_events=50, deadline_s=300.0,
        allowed=(Allowed(FAILURES),),
    )  # fmt: skip


def replay_of_fresh(world: World, rows: Rows, midnight: int) -> Staged:
    """S04: a captured call of a provider that signs every attempt anew."""
    found = attacks.captured(world, rows, "loyalty-points", midnight + 17 * HOUR)
    start = int(found["at"][0]) + 20_000_000
    times = attacks.paced(world.chance("S04"), start, 50, 4.0)
    return attack(
        "S04", "One captured call of points earned, sent again 50 times within its tolerance",
        attacks.replayed(world, found, times, OTHER_NETWORK), "loyalty-points", REPLAY,
        ("same_signature", "spread_replay"), deadline_events=3, deadline_s=10.0,
        allowed=(Allowed(SPOOF),),
    )  # fmt: skip


def replay_of_body_only(world: World, rows: Rows, midnight: int) -> Staged:
    """S05: a captured call of a provider that signs the body alone."""
    start = midnight + 14 * HOUR + 30 * MINUTE
    found = attacks.captured(world, rows, "ci-scanner", start - 3 * HOUR)
    times = attacks.paced(world.chance("S05"), start, 30, 20.0)
    return attack(
        "S05", "One captured scan result, sent again 30 times from another network",
        attacks.replayed(world, found, times, OTHER_NETWORK), "ci-scanner", REPLAY,
        ("same_signature", "off_schedule", "spread_replay"), deadline_events=5,
        allowed=(Allowed(SPOOF),),
    )  # fmt: skip


def key_guessing(world: World, _rows: Rows, midnight: int) -> Staged:
    """K01: somebody guesses the signing key; every call fails."""
    times = attacks.paced(world.chance("K01"), midnight + 7 * HOUR + 15 * MINUTE, 400, 0.8)
    return attack(
        "K01", "Key guessing on account provisioning: 400 wrong signatures within minutes",
        attacks.forged(world, "hr-provisioning", OTHER_NETWORK, times, attacks.GUESSED),
        "hr-provisioning", FAILURES, ("forgery", "mixed"), deadline_events=10,
        allowed=(Allowed(SPOOF),),
    )  # fmt: skip


def hard_rotation(world: World, rows: Rows, midnight: int) -> Staged:
    """S15: the sender switches keys before the receiver knows the new one."""
    span = Span(midnight + 13 * HOUR, midnight + 13 * HOUR + 30 * MINUTE)
    hit = attacks.between(rows, span, world.place("bank-feed"))
    refused = hit[hit["outcome"] == rejected(world, "signature_invalid")]
    _, label = attack(
        "S15", "Rotation without overlap: every call of the bank fails for half an hour",
        refused, "bank-feed", FAILURES, ("rotation",), deadline_events=5,
    )  # fmt: skip
    return refused[:0], label


def oversize(world: World, _rows: Rows, midnight: int) -> Staged:
    """S10: verified bodies thirty times the usual largest."""
    times = attacks.paced(world.chance("S10"), midnight + 15 * HOUR + 40 * MINUTE, 20, 25.0)
    rows = attacks.signed(world, "claims-intake", times)
    usual = max(
        kind.median_bytes * np.exp(2.33 * kind.log_spread)
        for kind in world.sender("claims-intake").events
    )
    rows["body_bytes"] = 30 * usual * world.chance("S10", "size").uniform(0.9, 1.3, len(rows))
    return attack(
        "S10", "Twenty verified claims with bodies thirty times the 99th percentile",
        rows, "claims-intake", VOLUME, ("size_high",), deadline_events=3,
        allowed=(Allowed(VOLUME, reasons=("bytes_high",)),),
    )  # fmt: skip


def flood(world: World, _rows: Rows, midnight: int) -> Staged:
    """V01: fraud that makes a provider call far more often than its users would."""
    times = attacks.paced(world.chance("V01"), midnight + 3 * HOUR, 4000, 0.3)
    return attack(
        "V01", "Text message fraud: 4,000 verified delivery reports in twenty minutes of the night",
        attacks.signed(world, "sms-status", times), "sms-status", VOLUME,
        ("count_high", "bytes_high"), deadline_s=900.0, severity="low",
        allowed=(Allowed(VOLUME, reasons=("bytes_high",)),),
    )  # fmt: skip


def stolen_secret(world: World, _rows: Rows, midnight: int) -> Staged:
    """S08: right signatures from a network, client and certificate that are not the sender's."""
    times = attacks.paced(world.chance("S08"), midnight + 18 * HOUR, 120, 60.0)
    return attack(
        "S08", "Stolen secret: right signatures without certificate, from outside the fixed range",
        attacks.signed(world, "agent-tasks", times, ONE_NETWORK), "agent-tasks", SPOOF,
        ("valid_from_new_network", "outside_published_ranges", "client_changed"),
        deadline_events=10, severity="high",
    )  # fmt: skip


ATTACKS: Final[tuple[Stage, ...]] = (
    forged_posts,
    distributed_forgery,
    replay_of_fresh,
    replay_of_body_only,
    key_guessing,
    hard_rotation,
    oversize,
    flood,
    stolen_secret,
)
