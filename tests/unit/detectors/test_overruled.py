"""Newer verdicts overrule older ones, as if every record were looked at again for each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import CRITICAL, HIGH
from detectors.controls import Controls
from detectors.event import HOUR
from detectors.tuning import Finding, Tuning
from ingest.control import Control, OverrideControl, PlanControl, VerdictControl
from tests.unit.detectors.streams import MONDAY
from tests.unit.detectors.test_controls import SPIKE, SPOOF, common, time

FROM = b'{"source_ip":"192.0.2.7"}'
SOURCES = (None, "192.0.2.0/24", "203.0.113.0/24")


class Naive(Controls):
    """Looks at every record for each verdict, and lets all that is left hold anew."""

    def _overrule(self, newer: VerdictControl) -> None:
        about = (newer.sender, newer.detector, newer.finding, newer.source)
        for older in [one.control for one in self._live.values()]:
            if not isinstance(older, VerdictControl):
                continue
            same = about == (older.sender, older.detector, older.finding, older.source)
            anywhere = about[:3] == (older.sender, older.detector, older.finding)
            if same or (anywhere and newer.verdict == "attack"):
                del self._live[older.id]
                self._ended[older.id] = older.expires_us
        self._renew()


def _said(kind: str, n: int, at: int, hours: int, **about: Any) -> Control:
    who = common(n, at, at + hours * HOUR, about["sender"])
    who["reason"] = f"ticket {n}"
    if kind == "plan":
        return PlanControl(**who, plan="rotation", starts=time(MONDAY))
    if kind == "override":
        return OverrideControl(**who, detector=about["detector"])
    return VerdictControl(
        **who,
        alert=who["id"],
        verdict=kind,  # type: ignore[arg-type]
        detector=about["detector"],
        finding=about["finding"],
        severity="high",
        source=about["source"],
    )


ABOUT = {
    "sender": st.sampled_from(("acme", "beta")),
    "detector": st.sampled_from((SPIKE, SPOOF)),
    "finding": st.sampled_from(("forgery", "rotation")),
    "source": st.sampled_from(SOURCES),
}
RECORDS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(("benign", "benign", "attack", "plan", "override")),
        "n": st.integers(1, 30),
        "later": st.integers(0, 20),
        "hours": st.integers(1, 40),
        "restored": st.sampled_from((False, False, False, True)),
        **ABOUT,
    }
)


def _judged(tuning: Tuning, now: int) -> list[Any]:
    return [
        tuning.judge(Finding(sender, detector, reason, severity, now, now, lambda: FROM))
        for sender in ("acme", "beta")
        for detector in (SPIKE, SPOOF)
        for reason in ("forgery", "rotation")
        for severity in (HIGH, CRITICAL)
    ]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(RECORDS, max_size=30))
def test_what_is_left_is_what_looking_at_all_records_leaves(records: list[dict[str, Any]]) -> None:
    """Answers, states in their order, and what is told of findings are equal at every record."""
    now, tunings = MONDAY, [Tuning(()), Tuning(())]
    quick, naive = Controls(tunings[0]), Naive(tunings[1])
    for record in records:
        now += record.pop("later") * HOUR
        if record.pop("restored"):
            quick.restore(json.loads(json.dumps(quick.snapshot())))
        one = _said(at=now, **record)
        assert quick.take(one, now) == naive.take(one, now)
        assert json.dumps(quick.snapshot()) == json.dumps(naive.snapshot())
        assert _judged(tunings[0], now) == _judged(tunings[1], now)


def test_one_verdict_after_another_touches_no_other_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an overruled verdict costs depends on no record that is about something else."""
    tuning = Tuning(())
    controls = Controls(tuning)
    others = [
        _said("benign", n, MONDAY, 24, sender=f"s{n}", detector=SPIKE, finding="x", source=None)
        for n in range(200)
    ]
    assert {controls.take(one, MONDAY) for one in others} == {""}
    renewed: list[None] = []
    monkeypatch.setattr(Tuning, "say", lambda *_: renewed.append(None))
    for n in range(1000, 1200):
        same = {"sender": "acme", "detector": SPIKE, "finding": "x", "source": None}
        assert controls.take(_said("benign", n, MONDAY, 24, **same), MONDAY) == ""
    assert renewed == []
    assert (len(controls._live), len(controls._ended)) == (201, 199)
    assert sum(map(len, controls._verdicts.values())) == 2 * 201
    assert sum(map(len, tuning._of.values())) == 201
