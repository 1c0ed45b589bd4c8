"""Control records: what verdicts, plans and trials in the stream do, and what they never do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from alerts.alert import Alert
from detectors import checks
from detectors.base import Table, close, is_held
from detectors.config import Config
from detectors.controls import MOST, Controls
from detectors.core import Core
from detectors.engines.local import run_local
from detectors.event import DAY, HOUR, MINUTE, SECOND
from detectors.registry import detectors_found
from detectors.tuning import Tuning
from ingest.control import (
    Control,
    OverrideControl,
    PlanControl,
    VerdictControl,
    dump_control,
)
from ingest.sources import cut
from tests.states import packed_again
from tests.unit.detectors.streams import ELSEWHERE, MONDAY, TUESDAY, calls, encode, traffic, warm

KEY = bytes(range(32))
CONFIG = Config(control_key=KEY)
SPIKE, SPOOF, VOLUME = "signature-failure-spike", "spoofed-source", "payload-volume"


def time(us: int) -> datetime:
    """Return microseconds as a time."""
    return datetime.fromtimestamp(us / 1e6, UTC)


def common(n: int, at: int, expires: int, sender: str = "acme") -> dict[str, Any]:
    """Return what every record has."""
    return {
        "id": str(UUID(int=n)),
        "at": time(at),
        "by": "ana",
        "sender": sender,
        "reason": "ticket 4711",
        "expires": time(expires),
    }


def verdict(
    alert: Alert, what: str, *, at: int, expires: int, n: int = 1, **more: Any
) -> VerdictControl:
    """Return a verdict on an alert."""
    return VerdictControl(
        **common(n, at, expires),
        alert=alert.id,
        verdict=what,  # type: ignore[arg-type]
        detector=alert.detector,
        finding=alert.reason,
        severity=alert.severity.value,
        **more,
    )


class Log:
    """A core that knows the usual traffic of ``acme`` and is fed as a log is."""

    def __init__(self) -> None:
        self.core = Core.restore(CONFIG, warm().core.snapshot())
        self.alerts: list[Alert] = []
        self.now = TUESDAY
        self.offset = 0

    def feed(self, *values: Any) -> list[Alert]:
        """Feed events and control records, in this order."""
        found = []
        for one in values:
            if isinstance(one, dict):
                self.now = max(
                    self.now, int(datetime.fromisoformat(one["received_at"]).timestamp() * 1e6)
                )
                value = encode([one])[0]
            else:
                value = one if isinstance(one, bytes) else dump_control(one, KEY)
            outcome = self.core.feed_log([value], [self.offset], [self.now])
            self.rejected = outcome.rejected
            found += outcome.alerts
            self.offset += 1
        self.alerts += found
        return found

    def of(self, detector: str) -> list[Alert]:
        """Return all states of one detector's alerts."""
        return [alert for alert in self.alerts if alert.detector == detector]


def failing(n: int, start: int = TUESDAY, **fields: Any) -> list[dict[str, Any]]:
    """Return calls from home that fail verification, one every 30 s."""
    return calls(n, 30, start, rejected="signature_invalid", **fields)


def test_a_benign_verdict_closes_and_holds_the_same_finding_back_until_it_expires() -> None:
    """The incident closes with the analyst's words; the finding is told again after the end."""
    log = Log()
    log.feed(*failing(12))
    opened = log.of(SPIKE)[-1]
    (closed,) = log.feed(verdict(opened, "benign", at=log.now, expires=TUESDAY + DAY))
    assert (closed.id, closed.status, closed.close_reason) == (opened.id, "closed", "verdict")
    assert closed.verdict == "benign"
    assert closed.notes == ("benign: said by ana (ticket 4711; until 2025-06-18T10:00Z)",)
    assert log.feed(*traffic(TUESDAY + HOUR, days=0.1), *failing(20, TUESDAY + 4 * HOUR)) == []
    assert log.core.counters["suppressed.verdict"] >= 1
    log.feed(*traffic(TUESDAY + 7 * HOUR, days=0.8))
    late = log.feed(*failing(20, TUESDAY + DAY + 6 * HOUR))
    assert late[0].status == "open"
    assert not any("verdict" in note for note in late[0].notes)


