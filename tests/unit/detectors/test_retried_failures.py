"""One delivery that fails at each attempt is one failure; strangers' noise is none of a sender."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOME,
    HOUR,
    MINUTE,
    SECOND,
    TUESDAY,
    Event,
    Run,
    calls,
    event,
    fp,
    traffic,
    warm,
)

ID = "signature-failure-spike"
SPOOF = "spoofed-source"
RETRIES = (0, 60, 180, 420, 900, 1860, 3780)


def failing(n: int, start: int, every: int, **fields: object) -> Iterator[Event]:
    """Yield deliveries whose signature is wrong at each attempt of the provider's schedule."""
    for i in range(n):
        for after in RETRIES:
            t = start + i * every + after * SECOND
            yield event(t, rejected="signature_invalid", delivery_fp=fp(f"bad {i}"), **fields)


def test_a_delivery_that_always_fails_is_one_failure() -> None:
    """One bad delivery a day, tried seven times each, is told by nobody in three weeks."""
    run = warm()
    run.feed(traffic(TUESDAY, days=21, seed=5), failing(21, TUESDAY + HOUR, DAY))
    assert run.of(ID) == []


def test_many_deliveries_that_fail_are_found_among_their_retries() -> None:
    """A key was changed on one side: the fourth delivery is enough, whatever is tried again."""
    run = warm()
    run.feed(failing(8, TUESDAY + HOUR, 3 * MINUTE))
    (found,) = run.of(ID)
    assert (found.reason, found.severity.value) == ("rotation", "medium")
    assert found.opened_at - TUESDAY - HOUR <= 9 * MINUTE


def test_an_id_is_anybodys_word() -> None:
    """Calls under one id are found from elsewhere at once, from home after as many as are tried."""
    forged = calls(80, 5, rejected="signature_invalid", delivery_fp=fp("one"))
    run = warm()
    run.feed([call | {"source_ip": ELSEWHERE} for call in forged])
    assert run.opened(ID) <= 5
    run = warm()
    run.feed([call | {"source_ip": HOME[0]} for call in forged])
    assert run.opened(ID) <= 46


@pytest.mark.parametrize("every_h", [30, 100])
def test_scanners_do_not_add_up_on_a_sender_at_rest(every_h: int) -> None:
    """An unsigned call from elsewhere every day or four says nothing, however long nobody calls."""
    run = warm()
    noise = [
        event(TUESDAY + n * every_h * HOUR, rejected="signature_missing",
              source_ip=f"203.0.{n % 250}.7", user_agent="scan/1")
        for n in range(30 * 24 // every_h)
    ]  # fmt: skip
    run.feed(noise)
    assert run.loud() == []


def test_a_roaming_sender_that_fails_is_not_forged() -> None:
    """Who shows new networks all day fails from new ones, too; another client makes it forgery."""
    ips = [f"198.18.{n % 200}.{n % 7 + 1}" for n in range(400)]
    usual = [
        event(call_at, source_ip=ips[i % 400])
        for i, call_at in enumerate(range(TUESDAY - 5 * DAY, TUESDAY, 9 * MINUTE))
    ]
    bad = list(failing(1, TUESDAY, 1, source_ip="198.18.240.9"))[:3]
    run = Run(usual)
    run.feed(bad)
    assert run.of(SPOOF) == []
    run = Run(usual)
    run.feed([call | {"user_agent": "curl/8"} for call in bad])
    assert len(run.of(SPOOF)) == 1
