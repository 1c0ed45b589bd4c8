"""What the chaos harness reads out of workers' lines."""

from dataclasses import dataclass
from typing import Any

from tests.chaos.fleet import Member, absences, lines_of

FIRST = """\
2026-03-03 12:00:00,000 INFO worker.started group=g topic=e
2026-03-03 12:00:01,000 INFO partitions.assigned partitions=e/0,e/1 generation=1
2026-03-03 12:00:02,000 INFO partition.ready partition=e/0 offset=0
2026-03-03 12:00:02,500 INFO partition.ready partition=e/1 offset=0
Traceback (most recent call last):
2026-03-03 12:00:08,000 INFO partitions.released partitions=e/1
"""
SECOND = """\
2026-03-03 12:00:09,000 INFO partitions.assigned partitions=e/1 generation=2
2026-03-03 12:00:09,500 INFO partition.ready partition=e/1 offset=9
2026-03-03 12:00:20,000 INFO partitions.assigned partitions=e/0,e/1 generation=3
2026-03-03 12:00:21,250 INFO partition.ready partition=e/1 offset=11
"""


@dataclass
class _Said:
    said: str

    def text(self) -> str:
        return self.said


def _member(text: str, ended: float | None = None) -> Member:
    process: Any = _Said(text)
    return Member(process, next(iter(lines_of(text))).at, ended)


def test_absences_are_the_gaps_between_owners() -> None:
    """From a release or a death to the moment at which somebody has restored the partition."""
    died = next(iter(lines_of(FIRST))).at + 10.0
    assert sorted(absences([_member(FIRST, ended=died), _member(SECOND)])) == [1.25, 1.5]


def test_only_what_is_restored_is_held() -> None:
    """What was assigned last counts, and of that what was said to be ready since."""
    assert _member(SECOND).holds() == ({"e/0", "e/1"}, {"e/1"})
    assert _member(FIRST).holds() == ({"e/0"}, {"e/0"})


def test_quoted_fields_are_read_whole() -> None:
    """A value with blanks is one value, and one of several partitions is a list."""
    said = 'state.damaged partition=e/0 fault="chunk 0 of 1 is \\"bad\\""'
    (line,) = lines_of(f"2026-03-03 12:00:00,000 ERROR {said}")
    assert line.what == "state.damaged"
    assert line.partitions == ["e/0"]
    assert line.fields["fault"] == '"chunk 0 of 1 is \\"bad\\""'


def test_one_owner_is_no_absence() -> None:
    """Before its first owner and after its last a partition is not counted."""
    assert absences([_member(FIRST)]) == []
