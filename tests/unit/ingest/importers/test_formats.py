"""The golden lines of every format, broken ones, and garbage."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.importers import github
from ingest.importers.call import Call, LineError, SkippedError
from ingest.importers.mapping import Mapping, Route, Where
from ingest.importers.paths import prefix, template
from ingest.importers.run import FORMATS, import_logs, parsed_lines
from ingest.importers.spill import Spill
from ingest.schema import parse_event
from tests.unit.ingest.importers.golden import BAD, GOOD, NGINX, Bad, Good

good = [pytest.param(name, one, id=f"{name}: {one.name}") for name in GOOD for one in GOOD[name]]
bad = [pytest.param(name, one, id=f"{name}: {one.name}") for name in BAD for one in BAD[name]]


def parsed(tmp_path: Path, name: str, text: str, **mapping: object) -> list[object]:
    """What a format makes of the lines of a file."""
    path = tmp_path / "log"
    path.write_text(text, "utf-8", errors="surrogatepass")
    found = Mapping(routes=(), **mapping)  # type: ignore[arg-type]
    return [one.found for one in parsed_lines(name, [str(path)], found)]


def test_every_format_has_golden_lines() -> None:
    """No format goes without good and broken ones."""
    assert set(GOOD) == set(BAD) == set(FORMATS)


@pytest.mark.parametrize(("name", "one"), good)
def test_a_line_becomes_its_call(tmp_path: Path, name: str, one: Good) -> None:
    """Each documented line gives the facts that stand in it."""
    (call,) = parsed(tmp_path, name, f"{one.line}\n", **one.mapping)
    assert isinstance(call, Call), call
    assert {fact: getattr(call, fact) for fact in one.facts} == one.facts


@pytest.mark.parametrize(("name", "one"), bad)
def test_a_line_that_is_none_is_named(tmp_path: Path, name: str, one: Bad) -> None:
    """Each broken line has the word for what is wrong, and what is no request is not broken."""
    (found,) = parsed(tmp_path, name, f"{one.line}\n")
    assert isinstance(found, SkippedError if one.skipped else LineError), found
    assert (found.reason if isinstance(found, SkippedError) else found.code) == one.code


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_line_does_not_hide_the_next(tmp_path: Path, name: str) -> None:
    """Good lines before, between and after broken ones are all read."""
    line = GOOD[name][0].line
    wrong = [one for one in BAD[name] if not one.skipped]
    text = "\n".join([line, *(f"{one.line}\n{line}" for one in wrong)])
    found = parsed(tmp_path, name, text)
    assert sum(isinstance(one, Call) for one in found) == len(wrong) + 1
    assert [one.code for one in found if isinstance(one, LineError)] == [one.code for one in wrong]


def test_lists_of_deliveries_are_read_in_every_form(tmp_path: Path) -> None:
    """An array, pages one after the other, arrays of arrays, lines, and indented text."""
    row = json.loads(GOOD["github"][0].line)
    other = row | {"id": 43}
    texts = [
        json.dumps([row, other]),
        json.dumps([row]) + json.dumps([other]),
        json.dumps([[row], [other]]),
        f"{json.dumps(row)}\n{json.dumps(other)}\n",
        json.dumps([row, other], indent=2),
    ]
    for text in texts:
        calls = parsed(tmp_path, "github", text)
        assert [getattr(call, "unique", call) for call in calls] == [
            f"{n} 58474f00-b361-11eb-836d-0e4f3503ccbe" for n in (42, 43)
        ]


def test_deliveries_have_the_line_on_which_they_begin(tmp_path: Path) -> None:
    """In an indented list a fault is found by its line."""
    path = tmp_path / "deliveries.json"
    path.write_text(json.dumps([{"id": 1}, {"id": 2}], indent=2))
    where = [one.where for one in parsed_lines("github", [str(path)], Mapping(routes=()))]
    assert where == [f"{path}:2", f"{path}:5"]


def test_a_line_beyond_all_bounds_is_broken(tmp_path: Path) -> None:
    """Neither a long line nor one of nothing but openings costs more than a look."""
    long = NGINX + '"' + "x" * 100_000 + '"'
    (found,) = parsed(tmp_path, "nginx", long)
    assert isinstance(found, LineError)
    assert found.code == "too_long"
    many = ' [01/Oct/2026:08:34:56 +0000] "' * 2000
    (found,) = parsed(tmp_path, "nginx", many)
    assert isinstance(found, LineError)


mixed = st.one_of(
    st.text(max_size=200),
    st.sampled_from([one.line for lines in (GOOD, BAD) for name in lines for one in lines[name]]),  # type: ignore[attr-defined]
)


@given(st.sampled_from(sorted(FORMATS)), st.lists(mixed, max_size=3), st.integers(0, 400))
def test_garbage_is_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, name: str, lines: list[str], cut: int
) -> None:
    """Whatever stands in a file, each line is a call, skipped, or broken with a word."""
    text = "\n".join(line[cut:] + line[:cut] if len(line) > cut else line for line in lines)
    for found in parsed(tmp_path_factory.mktemp("log"), name, text):
        assert isinstance(found, Call | LineError | SkippedError)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(["nginx-json", "cloudflare", "github"]), st.data())
def test_values_of_any_type_are_never_an_exception(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """A known key may hold anything, and still the line is judged."""
    row = json.loads(GOOD[name][0].line)
    keys = data.draw(st.lists(st.sampled_from(sorted(row)), max_size=4))
    row |= {key: data.draw(json_values) for key in keys}
    (found,) = parsed(tmp_path_factory.mktemp("log"), name, json.dumps(row))
    assert isinstance(found, Call | LineError | SkippedError)


MAPPING = Mapping(
    routes=(
        Route(
            Where(template("/hooks/{sender}")), "/hooks/{sender}", "{sender}", event_type="{sender}"
        ),
        Route(Where(prefix("/hooks")), "rest", "rest-{repository_id}", status={"2xx": "verified"}),
    ),
    unmatched="rejected",
    size="request",
    trusted_proxies=(ip_network("0.0.0.0/0"),),
)


@given(st.sampled_from(sorted(FORMATS)), st.data())
def test_whatever_is_read_makes_valid_events_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    """From any line to the event nothing fails: what is imported is valid, all else is counted."""
    lines = data.draw(st.lists(st.sampled_from([one.line for one in GOOD[name]]), max_size=4))
    if name in ("nginx-json", "cloudflare", "github"):
        rows = [json.loads(line) for line in lines]
        for row in rows:
            for key in data.draw(st.lists(st.sampled_from(sorted(row)), max_size=3)):
                row[key] = data.draw(json_values)
        lines = [json.dumps(row) for row in rows]
    else:
        noise = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))
        lines = [line.replace(data.draw(st.sampled_from(line.split())), data.draw(noise))
                 for line in lines]  # fmt: skip
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_text("\n".join(lines), "utf-8")
    spill = Spill()
    summary = import_logs(name, [str(path)], MAPPING, spill, pepper=bytes(16))
    assert summary.read == summary.imported + summary.ignored.total() + summary.broken.total()
    assert summary.broken["invalid_event"] == 0
    values = [value for _, value in spill.sorted(summary.take_back)]
    assert all(parse_event(value) for value in values)
    assert not any(b"s3cr3t" in value for value in values)


def test_nonsense_is_not_read_again_from_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at is bounded by the file's size; large deliveries are read all the same."""
    large = json.dumps({"id": 1, "text": "x" * 50_000, "list": list(range(20_000))})
    found = list(github.objects("{\n" * 5_000 + large))
    assert len(found) == 5_001
    assert found[-1] == (5_001, json.loads(large))
    monkeypatch.setattr(github, "MOST_READ_AGAIN", 10_000)
    nested = '{"a":[\n' * 500 + "{},\n" * 5_000
    *_, (_, last) = found = list(github.objects(nested))
    assert len(found) < 100
    assert "the rest of the file is not read" in str(last)
