"""The labelled day."""

import numpy as np
import pytest

from detectors.benchmark.arrivals import DAY, HOUR, Span
from detectors.benchmark.attacks import between
from detectors.benchmark.day import MIDNIGHT, labelled_day
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.labels import Kind, Label, labels_json, read_labels

DETECTORS = {"spoofed-source", "replay-burst", "signature-failure-spike", "payload-volume"}


def of(day, label_id):
    """Return a label and the sender's deliveries within its window."""
    label = next(one for one in day.labels if one.id == label_id)
    place = day.world.place(label.sender)
    return label, between(day.day, Span(label.start, label.end + 1), place)


def test_every_detector_has_an_attack_and_no_sender_has_two_labels(day):
    """Attacks cover the four detectors; a sender is either attacked or a trap, once."""
    attacks = [one for one in day.labels if one.kind is Kind.ATTACK]
    assert {one.detector for one in attacks} == DETECTORS
    senders = [one.sender for one in day.labels]
    assert len(senders) == len(set(senders))
    assert len({one.id for one in day.labels}) == len(day.labels)


def test_the_day_keeps_its_size_and_its_order(day):
    """At most 60,000 events a day, in order of time, the day split from three days and an hour."""
    at = day.rows["at"]
    assert (np.diff(at) >= 0).all()
    assert at[0] >= MIDNIGHT - 3 * DAY - HOUR
    assert day.history["at"][-1] < MIDNIGHT <= day.day["at"][0]
    assert 10_000 < len(day.day) < 60_000
    assert len(day.history) < 60_000 * 3.1


def test_windows_lie_within_the_day_and_attacks_know_their_events(day):
    """Each attack's events are in its window, ascending; all windows are of the labelled day."""
    for label in day.labels:
        assert MIDNIGHT <= label.start <= label.end <= MIDNIGHT + DAY
        if label.kind is Kind.ATTACK:
            assert (label.at[0], label.at[-1]) == (label.start, label.end)
            assert list(label.at) == sorted(label.at)


def test_a_replay_repeats_one_signed_request(day):
    """The replayed calls share delivery, signature and body with a call before them."""
    for label_id in ("S04", "S05"):
        label, rows = of(day, label_id)
        replayed = rows[np.isin(rows["at"], label.at)]
        assert len(replayed) == len(label.at)
        signature = replayed["signature"][0]
        same = (day.rows["signature"] == signature).all(axis=1)
        assert same.sum() == len(label.at) + 1
        assert len(np.unique(day.rows["delivery"][same], axis=0)) == 1


def test_a_replay_within_tolerance_is_not_stale(day):
    """The replay of a timed signature ends within five minutes of its signing."""
    label, rows = of(day, "S04")
    assert label.at[-1] - rows["signed_at"].min() < 300_000_000


def test_distributed_forgery_uses_an_address_at_most_twice(day):
    """Two hundred addresses, none of them used more than twice."""
    label, rows = of(day, "S02")
    forged = rows[np.isin(rows["at"], label.at)]
    _, counts = np.unique(forged["origin"], return_counts=True)
    assert counts.max() <= 2
    assert len(counts) >= 190


def test_oversize_bodies_are_far_beyond_the_usual(day):
    """Every oversize body is more than ten times the largest usual one."""
    label, rows = of(day, "S10")
    usual = day.rows[day.rows["sender"] == day.world.place("claims-intake")]
    usual = usual[~np.isin(usual["at"], label.at)]
    assert rows[np.isin(rows["at"], label.at)]["body_bytes"].min() > 10 * usual["body_bytes"].max()


def test_labels_survive_their_file(day):
    """Labels written as JSON are read back equal; other files are refused in one line."""
    assert read_labels(labels_json(day.labels, seed=7)) == day.labels
    with pytest.raises(BenchmarkError, match="not a file of labels"):
        read_labels(b"[]")


def test_impossible_days_are_refused():
    """Too little history and labels that contradict themselves are errors of one line."""
    with pytest.raises(BenchmarkError, match="3 to 60 days"):
        labelled_day(1, history_days=1)
    with pytest.raises(BenchmarkError, match="attacks name a detector"):
        Label("X", "", Kind.ATTACK, "s", 0, 1)
    with pytest.raises(BenchmarkError, match="must not end before"):
        Label("X", "", Kind.TRAP, "s", 2, 1)
    with pytest.raises(BenchmarkError, match="severity must be one of"):
        Label("X", "", Kind.TRAP, "s", 0, 1, severity="bad")
