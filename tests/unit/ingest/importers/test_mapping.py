"""The mapping file: what it says, that all its faults are told at once, and that it is safe."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.importers import paths
from ingest.importers.mapping import MappingError, load_mapping
from ingest.importers.outcomes import DEFAULTS, outcome
from ingest.vocabulary import Kind, Reason

FULL = """
receiver = "edge/1@a"
hosts = ["Hooks.example.com", "*.hooks.example.com"]
unmatched = "rejected"
size = "request"
trusted_proxies = ["10.0.0.0/8"]
timezone = "+02:00"
extra = ["forwarded_for", "-", "request_time"]
status = { 400 = "signature_invalid", 5xx = "ignore" }

[fields]
time = "ts"

[[route]]
path = "/hooks/{sender}"
provider = "stripe"
accepted = "verified"
methods = ["post"]
event_type = "{sender}"
status = { 409 = "duplicate_delivery" }

[[route]]
prefix = "/in/"
endpoint = "/in/*"
sender = "inbound"
hosts = ["in.example.com"]

[[route]]
regex = '/(?P<sender>[a-z]{2,20})/cb-[0-9]+'
endpoint = "/{sender}/cb"
kind = "redirect"

[[ignore]]
path = "/hooks/health"
"""

WRONG = """
reciever = "a"
size = "body"
timezone = "Mars/Olympus"
extra = ["forwarded_for", "nonsense"]
trusted_proxies = ["10.0.0.1/8"]
status = { 4yy = "other", 401 = "nonsense" }

[fields]
nonsense = "x"

[[route]]
path = "/a/{sender}"
prefix = "/a"

[[route]]
path = "/a/{sender}x"

[[route]]
regex = "(a+)+"
sender = "a"
endpoint = "a"

[[route]]
path = "/b"
sender = "{tenant}"
kind = "hook"

[[route]]
sender = ""

[[ignore]]
paths = "/x"
"""


def written(tmp_path: Path, text: str) -> Path:
    """A mapping file."""
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_full_mapping_is_read(tmp_path: Path) -> None:
    """All keys are taken, and routes have what they say."""
    found = load_mapping(written(tmp_path, FULL), "nginx")
    first, second, third = found.routes
    assert (found.receiver, found.size, found.extra) == (
        "edge/1@a", "request", ("forwarded_for", "-", "request_time"),
    )  # fmt: skip
    assert found.hosts == ("hooks.example.com", "*.hooks.example.com")
    assert (first.endpoint, first.sender, first.provider) == ("/hooks/{sender}", "{sender}", "stripe")  # fmt: skip # noqa: E501
    assert (first.accepted, first.where.methods) == ("verified", ("POST",))
    assert first.status == {"409": "duplicate_delivery"}
    assert (second.endpoint, second.where.hosts) == ("/in/*", ("in.example.com",))
    assert (third.kind, third.sender, third.accepted) == (Kind.REDIRECT, "{sender}", "unverified")
    assert third.where.match("/acme/cb-7") == {"sender": "acme"}
    assert found.ignore[0].match("/hooks/health") == {}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Every fault is one line with file, line, allowed and given."""
    path = written(tmp_path, WRONG)
    with pytest.raises(MappingError) as caught:
        load_mapping(path, "nginx")
    faults = [fault.removeprefix(f"{path}:") for fault in caught.value.faults]
    starts = [
        '2: "reciever": is no known key; allowed are receiver,',
        '3: size: allowed: none, request; given "body"',
        "4: timezone: allowed: an offset such as +01:00, or a name such as Europe/Berlin; given",
        "5: extra: allowed: -, body_bytes,",
        "6: trusted_proxies: allowed: a list of networks in CIDR form; given a list of 1",
        '7: status: allowed: statuses such as 401 or 4xx; given "4yy"',
        "9: fields: allowed: keys of the log for time, source_ip,",
        "14: allowed is one of path, prefix and regex; given path and prefix",
        "17: path: allowed: placeholders that are whole segments, such as /hooks/{sender};",
        "20: regex: allowed: a repetition after a group, which can take for ever; given",
        '27: kind: allowed: webhook, redirect; given "hook"',
        "26: sender: allowed: placeholders of the path; given {tenant}",
        "30: sender: allowed: text of 1 to 128 characters",
        "29: path: is missing",
        "29: endpoint: is missing",
        '33: "paths": is no known key',
        "32: path: is missing",
    ]
    missing = [s for s in starts if not any(fault.startswith(s) for fault in faults)]
    assert missing == [], faults
    lines = [int(fault.partition(":")[0]) for fault in faults]
    assert lines == sorted(lines)


