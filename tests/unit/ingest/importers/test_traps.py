"""What happens to a receiver on benign days stays quiet in imported logs; what is news is told."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

import callwatch
from tests.unit.ingest.importers.access_log import ATTACK, ATTACKER, DAYS, START, line, month

Rows = Iterable[tuple[datetime, str]]
MAPPING = """
unmatched = "rejected"
[[route]]
path = "/hooks/github"
sender = "github"
provider = "github"
accepted = "verified"
methods = ["POST"]
[[route]]
path = "/hooks/{sender}"
accepted = "verified"
methods = ["POST"]
"""


def between(at: datetime, hours: float) -> bool:
    """Whether it is the time of the trap."""
    return ATTACK <= at < ATTACK + timedelta(hours=hours)


def outage(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """The application is down for an hour and a half: the server answers 503."""
    for at, text in rows:
        yield at, text.replace('" 200 ', '" 503 ') if between(at, 1.5) else text


def gone(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """The server is down for three hours: nothing is logged."""
    return ((at, text) for at, text in rows if not between(at, 3))


def rotation(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """Stripe's key was changed on one side: for an hour all of its calls are refused."""
    for at, text in rows:
        hit = between(at, 1) and "stripe" in text
        yield at, text.replace('" 200 ', '" 401 ') if hit else text


def scan(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """A scanner asks for 200 paths that are not there."""
    asked = [ATTACK + timedelta(seconds=3 * n) for n in range(200)]
    found = [(at, line(at, ATTACKER, f"GET /wp-{n}.php HTTP/1.1", 404, "zgrab"))
             for n, at in enumerate(asked)]  # fmt: skip
    return iter(sorted([*rows, *found]))


def silent(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """Stripe stops calling; the server goes on, as the balancer's checks of its health show."""
    checks = (START + timedelta(minutes=n) for n in range(DAYS * 1440))
    alive = [(at, line(at, "10.0.0.2", "GET /healthz HTTP/1.1", 200, "ELB-HealthChecker/2.0"))
             for at in checks]  # fmt: skip
    return iter(sorted(
        [*((at, text) for at, text in rows if at < ATTACK or "stripe" not in text), *alive]
    ))  # fmt: skip


def flood(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """Sixty times as many calls as usual from Stripe's own network, all accepted."""
    usual = next(text for _, text in month(seed=2, attack=False) if "stripe" in text)
    asked = [ATTACK + timedelta(seconds=2.4 * n) for n in range(1500)]
    start, end = usual.index("["), usual.index("]")
    found = [(at, f"{usual[:start]}[{at:%d/%b/%Y:%H:%M:%S} +0000{usual[end:]}") for at in asked]
    return iter(sorted([*rows, *found]))


def stolen(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """Somebody else signs right, from a network and with a client that were never seen."""
    asked = [ATTACK + timedelta(seconds=30 * n) for n in range(20)]
    found = [(at, line(at, ATTACKER, "POST /hooks/github HTTP/1.1", 200, "python-requests/2.31"))
             for at in asked]  # fmt: skip
    return iter(sorted([*rows, *found]))


def new_range(rows: Rows) -> Iterator[tuple[datetime, str]]:
    """GitHub goes on from another of its published networks."""
    for at, text in rows:
        moved = at >= ATTACK and "/hooks/github" in text
        yield at, f"140.82.121.9 {text.partition(' ')[2]}" if moved else text


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (outage, set()),
        (gone, set()),
        (rotation, {("signature-failure-spike", "rotation", "medium")}),
        (scan, {("endpoint-probe", "endpoint_enumeration", "medium")}),
        (silent, {("sender-silence", "silent", "medium")}),
        (flood, {("payload-volume", "count_high", "medium")}),
        (stolen, {("spoofed-source", "outside_published_ranges", "high")}),
        (new_range, set()),
    ],
)  # fmt: skip
def test_what_is_told_of_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Rows], Rows],
    expected: set[tuple[str, str, str]],
) -> None:
    """Outages are silent, a rotation is no forgery, a scan of unknown paths is one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLWATCH_PEPPER", bytes(range(32)).hex())
    Path("access.log").write_text(
        "".join(f"{text}\n" for _, text in happens(month(seed=2, attack=False)))
    )
    Path("mapping.toml").write_text(MAPPING)
    steps = (
        "import nginx access.log --mapping mapping.toml --out events.jsonl.gz",
        "detect events.jsonl.gz --alerts alerts.jsonl --now 2026-11-01",
    )
    for step in steps:
        done = CliRunner().invoke(callwatch.cli, step.split())
        assert done.exit_code == 0, done.output
    states = [json.loads(text) for text in Path("alerts.jsonl").read_text().splitlines()]
    last = {state["id"]: state for state in states}.values()
    loud = [alert for alert in last if alert["severity"] != "info"]
    assert {(one["detector"], one["reason"], one["severity"]) for one in loud} == expected
    assert all(alert["opened_at"] >= f"{ATTACK:%Y-%m-%dT%H:%M}" for alert in loud)
