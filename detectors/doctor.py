"""What is wrong with a set-up, as far as its files tell: one finding for each thing to mend.

Pure: the day is an argument. What depends on the machine is in ``detectors.doctor_machine``.
``error`` = detection or its safety suffers now; ``warning`` = it is blinder, or wrong sooner or
later; ``info`` = worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from enum import IntEnum
from ipaddress import ip_network
from typing import Final

from alerts.alert import to_rfc3339
from alerts.explain import safe
from detectors import health
from detectors.config import Config, Network
from detectors.event import SECOND
from detectors.registry import alerting_found
from ingest.inventory import Inventory
from ingest.profile_facts import LIMIT_DAYS, RULES
from ingest.profiles import GENERIC, Profile


class Grade(IntEnum):
    """How much a finding matters."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong: how bad, with what, and what to do."""

    grade: Grade
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.grade!s:7} {safe(self.subject, 120)}: {safe(self.text, 400)}"


NAMED: Final = 5
"""Names that one finding lists; the others are counted."""
GUESSED: Final = 10
"""Unknown names for which a known one is looked for; each is compared with all known ones."""
WIDE: Final = {4: 12, 6: 28}
"""A network of fewer bits than this holds a million addresses and more: no sender's own."""


def examine(config: Config, now: datetime, *, with_inventory: bool) -> list[Trouble]:
    """Everything that the files show, the worst first."""
    used = in_use(config) if config.inventory.senders else None
    found = [
        *of_profiles(config.profiles, used, now.date()),
        *of_detectors(config),
        *of_rows(config, int(now.timestamp()) * SECOND),
    ]
    if with_inventory:
        found += of_inventory(config.inventory, config.profiles, now)
    return ranked(found)


def ranked(found: Iterable[Trouble]) -> list[Trouble]:
    """The worst first, otherwise in their order."""
    return sorted(found, key=lambda trouble: -trouble.grade)


def in_use(config: Config) -> set[str]:
    """The profiles that registered senders use; `generic` wherever none is named."""
    named = {sender.provider for sender in config.inventory.senders.values()}
    return {name if name in config.profiles else GENERIC for name in named if name is not None} | (
        {GENERIC} if None in named else set()
    )


def of_profiles(
    profiles: Mapping[str, Profile], used: set[str] | None, today: date
) -> Iterator[Trouble]:
    """Facts that are old or from the future, and networks that cannot be right.

    Without an inventory nobody knows which profiles matter: old facts are then worth knowing.
    """
    for name, profile in profiles.items():
        subject = f"profile {name}"
        matters = profile.own or (used is not None and name in used)
        if used is None or matters:
            yield from _old(profile, subject, today, Grade.WARNING if matters else Grade.INFO)
        if matters and profile.source_policy == "published" and not profile.ranges:
            yield Trouble(
                Grade.WARNING,
                subject,
                "its provider publishes its networks, and the profile does not hold them: "
                "give `ranges` in a profile of your own, or at the sender in the inventory",
            )
        if matters:
            yield from of_networks(f"{subject}, ranges", profile.ranges)


def _old(profile: Profile, subject: str, today: date, grade: Grade) -> Iterator[Trouble]:
    for kind, limit in LIMIT_DAYS.items():
        days = {name: f.day for name, f in profile.facts.items() if RULES[name].kind == kind}
        old = {name: day for name, day in days.items() if (today - day).days > limit}
        if old:
            first = min(old, key=lambda name: old[name])
            source = profile.facts[first].source
            yield Trouble(
                grade,
                subject,
                f"{listed(old)} as of {profile.facts[first].as_of}, {(today - old[first]).days} "
                f"days ago (limit {limit}): read again, and give in a profile of yours: {source}",
            )
        ahead = sorted(name for name, day in days.items() if day > today)
        if ahead:
            yield Trouble(
                Grade.WARNING, subject, f"{listed(ahead)}: as_of is in the future: read the day"
            )


def of_networks(subject: str, networks: Iterable[str | Network]) -> Iterator[Trouble]:
    """Networks that no sender on the internet has, that hold too much, or each other."""
    found = [ip_network(str(network)) for network in networks]
    local = [str(network) for network in found if not network.is_global]
    if local:
        yield Trouble(
            Grade.WARNING,
            subject,
            f"{listed(local)}: private or reserved; behind a proxy every caller has such an "
            "address: have the receiver record the client's",
        )
    wide = [str(network) for network in found if network.prefixlen < WIDE[network.version]]
    if wide:
        yield Trouble(
            Grade.WARNING, subject, f"{listed(wide)}: so wide that strangers are inside: narrow it"
        )
    inner = [f"{b} in {a}" for a, b in overlaps([(network, "") for network in found])]
    if inner:
        yield Trouble(Grade.INFO, subject, f"{listed(inner)}: leave the inner ones out")


def overlaps(marked: list[tuple[Network, str]]) -> Iterator[tuple[Network, Network]]:
    """Pairs of networks, the outer one first, of which one holds the other and marks differ.

    Of every network only its nearest outer one is told; with marks of "" all pairs count.
    """
    outer: list[tuple[int, int, Network, str]] = []
    spans = [
        (one.version, int(one.network_address), int(one.broadcast_address), one, mark)
        for one, mark in marked
    ]
    for version, _, end, network, mark in sorted(spans, key=lambda s: (s[0], s[1], -s[2])):
        while outer and (outer[-1][0] != version or outer[-1][1] < end):
            outer.pop()
        for _, _, around, other in reversed(outer):
            if not mark or mark != other:
                yield around, network
                break
        outer.append((version, end, network, mark))