def test_a_file_without_routes_is_refused(tmp_path: Path) -> None:
    """Nothing would be imported, so it is an error; as is a file that is no TOML or not there."""
    for text, says in (("", "route: is missing"), ("= 1", "no TOML"), ("route = 1", "rows, each")):
        with pytest.raises(MappingError, match=says):
            load_mapping(written(tmp_path, text), "nginx")
    with pytest.raises(MappingError, match="cannot be read"):
        load_mapping(tmp_path / "none", "nginx")


def test_only_githubs_routes_may_have_no_path(tmp_path: Path) -> None:
    """Its list says nothing of paths; and its placeholders are its own."""
    text = '[[route]]\nendpoint = "/hooks/github"\nsender = "github-{repository_id}"\n'
    (route,) = load_mapping(written(tmp_path, text), "github").routes
    assert route.where.match("") == {}
    with pytest.raises(MappingError, match="path: is missing"):
        load_mapping(written(tmp_path, text), "nginx")
    text += 'path = "/hooks/github"\n'
    with pytest.raises(MappingError, match=r"placeholders of the path; given \{repository_id\}"):
        load_mapping(written(tmp_path, text), "nginx")


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "(a|aa)+", "(a*)*b", "(?:a?){30}", "(.*)(.*)(.*)x", "a{1,999}b{1,999}c{1,999}",
     "(?=a)", r"(a)\1", "(?P=a)", "(?i)a", "a**", "*a", "(|+a)", "a++", "[a", "(a", "x" * 300,
     "(?#x)", "a{2}{3}", "(?P<a>x)(?P<a>y)"],
)  # fmt: skip
def test_slow_and_strange_patterns_are_refused(pattern: str) -> None:
    """A pattern that could take for ever, or that is none, is an error at the start."""
    with pytest.raises(ValueError, match=r"\w"):
        paths.regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        (r"/hooks/(?P<sender>[a-z-]+)/v\d", "/hooks/acme-x/v2", {"sender": "acme-x"}),
        (r"/(?:in|out)/[^/]{1,40}", "/out/abc", {}),
        (r"/a(?:/b)?", "/a", {}),
        (r"/a[\]x]+?\.json", "/a]x.json", {}),
        (r"/a", "/ab", None),
        (r".*/end", "/" + "x" * 990 + "/end", {}),
        (r".*/end", "/" + "x" * 1990 + "/end", None),
    ],
)
def test_patterns_match_whole_paths(
    pattern: str, path: str, expected: dict[str, str] | None
) -> None:
    """A pattern of the safe kind does what Python's does, on paths of a sane length."""
    assert paths.regex(pattern)(path) == expected


@given(st.text(alphabet="ab.*+?{}[]()|\\1,d^", max_size=14), st.text(alphabet="ab1", max_size=60))
def test_what_is_allowed_is_fast(pattern: str, path: str) -> None:
    """Whatever pattern is let through, a path of the longest kind is judged within a second."""
    try:
        match = paths.regex(pattern)
    except ValueError:
        return
    started = time.process_time()
    match((path * 20)[:1000] + "!")
    assert time.process_time() - started < 1.0


@given(st.text(max_size=30))
def test_templates_never_fail_on_a_path(path: str) -> None:
    """A template matches or does not; what it captures is the decoded segment."""
    assert paths.template("/a/{x}/b")("/a/%C3%A9/b") == {"x": "é"}
    found = paths.template("/hooks/{x}")(f"/hooks/{path}")
    assert found is None or set(found) == {"x"}


def test_defaults_and_what_overrides_them() -> None:
    """A status decides before its class, the route before the file, the file before the default."""
    usual = DEFAULTS[Kind.WEBHOOK]
    said = [outcome(status, (usual,)) for status in (200, 302, 401, 403, 404, 418, 429, 499, 503)]
    assert said == [
        "accepted", "ignore", Reason.SIGNATURE_INVALID, Reason.SIGNATURE_INVALID,
        Reason.ENDPOINT_UNKNOWN, Reason.OTHER, Reason.RATE_LIMITED, "ignore", "unverified",
    ]  # fmt: skip
    assert outcome(302, (DEFAULTS[Kind.REDIRECT],)) == "accepted"
    assert outcome(401, ({"4xx": "other"}, {"401": "ip_denied"}, usual)) == "other"
    assert outcome(401, ({}, {"401": "ip_denied"}, usual)) == "ip_denied"
