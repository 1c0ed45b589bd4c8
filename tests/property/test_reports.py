"""Reports that are read without the model are those that it accepts, and the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.batch import Decoder
from detectors.config import Config
from detectors.reports import usual_report
from ingest.errors import EventError
from ingest.rfc3339 import to_us
from ingest.schema import Report, dump_report, parse_report
from tests.property.test_decoder import NUMBERS, ODD, TEXTS, TIMES

CONFIG = Config()
BASE: dict[str, Any] = {
    "receiver": "hooks/1.4@a", "process": "host-7 1", "started_at": "2025-06-02T00:00:00.000000Z",
    "at": "2025-06-02T09:41:00.123456Z", "offered": 1200, "sent": 1198,
    "dropped": {"queue_full": 2}, "version": "0.1.0", "sampling": 1.0,
}  # fmt: skip
LONG = st.sampled_from(["a" * 32, "a" * 33, "a" * 64, "a" * 65, "a" * 128, "a" * 129])
COUNTS = st.one_of(NUMBERS, st.sampled_from([-1, 2**63 - 1, 2**63, 2**64, True, "1", None]))
SHARES = st.one_of(NUMBERS, st.sampled_from([0, 1, 1.0, 0.5, -0.0, 1.0000001, 5e-324, True]))
MANY = st.integers(30, 34).map(lambda n: {f"why{i}": i for i in range(n)})
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "receiver": TEXTS | LONG, "process": TEXTS | LONG, "version": TEXTS | LONG,
    "started_at": TIMES, "at": TIMES, "offered": COUNTS, "sent": COUNTS, "sampling": SHARES,
    "dropped": st.dictionaries(TEXTS | LONG, COUNTS, max_size=3) | MANY,
    "unheard_of": ODD,
}  # fmt: skip
ENVELOPES = st.sampled_from([{"schema": n} for n in (0, 1, 2, 1.0, True, "1", None)] + [{}])


def pairs(of: list[tuple[str, Any]], spaces: bool) -> str:
    """An object of these pairs, in which a name may come twice."""
    between = ": " if spaces else ":"
    return "{" + ",".join(f"{json.dumps(k)}{between}{json.dumps(v)}" for k, v in of) + "}"


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """A report with a few fields changed, left out, added or said twice, in some spelling."""
    made = dict(BASE)
    for name in draw(st.lists(st.sampled_from(sorted(LIKELY)), max_size=3)):
        made[name] = draw(st.one_of(LIKELY[name], LIKELY[name], ODD))
    if draw(st.integers(0, 5)) == 0:
        del made[draw(st.sampled_from(sorted(BASE)))]
    said = draw(st.permutations(list(made.items())))
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(LIKELY)))
        said.insert(draw(st.integers(0, len(said))), (name, draw(LIKELY[name])))
    text = pairs(said, draw(st.booleans()))
    if draw(st.integers(0, 3)) == 0:
        text = text.replace(
            '"queue_full":', f'"queue_full":{json.dumps(draw(COUNTS))},"queue_full":'
        )
    around = draw(ENVELOPES) if draw(st.integers(0, 3)) == 0 else {"schema": 1}
    head = json.dumps(around)[:-1] + ("," if around else "")
    value = f'{head}"report":{text}}}'.encode("utf-8", "surrogatepass")
    odd = [b" " + value + b"\n", b"\xef\xbb\xbf" + value, value[:-1], value + b"}",
           value.replace(b"hooks", b"\xff"), value.replace(b"hooks", b"h\\u006foks"),
           value.replace(b"hooks", b"h\x01"), value + b" " * 17_000]  # fmt: skip
    return draw(st.sampled_from(odd)) if draw(st.integers(0, 7)) == 0 else value


def by_the_model(value: bytes) -> Report | tuple[str, str]:
    """What the model makes of a value: a report, or what is wrong."""
    try:
        return parse_report(value)
    except EventError as error:
        return error.code, error.message


@settings(max_examples=600, deadline=None, derandomize=True)
@given(values())
def test_the_usual_way_reads_what_the_model_reads(value: bytes) -> None:
    """What is read without the model is its own report, to the byte when it is written again."""
    expected, found = by_the_model(value), usual_report(value)
    if found is not None:
        assert isinstance(expected, Report)
        assert found == expected
        assert dump_report(found) == dump_report(expected)
        assert [type(one) for one in vars(found).values()] == [
            type(one) for one in vars(expected).values()
        ]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(values())
def test_a_report_is_taken_or_refused_as_the_model_says(value: bytes) -> None:
    """A value is the model's report, or is refused in the words that it has without a usual way."""
    decoded = Decoder(CONFIG).values([value])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detectors.batch.usual_report", lambda _: None)
        slowly = Decoder(CONFIG).values([value])
    assert (decoded.reports, decoded.rejected) == (slowly.reports, slowly.rejected)
    expected = by_the_model(value)
    if isinstance(expected, Report):
        assert decoded.reports == [(0, to_us(expected.at), expected)]
        assert decoded.rejected == []
    else:
        assert decoded.reports == []
        assert [one.index for one in decoded.rejected] == [0]


@pytest.mark.parametrize("spaces", [True, False])
def test_the_usual_report_does_not_need_the_model(
    spaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As receivers write it, and as others may: the model is asked about neither."""
    value = f'{{"schema":1,"report":{pairs(list(BASE.items()), spaces)}}}'.encode()
    expected = parse_report(value)
    monkeypatch.setattr("detectors.batch.parse_event", None)
    monkeypatch.setattr("detectors.batch.parse_report", None)
    for written in (value, dump_report(expected)):
        assert Decoder(CONFIG).values([written]).reports == [(0, to_us(expected.at), expected)]
