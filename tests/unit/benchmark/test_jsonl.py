"""Deliveries as JSON lines."""

import hashlib
import json
from uuid import UUID

import numpy as np

from detectors.benchmark.columns import Vocabulary, empty_rows, fresh_bits
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render, uuids
from ingest.schema import parse_event


def digest(day):
    """Return the hash of all bytes of a day."""
    sha = hashlib.sha256()
    for data in render(day.rows, day.world.words):
        sha.update(data)
    return sha.hexdigest()


def test_every_event_of_the_day_is_valid(day):
    """The schema of callback events accepts every simulated event, attacks included."""
    lines = b"".join(render(day.day, day.world.words)).splitlines()
    assert len(lines) == len(day.day)
    for line in lines:
        parse_event(line)


def test_equal_seeds_give_equal_bytes_and_others_do_not(day):
    """The bytes of a day depend on the seed and on nothing else."""
    assert digest(day) == digest(labelled_day(7, history_days=3))
    assert digest(day) != digest(labelled_day(8, history_days=3))


def test_the_cut_into_chunks_changes_nothing(day):
    """Chunks of any size join to the same bytes."""
    rows, words = day.rows[:1000], day.world.words
    assert b"".join(render(rows, words, chunk=77)) == b"".join(render(rows, words))


def test_absent_fields_are_left_out():
    """A row of nothing has only the fields that are always there."""
    (line,) = render(empty_rows(1), Vocabulary())
    assert set(json.loads(line)) == {"schema", "id", "received_at", "duration_ms", "body_bytes"}


def test_awkward_words_are_escaped():
    """Quotes, line ends and characters of other scripts survive the way through JSON."""
    words, rows = Vocabulary(), empty_rows(1)
    rows["who"] = words.code(sender='a"b\\c\n\u202e', kind="webhook")
    (line,) = render(rows, words)
    assert line.count(b"\n") == 1
    assert json.loads(line)["sender"] == 'a"b\\c\n\u202e'


def test_ids_are_random_uuids():
    """Ids are of version 4 and the RFC's variant, whatever the bits."""
    bits = fresh_bits(np.random.Generator(np.random.PCG64(3)), 200)
    parsed = [UUID(text) for text in uuids(bits)]
    assert {one.version for one in parsed} == {4}
    assert len(set(parsed)) == 200
