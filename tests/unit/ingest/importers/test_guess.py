"""`--guess`: a mapping proposed from a log, which a person corrects, and which loads."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingest.importers.call import Call
from ingest.importers.cli import import_command
from ingest.importers.guess import MOST_SHAPES, look, propose, shape_of
from ingest.importers.mapping import Mapping, load_mapping
from ingest.importers.run import FORMATS, Parsed, parsed_lines
from tests.unit.ingest.importers.golden import CLOUDFLARE, DELIVERY, GOOD, NGINX, changed


def guessed(tmp_path: Path, format_name: str, lines: Iterable[str]) -> tuple[str, Mapping]:
    """The proposed text, and the mapping that it makes."""
    log = tmp_path / "log"
    log.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    done = CliRunner().invoke(import_command, [format_name, str(log), "--guess"])
    assert done.exit_code == 0, done.output
    path = tmp_path / "mapping.toml"
    path.write_text(done.stdout, "utf-8")
    return done.stdout, load_mapping(path, format_name)


def nginx(path: str, status: int = 200, agent: str = "Acme/1.0", method: str = "POST") -> str:
    """A line of nginx."""
    made = NGINX.replace("/hooks/github", path).replace(" 200 ", f" {status} ")
    return made.replace("POST", method) + f'"{agent}"'


def test_providers_are_known_by_their_user_agents_and_paths(tmp_path: Path) -> None:
    """Each endpoint becomes a route; who refuses verifies, of the others nothing is claimed."""
    lines = [
        *[nginx("/in/a?x=1", agent="GitHub-Hookshot/044aadd")] * 9,
        nginx("/in/a", 401, "GitHub-Hookshot/044aadd"),
        *[nginx("/webhooks/stripe", agent="-")] * 5,
        *[nginx("/hooks/inbound")] * 4,
        *[nginx("/login/oauth/callback", 302, "Mozilla/5.0", "GET")] * 3,
        *[nginx("/", agent="Mozilla/5.0", method="GET")] * 50,
        *[nginx("/wp-login.php", 404)] * 50,
        *[nginx("/api/orders")] * 50,
    ]
    text, mapping = guessed(tmp_path, "nginx", lines)
    assert [
        (route.endpoint, route.sender, route.provider, route.accepted, str(route.kind))
        for route in mapping.routes
    ] == [
        ("/in/a", "github", "github", "verified", "webhook"),
        ("/webhooks/stripe", "stripe", "stripe", "unverified", "webhook"),
        ("/hooks/inbound", "inbound", None, "unverified", "webhook"),
        ("/login/oauth/callback", "callback", None, "verified", "redirect"),
    ]
    assert "# 10 calls; POST; 200 90 %, 401 10 %; GitHub-Hookshot/044aadd" in text


def test_many_siblings_are_one_endpoint(tmp_path: Path) -> None:
    """Paths that differ in their last part are a template with the sender in it."""
    lines = [nginx(f"/hooks/tenant-{name}") for name in "abcdefgh" for _ in range(3)]
    _, mapping = guessed(tmp_path, "nginx", lines)
    assert [(route.endpoint, route.sender) for route in mapping.routes] == [
        ("/hooks/{sender}", "{sender}")
    ]


def test_ids_and_secrets_of_paths_are_written_nowhere(tmp_path: Path) -> None:
    """What looks like one becomes a placeholder; what a stranger wrote cannot leave its comment."""
    secret = "xoxbSECRETsecretSECRETsecret"
    lines = [nginx(f"/hooks/slack/T0/{secret}/4711")] * 3
    lines += [nginx("/hooks/a", agent=r"x\x0a[[route]]\x0a")] * 2
    lines += [nginx("/hooks/%22%0a=/{x}")] * 2
    text, mapping = guessed(tmp_path, "nginx", lines)
    assert secret not in text
    assert [route.endpoint for route in mapping.routes] == [
        "/hooks/slack/T0/{id}/{id2}", "/hooks/a", "/hooks/{id}/{id2}",
    ]  # fmt: skip
    assert mapping.routes[0].sender == "slack"


def test_a_log_behind_a_proxy_is_told(tmp_path: Path) -> None:
    """Private addresses hide who calls: the draft says what to name, and the hint is valid."""
    lines = [nginx("/hooks/a").replace("140.82.115.10", "10.0.0.9") + ' "192.0.2.1" 0.125 7'] * 3
    text, _ = guessed(tmp_path, "nginx", lines)
    assert '# extra = ["forwarded_for", "request_time", "-"]' in text
    assert "# Most addresses are private" in text
    path = tmp_path / "uncommented.toml"
    path.write_text(text.replace("# extra", "extra").replace("# trusted", "trusted"), "utf-8")
    mapping = load_mapping(path, "nginx")
    first = next(iter(parsed_lines("nginx", [str(tmp_path / "log")], mapping)))
    call = first.found
    assert isinstance(call, Call)
    assert (call.forwarded_for, call.duration_ms) == ("192.0.2.1", 125.0)
    public, _ = guessed(tmp_path, "nginx", [nginx("/hooks/a")] * 3)
    assert "private" not in public
    assert "extra" not in public


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_guessed(tmp_path: Path, name: str) -> None:
    """The draft of any log names its format, and its sizes where only whole requests are told."""
    if name == "github":
        rows = [changed(DELIVERY), changed(DELIVERY, id=43, status_code=401)]
    elif name == "cloudflare":
        rows = [changed(CLOUDFLARE, RayID=str(n)) for n in range(3)]
    else:
        rows = [GOOD[name][0].line.replace("GET", "POST").replace("/apache_pb.gif", "/hooks/github")
                .replace("443/ ", "443/hooks/github ")] * 3  # fmt: skip
    text, mapping = guessed(tmp_path, name, rows)
    (route,) = mapping.routes
    assert f"callwatch import {name} " in text
    assert (route.endpoint, route.sender) == ("/hooks/github", "github")
    assert mapping.size == ("request" if name in ("cloudflare", "alb") else "none")


def test_a_log_without_callbacks_says_so(tmp_path: Path) -> None:
    """The top paths stand in a comment; a log of another format is an error."""
    log = tmp_path / "log"
    log.write_text(nginx("/api/orders") + "\n")
    done = CliRunner().invoke(import_command, ["nginx", str(log), "--guess"])
    assert "# Nothing here looks like a callback" in done.stdout
    assert "#   /api/orders  1 calls; POST; 200 100 %; Acme/1.0" in done.stdout
    done = CliRunner().invoke(import_command, ["alb", str(log), "--guess"])
    assert (done.exit_code, "no request was found: is this alb? no_match 1" in done.stderr) == (
        1, True,
    )  # fmt: skip


def test_a_scan_of_a_million_paths_costs_no_memory(tmp_path: Path) -> None:
    """Rare paths make room for more; frequent ones stay."""
    log = tmp_path / "log"
    log.write_text("".join(f"{nginx('/hooks/a')}\n" * 5))
    (call, *_) = [one.found for one in parsed_lines("nginx", [str(log)], Mapping(routes=()))]
    many = (
        Parsed("", "", type(call)(**{**_fields(call), "path": f"/p{''.join(map(chr, digits))}"}))
        for n in range(MOST_SHAPES + 10)
        for digits in [[97 + int(d) for d in str(n)]]
    )
    seen = look([*parsed_lines("nginx", [str(log)], Mapping(routes=())), *many])
    assert len(seen.shapes) <= MOST_SHAPES
    assert seen.shapes["/hooks/a"].calls == 5
    assert sum(shape.calls for shape in seen.shapes.values()) + seen.dropped == seen.calls
    assert "/hooks/a" in propose(seen, "nginx", "x")


def _fields(call: object) -> dict[str, object]:
    return {name: getattr(call, name) for name in call.__dataclass_fields__}  # type: ignore[attr-defined]


def test_shapes_keep_words() -> None:
    """Words stay, numbers and tokens go."""
    paths = ["/v2/hooks", "/a/550e8400-e29b-41d4-a716-446655440000", "/é", "/hooks/Ab3dEfGh9iJkLm"]
    assert json.dumps([shape_of(path) for path in paths]) == json.dumps(
        ["/v2/hooks", "/a/{id}", "/{id}", "/hooks/{id}"]
    )