def test_what_a_verdict_does_to_a_row_is_in_the_next_checkpoint() -> None:
    """A control record touches rows that no event has located; the next checkpoint has them."""
    log = Log()
    log.feed(*failing(12))
    opened = log.of(SPIKE)[-1]
    written = [b"".join(log.core.copied(whole=True).pieces())]
    for said in ("attack", "benign"):
        expires = TUESDAY + DAY if said == "attack" else TUESDAY + 9 * DAY
        log.feed(verdict(opened, said, at=log.now, expires=expires, n=len(written)))
        written.append(b"".join(log.core.copied(whole=False).pieces()))
        assert packed_again(written[0], written[1:]) == log.core.snapshot()


def test_a_benign_verdict_is_about_that_finding_alone() -> None:
    """Forged calls and a graver state of the same sender are told."""
    log = Log()
    log.feed(*failing(12))
    opened = log.of(SPIKE)[-1]
    log.feed(verdict(opened, "benign", at=log.now, expires=TUESDAY + 30 * DAY))
    forged = calls(60, 5, TUESDAY + HOUR, rejected="signature_invalid", source_ip=ELSEWHERE)
    assert {a.detector for a in log.feed(*forged)} >= {SPOOF}


def test_a_graver_finding_than_the_judged_one_is_told_with_a_note() -> None:
    """An info that was judged benign does not hide the theft that it becomes."""
    log = Log()
    log.feed(*calls(2, 60, source_ip=ELSEWHERE))
    (info,) = log.of(SPOOF)
    assert info.severity == "info"
    log.feed(verdict(info, "benign", at=log.now, expires=TUESDAY + 30 * DAY))
    later = calls(6, 60, TUESDAY + HOUR, source_ip=ELSEWHERE, user_agent="curl/8", tls_fp="x")
    told = [a for a in log.feed(*later) if a.detector == SPOOF]
    assert [a.severity.value for a in told] == ["high"]
    assert any(note.endswith("was about a less grave finding") for note in told[0].notes)


def test_a_verdict_may_be_about_one_network() -> None:
    """The same finding from elsewhere is told."""
    log = Log()
    forged = {"rejected": "signature_invalid"}
    log.feed(*calls(20, 5, source_ip=ELSEWHERE, **forged))
    found = log.of(SPOOF)[-1]
    log.feed(verdict(found, "benign", at=log.now, expires=TUESDAY + DAY, source="203.0.113.0/24"))
    quiet = log.feed(*calls(20, 5, TUESDAY + 3 * HOUR, source_ip=ELSEWHERE, **forged))
    assert SPOOF not in {a.detector for a in quiet}
    loud = log.feed(*calls(20, 5, TUESDAY + 9 * HOUR, source_ip="198.18.7.7", **forged))
    assert SPOOF in {a.detector for a in loud}


def test_an_attack_verdict_keeps_the_freeze() -> None:
    """What would have closed as chronic after a week stays open until the verdict ends."""
    plain, held = Log(), Log()
    weeks = [
        c
        for d in range(12)
        for c in calls(280, 300, TUESDAY + d * DAY, rejected="signature_invalid")
    ]
    plain.feed(*weeks)
    assert "chronic" in {a.close_reason for a in plain.of(SPIKE)}
    held.feed(*weeks[:20])
    opened = held.of(SPIKE)[-1]
    end = TUESDAY + 10 * DAY
    (told,) = held.feed(verdict(opened, "attack", at=held.now, expires=end))
    assert (told.id, told.status, told.verdict) == (opened.id, "updated", "attack")
    held.feed(*weeks[20:])
    closed = [a for a in held.of(SPIKE) if a.status == "closed"]
    assert [a.close_reason for a in closed] == ["chronic"]
    assert closed[0].id == opened.id
    assert closed[0].updated_at >= end