def of_detectors(config: Config) -> Iterator[Trouble]:
    """What nobody is told about, because it is switched off or still on trial."""
    running = {detector.id for detector in (*config.detectors, *config.shared)}
    running |= set() if config.health is None else {health.ID}
    for detector in alerting_found():
        subject = f"detectors.{detector.id}"
        wanted = detector.id not in config.disabled
        if wanted and detector.is_learned and detector.id not in config.models:
            continue  # without a model it is not meant to run
        if detector.id not in running:
            text = "is switched off: nothing of what it sees is told"
            yield Trouble(Grade.WARNING, subject, text)
        elif detector.id in config.shadow:
            text = "is in shadow mode, without an end: what it finds is marked and not delivered"
            yield Trouble(Grade.WARNING, subject, text)


def of_rows(config: Config, now: int) -> Iterator[Trouble]:
    """Overrides and allowlists that have no effect any more, or are about nobody."""
    rows: list[tuple[str, str | None, int]] = [
        (f"override.{nth} of {row.sender}, {row.detector}", row.sender, row.expires)
        for nth, row in enumerate(config.overrides, start=1)
    ]
    rows += [(row.name, row.sender, row.expires) for row in config.allows]
    registered = config.inventory.senders
    close = Guesses(registered)
    for subject, sender, expires in rows:
        if expires <= now:
            text = f"expired at {to_rfc3339(expires)[:16]}Z: remove it, or give a new end"
            yield Trouble(Grade.WARNING, subject, text)
        elif registered and sender is not None and sender not in registered:
            text = f"{sender} is not in the inventory{close(sender)}"
            yield Trouble(Grade.WARNING, subject, text)


def of_inventory(
    inventory: Inventory, profiles: Mapping[str, Profile], now: datetime
) -> Iterator[Trouble]:
    """What is registered wrongly, only half, or no more."""
    close = Guesses(profiles)
    if not inventory.senders:
        yield Trouble(Grade.WARNING, "inventory", "registers no sender")
    nameless = [name for name, sender in inventory.senders.items() if sender.provider is None]
    if nameless:
        text = f"{listed(nameless)}: no provider is named; each event's own claim decides"
        yield Trouble(Grade.INFO, "inventory", text)
    for name, sender in inventory.senders.items():
        subject = f"senders.{name}"
        if sender.provider is not None and sender.provider not in profiles:
            text = f"provider {sender.provider!r} has no profile, generic is used"
            text += close(sender.provider)
            yield Trouble(Grade.WARNING, subject, text)
        yield from of_networks(f"{subject}, ranges", sender.ranges)
    yield from _shared_networks(inventory)
    yield from _endpoints(inventory)
    for plan in inventory.planned:
        if plan.end <= now:
            text = f"is over since {plan.end:%Y-%m-%dT%H:%M}Z: remove it"
            yield Trouble(Grade.INFO, f"planned {plan.kind} of {plan.sender}", text)


def _shared_networks(inventory: Inventory) -> Iterator[Trouble]:
    marked: list[tuple[Network, str]] = [
        (ip_network(text), name)
        for name, sender in inventory.senders.items()
        for text in sender.ranges
    ]
    owners: dict[Network, list[str]] = {}
    for network, name in marked:
        owners.setdefault(network, []).append(name)
    for outer, inner in sorted(set(overlaps(marked)), key=str):
        names = list(dict.fromkeys([*owners[outer], *owners[inner]]))
        where = f"{outer}" if outer == inner else f"{inner} in {outer}"
        text = f"{where} belongs to several: {listed(names)}; one may then pass for the other"
        related = len({inventory.senders[name].provider for name in names}) == 1
        yield Trouble(Grade.INFO if related else Grade.WARNING, "inventory, ranges", text)


def _endpoints(inventory: Inventory) -> Iterator[Trouble]:
    used = {name for sender in inventory.senders.values() for name in sender.endpoints}
    unknown = sorted(used - inventory.endpoints.keys())
    if unknown:
        text = f"{listed(unknown)}: senders may call it, and [endpoints] does not have it"
        yield Trouble(Grade.WARNING, "inventory, endpoints", text)
    close = Guesses(inventory.senders)
    for name, endpoint in inventory.endpoints.items():
        subject = f"endpoints.{name}"
        strangers = sorted(set(endpoint.callers) - inventory.senders.keys())
        if strangers:
            hint = close(strangers[0])
            text = f"callers: {listed(strangers)}: no such sender is registered{hint}"
            yield Trouble(Grade.WARNING, subject, text)
        if not endpoint.callers and name not in used:
            yield Trouble(Grade.INFO, subject, "no registered sender calls it")


def listed(names: Iterable[str]) -> str:
    """Names in a row, the first few of them.

    >>> listed("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    every = list(names)
    more = f" and {len(every) - NAMED:,} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more


class Guesses:
    """What may have been meant by the first few unknown names, as the end of a sentence.

    >>> guess = Guesses(["acme", "beta"])
    >>> guess("acne"), guess("zebra"), guess("acne")
    ("; is 'acme' meant?", '', "; is 'acme' meant?")
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = known
        self._found: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return a question, or nothing where no known name is close or enough were asked."""
        if name not in self._found and len(self._found) < GUESSED:
            found = get_close_matches(name, list(self._known), n=1)
            self._found[name] = f"; is {found[0]!r} meant?" if found else ""
        return self._found.get(name, "")
