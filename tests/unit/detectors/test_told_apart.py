"""What looks like an attack and is none, and what hides behind it: retries, receivers, batches."""

from __future__ import annotations

from alerts.alert import Alert
from tests.unit.detectors.streams import (
    DAY,
    ELSEWHERE,
    HOUR,
    MINUTE,
    SECOND,
    TUESDAY,
    Run,
    event,
    fp,
    traffic,
)

SHOP = {"provider": "shopify"}


def loud(run: Run, detector: str) -> list[Alert]:
    """Return the detector's incidents of low severity or above."""
    return [alert for alert in run.of(detector) if alert.severity.value != "info"]


def test_retries_of_what_was_never_accepted() -> None:
    """Retries after 404, or with an unknown status, are no replays, whatever their network."""
    run = Run(traffic(**SHOP))
    units = [
        event(
            TUESDAY + n * MINUTE + k * 10 * MINUTE,
            signature_fp=fp(f"unit {n}"),
            delivery_fp=fp(f"id {n}"),
            status=404 if n % 2 else None,
            source_ip=f"198.51.{100 + k}.9",
            attempt=k + 1,
            **SHOP,
        )
        for n in range(60)
        for k in range(5)
        if n % 2
    ]
    run.feed(units)
    assert loud(run, "replay-burst") == []


def test_replays_hidden_in_a_storm_of_retries() -> None:
    """Real retries of other calls do not pay for replays from a network outside (S07)."""
    run = Run(traffic(**SHOP))
    taken = [event(TUESDAY + n * SECOND, signature_fp=fp(f"taken {n}"), **SHOP) for n in range(40)]
    lost = [
        event(TUESDAY + HOUR + n * SECOND, signature_fp=fp(f"lost {n}"), status=503, **SHOP)
        for n in range(400)
    ]
    again = [
        event(TUESDAY + 2 * HOUR + n * 3 * SECOND, signature_fp=fp(f"lost {n}"), **SHOP)
        for n in range(400)
    ]
    replays = [
        event(
            TUESDAY + 2 * HOUR + n * 20 * SECOND,
            signature_fp=fp(f"taken {n}"),
            source_ip=ELSEWHERE,
            **SHOP,
        )
        for n in range(40)
    ]
    run.feed(taken, lost, again, replays)
    (found,) = loud(run, "replay-burst")
    assert found.severity.value == "critical"


def test_delivery_ids_are_no_signatures() -> None:
    """Without a signature fingerprint a retry with the same delivery id is no replay (S11)."""
    stripe = {"provider": "stripe", "signature_fp": None}
    run = Run(traffic(**stripe))
    run.feed(
        event(TUESDAY + n * SECOND + k * HOUR, delivery_fp=fp(f"id {n}"), status=s, **stripe)
        for n in range(30)
        for k, s in enumerate((500, 200))
    )
    assert loud(run, "replay-burst") == []


def test_two_receivers_see_a_call_once_each() -> None:
    """A gateway and the service behind it see each call: no replay; replays at the second are."""
    stripe = {"provider": "stripe"}
    run = Run(traffic(**stripe))
    both = [
        event(
            TUESDAY + n * MINUTE + k * 12 * SECOND,
            signature_fp=fp(f"both {n}"),
            receiver=receiver,
            **stripe,
        )
        for n in range(40)
        for k, receiver in enumerate(("edge/1@a", "api/2@b"))
    ]
    run.feed(both)
    assert loud(run, "replay-burst") == []
    run.feed(
        event(
            TUESDAY + 2 * HOUR + k * SECOND,
            signature_fp=fp("both 3"),
            receiver="api/2@b",
            source_ip=ELSEWHERE,
            **stripe,
        )
        for k in range(6)
    )
    assert [found.severity.value for found in loud(run, "replay-burst")] == ["critical"]


def test_a_nightly_batch_becomes_usual() -> None:
    """A batch every night is told a few times, then it is part of the course."""
    run = Run(traffic(days=10, per_hour=5))
    start = TUESDAY - TUESDAY % DAY
    nights = []
    for night in range(20):
        at = start + night * DAY + 2 * HOUR
        nights += [event(at + n * 5 * SECOND) for n in range(400)]
    run.feed(traffic(start, days=20, per_hour=5, seed=4), nights)
    told = [a for a in run.of("payload-volume") if a.reason in ("campaign", "count_high")]
    assert 1 <= len(told) <= 5
    assert max(a.opened_at for a in told) < start + 6 * DAY


def test_large_sizes_do_not_make_huge_ones_usual() -> None:
    """Single large payloads become a habit; a flood of far larger ones is still found."""
    run = Run(traffic())
    for n in range(8):
        run.feed([event(TUESDAY + n * 4 * HOUR, body_bytes=60_000)])
    run.alerts.clear()
    run.feed(event(TUESDAY + 2 * DAY + n * MINUTE, body_bytes=900_000) for n in range(20))
    assert [a.reason for a in loud(run, "payload-volume")] == ["size_high"]


def test_a_stolen_secret_of_a_sparse_sender() -> None:
    """A new network and a new client at once are news for a sender of few calls as well (S08)."""
    run = Run(traffic(days=25, per_hour=0.15))
    run.feed(
        event(
            TUESDAY + 11 * DAY + n * 10 * MINUTE,
            source_ip=ELSEWHERE,
            user_agent="curl/8",
            tls_fp="t13d-other",
        )
        for n in range(10)
    )
    (found,) = loud(run, "spoofed-source")
    assert found.severity.value in ("medium", "high")
