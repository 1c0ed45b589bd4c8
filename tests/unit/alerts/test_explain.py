import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alerts.alert
import alerts.explain
from alerts.explain import escape_unprintable, format_duration, format_number, safe
from tests.unit.alerts.samples import HOSTILE, seeded


@pytest.mark.parametrize("module", [alerts.alert, alerts.explain])
def test_examples_in_docstrings_are_true(module: object) -> None:
    """The numbers in the docstrings are what the code gives."""
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


@seeded
@given(st.text(), st.integers(1, 100))
def test_safe_text_is_printable_bounded_and_stable(text: str, limit: int) -> None:
    """Safe text is printable, no longer than asked, and stays as it is when made safe again."""
    result = safe(text, limit)
    assert result.isprintable()
    assert len(result) <= limit
    assert safe(result, limit) == result


@pytest.mark.parametrize("text", HOSTILE)
def test_no_control_or_bidi_character_passes(text: str) -> None:
    """Terminal escapes, bidi controls and line separators come out as visible escapes."""
    categories = {unicodedata.category(char) for char in safe(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("text", ["", "acme-stripe", "Zoë 東京 🚀", 'a "quoted" \\ name'])
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Names in any script, quotes and backslashes are not changed."""
    assert escape_unprintable(text) == text


@seeded
@given(st.floats(-1e300, 1e300))
def test_numbers_keep_their_size(value: float) -> None:
    """A formatted number is within half a percent of the exact one."""
    read_back = float(format_number(value).replace(",", ""))
    assert read_back == pytest.approx(value, rel=0.0051, abs=0)


@seeded
@given(st.floats())
def test_any_float_has_a_duration(seconds: float) -> None:
    """No number, however odd, stops a summary from being written."""
    assert format_duration(seconds).isprintable()
