"""Fifteen days of an nginx access log of seeded traffic: callbacks, visitors, an attack."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

START = datetime(2026, 10, 5, tzinfo=UTC)
DAYS = 15
ATTACK = START + timedelta(days=14, hours=13)
ATTACKER = "203.0.113.66"
GITHUB = ("140.82.115.10", "140.82.115.103", "192.30.252.44")
STRIPE = ("3.18.12.63", "3.130.192.231", "13.235.14.237")
HOOKSHOT = "GitHub-Hookshot/1440bf9"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"


def line(at: datetime, ip: str, request: str, status: int, agent: str, size: int = 2) -> str:
    """A line of nginx's format `combined`."""
    return f'{ip} - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "{request}" {status} {size} "-" "{agent}"'


def month(seed: int = 1, *, attack: bool) -> Iterator[tuple[datetime, str]]:
    """Lines by time: two providers, a few wrong signatures, visitors, and perhaps an attack."""
    chance = random.Random(seed)
    found = [*_calls(chance, "/hooks/github", GITHUB, HOOKSHOT, per_hour=18)]
    found += _calls(
        chance, "/hooks/stripe?v=2", STRIPE, "Stripe/1.0 (+https://stripe.com/docs/webhooks)", 25
    )
    found += _visitors(chance)
    if attack:
        for n in range(120):
            at = ATTACK + timedelta(seconds=2 * n + chance.random())
            found.append((at, line(at, ATTACKER, "POST /hooks/github HTTP/1.1", 401, HOOKSHOT, 19)))
    return iter(sorted(found))


def _calls(
    chance: random.Random, path: str, ips: tuple[str, ...], agent: str, per_hour: float
) -> Iterator[tuple[datetime, str]]:
    at = START
    while True:
        at += timedelta(hours=chance.expovariate(per_hour))
        if at >= START + timedelta(days=DAYS):
            return
        status = 401 if chance.random() < 0.002 else 200
        yield at, line(at, chance.choice(ips), f"POST {path} HTTP/1.1", status, agent)


def _visitors(chance: random.Random) -> Iterator[tuple[datetime, str]]:
    for _ in range(3000):
        at = START + timedelta(days=DAYS * chance.random())
        path = chance.choice(("/", "/favicon.ico", f"/product/{chance.randrange(99999)}"))
        ip = f"198.51.100.{chance.randrange(1, 255)}"
        yield at, line(at, ip, f"GET {path}?session=s3cr3t HTTP/1.1", 200, BROWSER, 5120)
