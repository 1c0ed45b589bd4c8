"""What behaviour-outlier calls unlike history and peers, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.base import ADOPTED, EXPIRED, FINDING, INFO, LOW, Found
from detectors.event import DAY
from detectors.rules import behaviour_outlier
from detectors.rules.behaviour_outlier import explain, ranked
from detectors.training import fit
from models import features
from models.store import StoredModel
from tests.unit.detectors.outliers import MONDAY, sender, told, walk, windows_of

SMALL: dict[str, Any] = {
    "pace": 1.7, "size": 1.8, "slower": 1.5, "fails": 0.04, "fresh": 0.1, "types": 0.1,
}  # fmt: skip
"""Several changes at once: none would be news by itself (a size of 8 times the usual, a count of 3
times, half of the calls failing, most of them from new networks)."""


@pytest.fixture(scope="module")
def model() -> StoredModel:
    """A model of forty senders' fortnight."""
    return fit(windows_of(range(100, 140), 14), seed=1, false_rate=0.001)


def test_benign_senders_stay_quiet(model: StoredModel) -> None:
    """Senders that the model never saw bring at most 0.05 infos a day, and hardly a low."""
    days, seeds = 14, range(300, 360)
    found = [told(walk(sender(seed, days), model.record)) for seed in seeds]
    severities = np.concatenate([of["severity"] for of in found])
    assert np.count_nonzero(severities == INFO) <= 0.05 * days * len(seeds)
    assert np.count_nonzero(severities > INFO) <= 0.001 * days * len(seeds)


def test_several_small_changes_at_once_are_found(model: StoredModel) -> None:
    """Of thirty senders that change in six ways a little, most are found within a day, as low."""
    first = []
    for seed in range(500, 530):
        found = told(walk(sender(seed, 11, changed_at=10, **SMALL), model.record))
        of = found[found["when"] > MONDAY + 10 * DAY]
        first.append(int(of["severity"].max(initial=0)))
    assert np.mean(np.array(first) >= INFO) >= 0.9
    assert np.mean(np.array(first) == LOW) >= 0.7


@pytest.mark.parametrize("change", list(SMALL))
def test_one_small_change_alone_is_no_news(model: StoredModel, change: str) -> None:
    """Each of these changes by itself is found with few of the senders."""
    lows = 0
    for seed in range(500, 515):
        one = {change: SMALL[change]}
        found = told(walk(sender(seed, 11, changed_at=10, **one), model.record))
        lows += int(found["severity"].max(initial=0)) >= LOW
    assert lows <= 3


def test_without_a_model_nothing_is_found_but_history_is_learned() -> None:
    """A model that comes later judges at once by what was learned before."""
    row = np.zeros(1, behaviour_outlier.SENDER)
    empty = np.zeros((), behaviour_outlier.MODEL)
    assert len(walk(sender(500, 11, changed_at=10, **SMALL), empty, row)) == 0
    assert int(row["windows"][0]) > 200


def test_what_is_an_outlier_is_not_learned(model: StoredModel) -> None:
    """During an incident the usual numbers stay what they were; after a week they are adopted."""
    seed = 503
    row = np.zeros(1, behaviour_outlier.SENDER)
    walk(sender(seed, 10), model.record, row)
    before = row["means"][0].astype(float) / features.STEP
    row = np.zeros(1, behaviour_outlier.SENDER)
    large = {"pace": 2.5, "size": 6.0, "slower": 4.0, "fails": 0.3, "fresh": 0.5, "types": 0.5}
    records = walk(sender(seed, 16, changed_at=10, **large), model.record, row)
    after = row["means"][0].astype(float) / features.STEP
    assert np.abs(after - before).max() < 0.12
    records = walk(sender(seed, 20, changed_at=10, **large), model.record)
    assert ADOPTED in records["code"]
    assert 17 * DAY <= records["when"][records["code"] == ADOPTED][0] - MONDAY <= 17.5 * DAY


def test_an_incident_ends_with_usual_windows(model: StoredModel) -> None:
    """One odd day is one incident or few, each closed when the sender is as usual again."""
    events = sender(505, 11, changed_at=10, **SMALL)
    usual = sender(505, 4)
    usual["t"] = usual["now"] = usual["t"] + 11 * DAY
    codes = walk(np.concatenate([events, usual]), model.record)["code"].tolist()
    assert FINDING in codes
    assert codes[-1] == EXPIRED


def test_ramps_that_stay_usual_are_learned_and_jumps_are_not(model: StoredModel) -> None:
    """Poisoning in large steps is told; each told window moves nothing."""
    seed = 507
    row = np.zeros(1, behaviour_outlier.SENDER)
    walk(sender(seed, 10), model.record, row)
    usual = int(row["means"][0][features.FAILURES])
    parts = [sender(seed, 10)]
    for step, share in enumerate((0.2, 0.4, 0.6), start=10):
        part = sender(seed, 1, changed_at=0, fails=share, fresh=0.4, types=0.4, slower=3.0)
        part["t"] = part["now"] = part["t"] + step * DAY
        parts.append(part)
    row = np.zeros(1, behaviour_outlier.SENDER)
    found = told(walk(np.concatenate(parts), model.record, row))
    assert (found["when"] > MONDAY + 10 * DAY).any()
    assert abs(int(row["means"][0][features.FAILURES]) - usual) <= 0.1 * features.STEP


def test_a_rejected_call_counts_as_a_failure_and_nothing_else(model: StoredModel) -> None:
    """Whoever has no key cannot shape sizes, networks or the pace of a sender."""
    row, other = (np.zeros(1, behaviour_outlier.SENDER) for _ in range(2))
    events = sender(500, 3)
    walk(events, model.record, row)
    forged = sender(501, 3, fails=1.0, changed_at=0)
    both = np.concatenate([events, forged])
    both = both[np.argsort(both["t"], kind="stable")]
    walk(both, model.record, other)
    for name in ("networks", "types", "calls", "sizes"):
        assert np.array_equal(row[name], other[name])
    others = [features.PACE, features.SIZE, features.SPREAD, features.DURATION]
    assert np.array_equal(row["means"][0][others], other["means"][0][others])


def test_the_alert_names_the_three_numbers_that_are_furthest_off(model: StoredModel) -> None:
    """Expected and observed hold them in natural units, and the summary says them."""
    found = told(walk(sender(500, 11, changed_at=10, **SMALL), model.record))[-1]
    evidence = {name: float(found[name]) for name, _ in behaviour_outlier.EVIDENCE}
    text = explain(
        Found(
            reason="outlier", severity=INFO, count=1, sender="acme", source_count=1, seconds=1.0,
            evidence=evidence, event=None,
        )
    )  # fmt: skip
    three = ranked(evidence)
    assert [abs(evidence[name]) for name in three] == sorted(
        (abs(evidence[name]) for name in features.NAMES), reverse=True
    )[:3]
    assert {*three, "isolation"} == set(text.expected)
    assert {*three, "isolation", "calls", "hours"} == set(text.observed)
    assert text.summary.startswith("acme: ")
    assert text.observed["isolation"].value >= text.expected["isolation"].value


def test_rows_are_small() -> None:
    """A sender takes at most 160 bytes."""
    assert behaviour_outlier.SENDER.itemsize <= 160
