"""What is kept of a group's members is what a walk through all of them would find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import correlate
from alerts.alert import Alert, Severity, Status
from alerts.correlate import Correlator
from alerts.members import Members
from tests.unit.alerts.samples import OPENED
from tests.unit.alerts.test_correlate import HOUR, forged, incident


class Naive(Members):
    """Walks through all members for each question."""

    def newest(self) -> int | None:
        """Return when the newest was opened."""
        return max((one.opened_at for one in self), default=None)

    def are_of(self, senders: int, since: int) -> bool:
        """Tell whether those that were opened from then on are of so many senders."""
        return len({one.sender for one in self if one.opened_at >= since}) >= senders


REASONS = ("forged_from_new_network", "valid_from_new_network")
STATES = st.fixed_dictionaries(
    {
        "sender": st.integers(0, 5),
        "quarter": st.integers(0, 12),
        "turned": st.sampled_from((False, False, False, True)),
        "status": st.sampled_from((Status.OPEN, Status.OPEN, Status.UPDATED, Status.CLOSED)),
        "later": st.integers(0, 3),
        "severity": st.sampled_from((Severity.LOW, Severity.MEDIUM, Severity.CRITICAL)),
    }
)


def _state(given_: dict[str, Any]) -> Alert:
    at = OPENED + given_["quarter"] * HOUR // 4
    return incident(
        f"s{given_['sender']}", "spoofed-source", REASONS[given_["turned"]], at,
        status=given_["status"], later=given_["later"] * HOUR, severity=given_["severity"],
    )  # fmt: skip


def _again(correlator: Correlator) -> Correlator:
    state = json.loads(json.dumps(correlator.snapshot()))
    restored = Correlator()
    restored.restore(state)
    return restored


@settings(deadline=None, derandomize=True)
@given(st.lists(STATES, max_size=30), st.integers(0, 30))
def test_alerts_and_states_are_those_of_a_walk_through_all_members(
    states: list[dict[str, Any]], restart: int
) -> None:
    """Whatever opens, turns, closes or comes back, and with a restart in between."""
    stream = [_state(one) for one in states]
    quick, told, kept = Correlator(), [], []
    for n, alert in enumerate(stream):
        quick = _again(quick) if n == restart else quick
        told.append(quick.take([alert]))
        kept.append(json.dumps(quick.snapshot()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlate._Group, "__init__", _naive_group(correlate._Group.__init__))
        naive = Correlator()
        for n, alert in enumerate(stream):
            assert (naive.take([alert]), json.dumps(naive.snapshot())) == (told[n], kept[n])


def _naive_group(init: Any) -> Any:
    return lambda self, **fields: init(self, members=Naive(), **fields)


def test_a_state_takes_no_walk_through_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign of hundreds is walked through once each time that it doubles."""
    walks: list[int] = []
    walk = Members.__iter__

    def counted(self: Members) -> Iterator[Alert]:
        walks.append(len(self))
        return walk(self)

    monkeypatch.setattr(Members, "__iter__", counted)
    of_two = [forged(n).model_copy(update={"sender": f"s{n % 2}"}) for n in range(400)]
    assert Correlator().take(of_two) == of_two
    assert walks == []
    correlator = Correlator()
    correlator.take(forged(n) for n in range(400))
    correlator.take(forged(n, status=Status.UPDATED) for n in range(400))
    correlator.take(forged(n, status=Status.CLOSED) for n in range(400))
    assert walks == [3, 6, 12, 24, 48, 96, 192, 384]


def test_a_campaign_that_all_have_left_ends_with_what_comes_too_late() -> None:
    """The end of an incident that nobody saw begin closes the campaign that has no members."""
    correlator = Correlator()
    first, *_ = correlator.take(forged(n) for n in range(3))
    correlator.take([forged(0, status=Status.CLOSED)])
    correlator.take(
        forged(n, status=Status.UPDATED).model_copy(update={"reason": "valid_from_new_network"})
        for n in (1, 2)
    )
    ended = correlator.take([forged(9, status=Status.CLOSED)])
    assert [(a.id, a.status) for a in ended] == [(forged(9).id, "closed"), (first.id, "closed")]
