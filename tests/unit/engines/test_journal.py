"""Log lines can be read by people and programs, whatever is in them."""

import pytest

from detectors.engines.journal import line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (0.5, "0.5"),
        (True, "true"),
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', '"a\\"b"'),
        ("a=b", '"a=b"'),
        ([0, 2], "0,2"),
        ([], "none"),
    ],
)
def test_values(value: object, shown: str) -> None:
    """Every value is one word, or quoted."""
    assert line("area.happened", key=value) == f"area.happened key={shown}"


@pytest.mark.parametrize("hostile", ["a\nworker.failed error=x", "\x1b[31m", "\u202e", "\x00"])
def test_no_value_makes_a_line(hostile: str) -> None:
    """Line ends, escape sequences and reversed text do not reach the log as they are."""
    text = line("area.happened", key=hostile)
    assert text.isprintable()


def test_long_values_are_cut() -> None:
    """A huge error text does not fill the disk."""
    assert len(line("area.happened", error="x" * 100_000)) < 600