def test_an_attack_that_is_over_stays_open_until_its_verdict_ends() -> None:
    """Without further events it closes at the verdict's end, or at once by another verdict."""
    log = Log()
    log.feed(*failing(12))
    opened = log.of(SPIKE)[-1]
    log.feed(verdict(opened, "attack", at=log.now, expires=TUESDAY + 2 * DAY))
    row = log.core.table(("sender",)).rows[SPIKE][0]
    assert is_held(row)
    assert SPIKE not in {a.detector for a in log.feed(*traffic(TUESDAY + HOUR, days=1.5))}
    again = Core.restore(CONFIG, log.core.snapshot())
    (closed,) = (a for a in log.feed(*traffic(TUESDAY + 37 * HOUR, days=1)) if a.detector == SPIKE)
    assert closed.close_reason == "expired"
    assert TUESDAY + 2 * DAY <= closed.updated_at <= TUESDAY + 2 * DAY + 2 * MINUTE
    benign = verdict(opened, "benign", at=log.now, expires=TUESDAY + 9 * DAY, n=2)
    alerts = again.feed_log([dump_control(benign, KEY)], [10**6], [log.now]).alerts
    assert [(a.close_reason, a.verdict) for a in alerts] == [("verdict", "benign")]


def test_an_attack_verdict_lifts_what_held_the_finding_back() -> None:
    """It overrules an earlier benign verdict, and tells an incident that was held back."""
    log = Log()
    log.feed(*failing(12))
    first = log.of(SPIKE)[-1]
    log.feed(verdict(first, "benign", at=log.now, expires=TUESDAY + 30 * DAY))
    log.feed(*traffic(TUESDAY + HOUR, days=0.1))
    assert log.feed(*failing(12, TUESDAY + 4 * HOUR)) == []
    (slot,) = log.core.incidents.open
    hidden = log.core.incidents.open[slot]
    found = first.model_copy(update={"id": hidden.id})
    (told,) = log.feed(verdict(found, "attack", at=log.now, expires=TUESDAY + 9 * DAY, n=2))
    assert (told.status, told.verdict, told.suppressed > 0) == ("open", "attack", True)
    other = Log()
    other.core = Core.restore(CONFIG, log.core.snapshot())
    assert len(json.loads(json.dumps(other.core.controls.snapshot()))["live"]) == 1


def test_a_plan_and_a_trial_in_the_stream_take_effect_where_they_stand() -> None:
    """Events before the record are judged as before, events after it under it."""
    log = Log()
    starts = TUESDAY - DAY
    plan = PlanControl(
        **common(1, TUESDAY, TUESDAY + 3 * DAY), plan="rotation", starts=time(starts)
    )
    log.feed(plan, *failing(12))
    assert {a.severity.value for a in log.of(SPIKE)} == {"info"}
    assert log.of(SPIKE)[0].summary.startswith("planned rotation (ticket 4711): acme: ")
    late = Log()
    late.feed(*failing(12), plan)
    assert "medium" in {a.severity.value for a in late.of(SPIKE)}
    trial = Log()
    trial.feed(
        OverrideControl(**common(1, TUESDAY, TUESDAY + 3 * DAY), detector=SPIKE), *failing(12)
    )
    assert {a.shadow for a in trial.of(SPIKE)} == {True}


def test_a_plan_in_the_stream_reaches_the_column_of_the_events() -> None:
    """Detectors see it as they see one of the inventory: that sender's, within its time."""
    controls = Controls(Tuning(()))
    plan = PlanControl(
        **common(1, MONDAY, MONDAY + DAY), plan="campaign", starts=time(MONDAY + HOUR)
    )
    assert controls.take(plan, MONDAY) == ""
    core = Core(CONFIG)
    events = core._decoder.values(
        encode(
            [
                *calls(3, 3600, MONDAY),
                *calls(1, 1, MONDAY + DAY),
                *calls(1, 1, MONDAY + HOUR, sender="b"),
            ]
        )
    ).batch.columns
    controls.mark(events)
    assert events["plan"].tolist() == [0, 4, 4, 0, 0]


