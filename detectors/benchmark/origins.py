"""Where calls come from: addresses and clients, as words of the vocabulary."""

import ipaddress
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.benchmark.arrivals import DAY
from detectors.benchmark.changes import NewRange, of_kind
from detectors.benchmark.columns import Times, Vocabulary
from detectors.benchmark.senders import Sender, Source, Style
from detectors.benchmark.world import World

Codes = npt.NDArray[np.int32]
BUILD_DAYS: Final = 6  # a new build of a caller's software every so many days
_V6_SHARE: Final = 0.25
_PLATFORMS: Final = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "iPhone; CPU iPhone OS 18_5 like Mac OS X",
    "Linux; Android 15; Pixel 9",
)


def hosts(rng: np.random.Generator, networks: tuple[str, ...], count: int) -> list[str]:
    """So many addresses of the networks, spread evenly over them."""
    spread = [ipaddress.ip_network(network) for network in networks]
    halves = rng.integers(0, 2**62, size=(count, 2)).tolist()
    offsets = [high << 62 | low for high, low in halves]  # IPv6 networks are wider than 64 bits
    return [
        str(spread[i % len(spread)][offsets[i] % spread[i % len(spread)].num_addresses])
        for i in range(count)
    ]


def origin_word(words: Vocabulary, address: str, asn: int, country: str, believed: str) -> int:
    """The code of one source address."""
    return words.code(source_ip=address, source_ip_from=believed, asn=asn, country=country)


def origins(world: World, sender: Sender, times: Times, rng: np.random.Generator) -> Codes:
    """A source for each call of the sender, by its style and the new ranges it got."""
    if sender.source.style is Style.BROWSERS:
        return _browsers(world, sender, len(times), rng)
    pool = _pool(world, sender)
    days = np.clip((times - world.years.start) // DAY, 0, len(pool) - 1)
    weights = 1.0 / np.arange(1, pool.shape[1] + 1) ** 0.5  # some hosts are busier than others
    picks = rng.choice(pool.shape[1], size=len(times), p=weights / weights.sum())
    codes = pool[days, picks]
    for change in of_kind(world.changes, NewRange, sender.name):
        moved = (times >= change.at) & (rng.random(len(times)) < change.share)
        fresh = _codes(
            world, sender, change.networks, change.used, world.lasting(sender.name, "new")
        )
        codes[moved] = rng.choice(fresh, size=int(moved.sum()))
    return codes


def believed(sender: Sender) -> str:
    """How the sender's receiver learns the address."""
    return "socket" if sender.mtls or sender.service == "identity" else "trusted_proxy"


def _codes(
    world: World,
    sender: Sender,
    networks: tuple[str, ...],
    count: int,
    rng: np.random.Generator,
) -> Codes:
    source = sender.source
    return np.array(
        [
            origin_word(world.words, address, source.asn, source.country, believed(sender))
            for address in hosts(rng, networks, count)
        ],
        dtype=np.int32,
    )


def _pool(world: World, sender: Sender) -> Codes:
    """Addresses in use on each day; a changing source replaces its oldest ones daily."""
    source: Source = sender.source
    rng = world.lasting(_operator(source), "addresses")
    days = int((world.years.end - world.years.start) // DAY) + 1
    if source.style is Style.FIXED:
        return np.tile(_codes(world, sender, source.networks, source.used, rng), (days, 1))
    count = source.used + source.new_per_day * (days - 1)
    codes = _codes(world, sender, source.networks, count, rng)
    first = np.arange(days)[:, None] * source.new_per_day
    in_use: Codes = codes[first + np.arange(source.used)[None, :]]
    return in_use


def _operator(source: Source) -> str:
    # Two senders of one provider share its hosts: the pool belongs to the operator.
    return ",".join(source.networks)


def _browsers(world: World, sender: Sender, count: int, rng: np.random.Generator) -> Codes:
    v4, v6 = sender.source.networks
    is_v6 = rng.random(count) < _V6_SHARE
    old, new = hosts(rng, (v4,), count), hosts(rng, (v6,), count)
    places = rng.choice(["DE", "FR", "US", "GB", "NL"], size=count, p=[0.5, 0.15, 0.15, 0.1, 0.1])
    return np.array(
        [
            origin_word(world.words, b if six else a, sender.source.asn, place, believed(sender))
            for a, b, six, place in zip(old, new, is_v6.tolist(), places.tolist(), strict=True)
        ],
        dtype=np.int32,
    )


def clients(world: World, sender: Sender, times: Times, rng: np.random.Generator) -> Codes:
    """The calling software of each call; builds change every few days, browsers by user."""
    client = sender.client
    if "{build}" not in client.user_agent:
        code = world.words.code(
            user_agent=client.user_agent,
            tls_fp=client.tls_fp,
            client_cert_fp=client.client_cert_fp,
        )
        return np.full(len(times), code, dtype=np.int32)
    if sender.source.style is Style.BROWSERS:
        builds = list(_PLATFORMS)
        picks = rng.integers(0, len(builds), size=len(times))
    else:
        count = int((world.years.end - world.years.start) // (BUILD_DAYS * DAY)) + 1
        hashes = world.lasting(client.user_agent, "builds").integers(0, 2**28, size=count)
        builds = [f"{value:07x}" for value in hashes.tolist()]
        picks = np.clip((times - world.years.start) // (BUILD_DAYS * DAY), 0, count - 1)
    codes = [
        world.words.code(user_agent=client.user_agent.format(build=build), tls_fp=client.tls_fp)
        for build in builds
    ]
    return np.array(codes, dtype=np.int32)[picks]