def test_what_is_wrong_repeated_or_over_has_no_effect_and_is_counted() -> None:
    """Forged records are rejected with a reason; copies and expired ones are ignored."""
    log = Log()
    log.feed(*failing(12))
    opened = log.of(SPIKE)[-1]
    benign = verdict(opened, "benign", at=log.now - DAY, expires=TUESDAY + DAY)
    assert log.feed(dump_control(benign, b"x" * 32)) == []
    assert [(r.code, r.offset) for r in log.rejected] == [("control_invalid", log.offset - 1)]
    assert log.feed(dump_control(benign)) == []
    over = verdict(opened, "benign", at=log.now - 3 * DAY, expires=TUESDAY, n=2)
    assert log.feed(over) == []
    assert len(log.feed(benign)) == 1
    attack = verdict(opened, "attack", at=log.now, expires=TUESDAY + DAY, n=3)
    assert log.feed(attack, benign) == []
    counted = {k: v for k, v in log.core.counters.items() if "control" in k}
    assert counted == {
        "rejected.control_invalid": 2,
        "controls.expired": 1,
        "controls": 4,
        "controls.no_incident": 1,
        "controls.repeated": 1,
    }


def test_without_a_key_no_record_is_believed() -> None:
    """A worker that was given no control key rejects all of them, for that reason."""
    core = Core(Config())
    plan = PlanControl(**common(1, MONDAY, MONDAY + DAY), plan="campaign", starts=time(MONDAY))
    outcome = core.feed_log([dump_control(plan, KEY)], [0], [MONDAY])
    assert [r.code for r in outcome.rejected] == ["control_key_missing"]
    assert core.counters["rejected.control_key_missing"] == 1
    assert "CALLWATCH_CONTROL_KEY" in outcome.rejected[0].message


def test_what_is_remembered_is_bounded_and_forgotten_after_its_end() -> None:
    """Signed records beyond the limit are refused; a day after their end they are gone."""
    controls = Controls(Tuning(()))
    for n in range(MOST + 10):
        plan = PlanControl(**common(n, MONDAY, MONDAY + DAY), plan="campaign", starts=time(MONDAY))
        assert controls.take(plan, MONDAY) == ("" if n < MOST else "full")
    assert len(controls.snapshot()["live"]) == MOST
    later = MONDAY + 2 * DAY + SECOND
    plan = PlanControl(**common(0, MONDAY, later + DAY), plan="campaign", starts=time(MONDAY))
    assert controls.take(plan, later) == ""
    assert len(controls.snapshot()["live"]) == 1


TIMED = {f"{d.id}-{'+'.join(t.key)}": t for d in detectors_found() for t in d.tables if t.timer}


@pytest.mark.parametrize("table", TIMED.values(), ids=TIMED)
def test_a_released_row_is_closed_whatever_it_held(table: Table) -> None:
    """Every table's release leaves no open incident, on ordinary and on extreme rows."""
    for detector in detectors_found():
        for n, one in enumerate(detector.tables):
            if one is not table:
                continue
            for fill in ("zero", "least", "greatest", "nan"):
                row = checks.rows_of(detector, fill)[n][0]
                row["opened_at"] = 5
                (one.release or close)(row)
                assert int(row["opened_at"]) == 0


def test_records_of_a_file_are_merged_at_their_time() -> None:
    """Beside files of events they take effect after the events of their time."""
    events = [
        *traffic(MONDAY, days=15),
        *failing(12, MONDAY + 15 * DAY),
        *failing(12, MONDAY + 16 * DAY),
    ]
    lines = b"\n".join(encode(events))
    plain = run_local([cut("f", 1, lines)], CONFIG)
    opened = next(a for a in plain.alerts if a.detector == SPIKE)
    said: list[Control] = [
        verdict(opened, "benign", at=MONDAY + 15 * DAY + HOUR // 6, expires=MONDAY + 30 * DAY)
    ]
    for partitions in (1, 4):
        tuned = run_local([cut("f", 1, lines)], Config(), partitions=partitions, controls=said)
        spikes = [a for a in tuned.alerts if a.detector == SPIKE]
        assert {a.id for a in spikes} == {opened.id}
        assert spikes[-1].close_reason == "verdict"
        assert tuned.counts["suppressed.verdict"] >= 1
        assert tuned.counts["controls"] == 1
    within = lines + b"\n" + dump_control(said[0], KEY)
    again = run_local([cut("f", 1, within)], CONFIG)
    assert [a.to_json() for a in again.alerts] == [
        a.to_json() for a in run_local([cut("f", 1, lines)], CONFIG, controls=said).alerts
    ]
