"""`callwatch import` from a log to events: ids, order, verdicts, privacy, and the summary."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ingest.fingerprint import fingerprint
from ingest.importers.cli import import_command
from ingest.importers.spill import Spill
from ingest.schema import parse_event, parse_report
from tests.unit.ingest.importers.golden import CLOUDFLARE, DELIVERY, NGINX, changed

MAPPING = """
receiver = "edge/1@a"
[[route]]
path = "/hooks/{sender}"
provider = "github"
accepted = "verified"
[[ignore]]
path = "/hooks/health"
"""
UA = '"GitHub-Hookshot/1440bf9"'


def line(at: str = "08:34:56", path: str = "/hooks/github", status: int = 200, **other: str) -> str:
    """A line of nginx."""
    made = NGINX.replace("08:34:56", at).replace("/hooks/github", path)
    made = made.replace(" 200 ", f" {status} ").replace("140.82.115.10", other.get("ip", "192.0.2.7"))  # fmt: skip # noqa: E501
    return made + other.get("agent", UA)


class Import:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mapping = folder / "mapping.toml"
        self.mapping.write_text(MAPPING, "utf-8")
        self.result: Result | None = None

    def log(self, *lines: str, name: str = "access.log") -> str:
        """Write a log."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(path)

    def run(self, *arguments: str, **options: Any) -> dict[str, Any]:
        """Import; return the summary. The events are in `events`."""
        out = str(self.folder / "out.jsonl")
        given = [*arguments, "--mapping", str(self.mapping), "--out", out, "--json"]
        self.result = CliRunner().invoke(import_command, given, **options)
        assert self.result.exit_code == 0, self.result.output
        summary: dict[str, Any] = json.loads(self.result.stdout)
        return summary

    @property
    def lines(self) -> list[bytes]:
        """The events and the reports between them."""
        return (self.folder / "out.jsonl").read_bytes().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, each of them valid."""
        values = [value for value in self.lines if b'"report":' not in value]
        assert all(parse_event(value) for value in values)
        return [json.loads(value) for value in values]


@pytest.fixture
def importer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """The command, with a mapping and without a pepper."""
    monkeypatch.delenv("CALLWATCH_PEPPER", raising=False)
    monkeypatch.delenv("CALLWATCH_PEPPER_FILE", raising=False)
    return Import(tmp_path)


def test_an_event_holds_what_the_log_says_and_no_more(importer: Import) -> None:
    """Nothing is invented: no signature, no key, no fingerprint; the query is gone."""
    importer.run("nginx", importer.log(line(path="/hooks/github?token=s3cr3t")))
    (event,) = importer.events
    assert event == {
        "schema": 1, "id": event["id"], "received_at": "2026-10-01T08:34:56.000000Z",
        "receiver": "edge/1@a", "endpoint": "/hooks/{sender}", "kind": "webhook",
        "sender": "github", "provider": "github", "verdict": "verified", "body_bytes": 0,
        "method": "POST", "status": 200, "source_ip": "192.0.2.7", "source_ip_from": "socket",
        "user_agent": "GitHub-Hookshot/1440bf9", "sample_rate": 1.0,
    }  # fmt: skip


def test_the_status_decides(importer: Import) -> None:
    """Accepted, rejected with a reason, kept as unverified, or left out and counted."""
    statuses = (200, 401, 404, 413, 503, 499, 302)
    summary = importer.run("nginx", importer.log(*(line(status=status) for status in statuses)))
    said = [(event["status"], event["verdict"], event.get("reason")) for event in importer.events]
    assert said == [
        (200, "verified", None), (401, "rejected", "signature_invalid"),
        (404, "rejected", "sender_unknown"), (413, "rejected", "body_too_large"),
        (503, "unverified", None),
    ]  # fmt: skip
    assert all("signature_ok" not in event for event in importer.events)
    assert summary["ignored"] == {"status_302": 1, "status_499": 1}


def test_every_line_is_accounted_for(importer: Import) -> None:
    """Read = imported + read twice + ignored + broken, each by its reason; blank lines are none."""
    log = importer.log(
        line(), "", line("08:34:57"), "garbage", line(path="/"), line(path="/hooks/health"),
        line(ip="example.com"), line(status=499), line(at="08:99:00"),
    )  # fmt: skip
    summary = importer.run("nginx", log, log)
    assert summary == summary | {
        "read": 16, "imported": 2, "repeated": 2, "verdicts": {"verified": 2},
        "ignored": {"no_route": 2, "rule": 2, "status_499": 2},
        "broken": {"bad_address": 2, "bad_time": 2, "no_match": 2},
        "first": "2026-10-01T08:34:56.000000Z", "last": "2026-10-01T08:34:57.000000Z",
    }  # fmt: skip
    assert importer.result is not None
    assert f"{log}:4: no_match: " in importer.result.stderr
    assert f'{log}:9: bad_time: time: allowed is 10/Oct/2000:13:55:36 -0700; given "01/Oct/2026:08:99:00 +0000"' in importer.result.stderr  # fmt: skip # noqa: E501


def test_importing_twice_gives_the_same_events(importer: Import, tmp_path: Path) -> None:
    """Ids go by what stands in the file and where, not by its name or by when it is imported."""
    log = importer.log(line(), line(), line("08:34:57"))
    importer.run("nginx", log)
    first = (tmp_path / "out.jsonl").read_bytes()
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(Path(log).read_bytes()))
    summary = importer.run("nginx", str(packed), log)
    assert (tmp_path / "out.jsonl").read_bytes() == first
    assert (summary["imported"], summary["repeated"]) == (3, 3)
    assert len({event["id"] for event in importer.events}) == 3
    importer.run("nginx", log, "--receiver", "edge/1@b")
    assert not {event["id"] for event in importer.events} & {
        json.loads(value).get("id") for value in first.splitlines()
    }


def test_files_are_merged_by_time(importer: Import) -> None:
    """Whatever the order of files and lines, events come out by time; equal times stay in order."""
    one = importer.log(line("08:00:02"), line("08:00:00"), name="a.log")
    two = importer.log(line("08:00:01", "/hooks/b"), line("08:00:00", "/hooks/b"), name="b.log")
    importer.run("nginx", one, two)
    said = [(event["received_at"][17:19], event["sender"]) for event in importer.events]
    assert said == [("00", "github"), ("00", "b"), ("01", "b"), ("02", "github")]


def test_spilled_runs_give_the_same_order() -> None:
    """However little fits into memory, the order is that of one sort, and copies go."""
    chance = random.Random(5)
    items = [(chance.randrange(50), f"id-{chance.randrange(400)}") for _ in range(3000)]
    results = []
    for size in (1 << 30, 4_000):
        spill, left_out = Spill(size), list[bytes]()
        for n, (time_us, id_) in enumerate(items):
            spill.add(time_us, id_, b"%d" % n)
        in_order = [value for _, value in spill.sorted(left_out.append)]
        results.append((in_order, sorted(left_out)))
        spill.close()
    assert results[0] == results[1]
    kept = [items[int(value)] for value in results[0][0]]
    assert [time_us for time_us, _ in kept] == sorted(time_us for time_us, _ in kept)
    assert len(set(kept)) == len(kept) == len(set(items))


def test_standard_input_and_gzip_output(importer: Import, tmp_path: Path) -> None:
    """`-` reads a pipe, and a name with .gz writes gzip, the same bytes each time."""
    log = importer.log(line())
    out = tmp_path / "e.jsonl.gz"
    given = ["nginx", "-", "--mapping", str(importer.mapping), "--out", str(out)]
    made = []
    for _ in range(2):
        done = CliRunner().invoke(import_command, given, input=Path(log).read_bytes())
        assert done.exit_code == 0, done.output
        made.append(out.read_bytes())
    assert made[0] == made[1]
    assert parse_event(gzip.decompress(made[0]).splitlines()[0]).sender == "github"
    assert "1 read, 1 imported (verified 1), heard in 1 minutes in " in done.stderr


def test_events_go_to_standard_output(importer: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out -` feeds a pipe; then there is no place for `--json`."""
    log = importer.log(line())
    given = ["nginx", log, "--mapping", str(importer.mapping), "--out", "-"]
    done = CliRunner().invoke(import_command, given)
    assert json.loads(done.stdout.splitlines()[0])["sender"] == "github"
    assert CliRunner().invoke(import_command, [*given, "--json"]).exit_code == 2


def test_hosts_methods_and_rules(importer: Import) -> None:
    """Only named hosts and methods are imported; what a log does not say cannot be matched."""
    importer.mapping.write_text(
        'hosts = ["hooks.example.com"]\n[[route]]\npath = "/hooks/github"\nsender = "github"\n'
        'methods = ["POST"]\n'
    )
    rows = [{}, {"ClientRequestHost": "www.example.com"}, {"ClientRequestMethod": "GET"},
            {"ClientRequestHost": ...}]  # fmt: skip
    for n, row in enumerate(rows):
        row["RayID"] = f"{n}"
    log = importer.log(*(changed(CLOUDFLARE, **row) for row in rows))
    summary = importer.run("cloudflare", log)
    assert (summary["imported"], summary["ignored"]) == (1, {"host": 2, "method": 1})
    assert importer.events[0]["country"] == "US"
    assert importer.events[0]["verdict"] == "unverified"
    assert importer.events[0]["body_bytes"] == 0


def test_sizes_of_requests_are_taken_where_the_mapping_says_so(importer: Import) -> None:
    """The size with headers is no body's, so it needs a word; and what the edge blocked is told."""
    text = 'size = "request"\n[[route]]\npath = "/hooks/github"\nsender = "github"\n'
    importer.mapping.write_text(text)
    blocked = changed(CLOUDFLARE, RayID="2", EdgeResponseStatus=403, SecurityAction="block")
    importer.run("cloudflare", importer.log(changed(CLOUDFLARE), changed(CLOUDFLARE), blocked))
    one, two = importer.events  # the same ray twice is one request
    assert one["body_bytes"] == 8935
    assert (two["verdict"], two["reason"]) == ("rejected", "other")


def test_the_client_behind_trusted_proxies(importer: Import) -> None:
    """The last address that is no proxy of ours counts; nobody else's header is believed."""
    importer.mapping.write_text(
        f'{MAPPING}\n'.replace("receiver", 'extra = ["forwarded_for"]\n'
                               'trusted_proxies = ["10.0.0.0/8"]\nreceiver', 1)
    )  # fmt: skip
    log = importer.log(
        line(ip="10.0.0.9", agent=f'{UA} "203.0.113.1, 192.0.2.1:555, 10.1.1.1"'),
        line(ip="198.51.100.1", agent=f'{UA} "192.0.2.1"'),
        line(ip="10.0.0.9", agent=f'{UA} "-"'),
        line(ip="10.0.0.9", agent=f'{UA} "x"'),
    )
    summary = importer.run("nginx", log)
    assert [(event["source_ip"], event["source_ip_from"]) for event in importer.events] == [
        ("192.0.2.1", "trusted_proxy"), ("198.51.100.1", "socket"), ("10.0.0.9", "socket"),
    ]  # fmt: skip
    assert summary["broken"] == {"bad_address": 1}


def test_unmatched_paths_become_events_where_the_mapping_says_so(
    importer: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes are kept without their path: a fingerprint where there is a pepper, else nothing."""
    importer.mapping.write_text(f'unmatched = "rejected"\n{MAPPING}')
    log = importer.log(line(path="/.env", status=404), line(path="/", status=200))
    importer.run("nginx", log)
    assert importer.events[0]["reason"] == "endpoint_unknown"
    assert "path_fp" not in importer.events[0]
    monkeypatch.setenv("CALLWATCH_PEPPER", bytes(range(32)).hex())
    summary = importer.run("nginx", log)
    (event,) = importer.events
    assert (event["endpoint"], event["sender"]) == ("(unmatched)", "(unknown)")
    assert event["path_fp"] == fingerprint(bytes(range(32)), "path", b"/.env")
    assert summary["ignored"] == {"no_route": 1}


def test_githubs_deliveries(importer: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery's id is its own; its guid and signature become fingerprints with a pepper."""
    pepper = bytes(range(32))
    monkeypatch.setenv("CALLWATCH_PEPPER", pepper.hex())
    importer.mapping.write_text(
        '[[route]]\nendpoint = "/hooks/github"\nsender = "github-{repository_id}"\n'
        'provider = "github"\naccepted = "verified"\n'
    )
    signed = {"headers": {"X-Hub-Signature-256": "sha256=" + "ab" * 32}, "payload": {"s": 1}}
    rows = [
        changed(DELIVERY),
        changed(DELIVERY, request=signed),  # the same delivery, asked for alone
        changed(DELIVERY, id=43, redelivery=True, status_code=401, request=signed),
        changed(DELIVERY, id=44, repository_id=None),
    ]
    summary = importer.run("github", importer.log(*rows))
    one, again, other = importer.events
    assert (summary["imported"], summary["repeated"]) == (3, 1)
    assert (one["sender"], one["event_type"]) == ("github-456", "issues.opened")
    assert (
        one["delivery_fp"]
        == again["delivery_fp"]
        == fingerprint(pepper, "delivery", DELIVERY["guid"].encode())
    )
    assert again["signature_fp"] == fingerprint(pepper, "signature", b"\xab" * 32)
    assert (one["source_ip"], one["source_ip_from"]) == ("0.0.0.0", "untrusted_header")
    assert (again["reason"], other["sender"]) == ("signature_invalid", "(unknown)")


def test_no_secret_of_a_log_reaches_an_event(importer: Import) -> None:
    """Queries, user names, referrers and unmatched paths are nowhere, whatever the format."""
    importer.mapping.write_text(f'unmatched = "rejected"\n{MAPPING}')
    text = line(path="/hooks/github?k=CANARY").replace(" - - [", " - CANARY [")
    importer.run("nginx", importer.log(
        text.replace(' "-" ', ' "https://CANARY/" '),
        line(path="/reset/CANARY", status=404),
        line(path="/hooks/github#CANARY"),
        line(path="https://CANARY@example.com/hooks/github"),
    ))  # fmt: skip
    assert len(importer.events) == 4
    assert "CANARY" not in json.dumps(importer.events)


def test_what_a_stranger_wrote_is_cleaned(importer: Import) -> None:
    """Controls and endless texts make no event invalid, and no line of the summary strange."""
    agent = r'"\x1b[31m' + "x" * 400 + r'\x00"'
    bad = line(ip="\x1b[2Jexample.com")
    importer.run("nginx", importer.log(line(path="/hooks/a%00b%1b", agent=agent), bad))
    (event,) = importer.events
    assert len(event["user_agent"]) <= 256
    assert event["sender"] == "a b"
    assert importer.result is not None
    assert "\x1b" not in importer.result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nginx", "x"], "--mapping and --out are needed"),
        (["iis", "x"], "'iis' is not one of"),
        (["nginx", "x", "--guess", "--out", "y"], "--guess stands alone"),
        (["nginx", "x", "--mapping", "MAPPING", "--out", "x"], "would overwrite what is read"),
        (["nginx", "x", "--mapping", "MAPPING", "--out", "MAPPING"], "would overwrite"),
        (["nginx", "x", "--mapping", "MAPPING", "--out", "y", "--receiver", ""], "--receiver"),
    ],
)  # fmt: skip
def test_wrong_usage(importer: Import, arguments: list[str], says: str) -> None:
    """Usage errors end with 2 and say what is allowed."""
    given = [str(importer.mapping) if one == "MAPPING" else one for one in arguments]
    done = CliRunner().invoke(import_command, given)
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr


def test_what_cannot_be_read_is_an_error(
    importer: Import, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing file, a wrong pepper and a wrong mapping end with 1 and one line each."""
    base = ["--mapping", str(importer.mapping), "--out", str(tmp_path / "o")]
    done = CliRunner().invoke(import_command, ["nginx", str(tmp_path / "none"), *base])
    assert (done.exit_code, "cannot be read" in done.stderr) == (1, True)
    assert not (tmp_path / "o").exists()
    monkeypatch.setenv("CALLWATCH_PEPPER", "short")
    done = CliRunner().invoke(import_command, ["nginx", importer.log(line()), *base])
    assert "CALLWATCH_PEPPER: allowed are 16 bytes and more, in hexadecimal" in done.stderr
    assert "short" not in done.stderr


def test_minutes_with_any_line_are_reported(importer: Import) -> None:
    """Each minute with a request has a report at its last one, also where no callback came."""
    log = importer.log(
        line("08:00:10"), line("08:00:50", path="/"), line("08:05:01", path="/"), "broken",
        line("08:09:00"), line("08:09:00", ip="example.com"),
    )  # fmt: skip
    summary = importer.run("nginx", log)
    said = [parse_report(value) for value in importer.lines if b'"report":' in value]
    assert [(f"{one.at:%H:%M:%S}", one.offered, one.sent) for one in said] == [
        ("08:00:50", 1, 1), ("08:05:01", 1, 1), ("08:09:00", 2, 2),
    ]  # fmt: skip
    assert {(one.receiver, f"{one.started_at:%H:%M:%S}") for one in said} == {
        ("import/nginx", "08:00:00")
    }
    assert (summary["reports"], summary["imported"]) == (3, 2)
    kinds = ["report" if b'"report":' in value else "event" for value in importer.lines]
    assert kinds == ["event", "report", "report", "event", "report"]


def test_a_provider_that_nobody_knows_is_told(importer: Import) -> None:
    """A typing error in a provider's name would cost its facts without a word."""
    importer.mapping.write_text(MAPPING.replace('"github"', '"githup"'))
    importer.run("nginx", importer.log(line()))
    assert importer.result is not None
    assert 'provider "githup" is no shipped profile' in importer.result.stderr


def test_many_broken_lines_are_counted_and_few_are_shown(importer: Import) -> None:
    """Somebody else's file does not flood the terminal; nothing imported is said."""
    summary = importer.run("nginx", importer.log(*["x"] * 500))
    assert summary["broken"] == {"no_match": 500}
    assert importer.result is not None
    assert importer.result.stderr.count("\n") == 21
    assert "... and 480 more broken lines" in importer.result.stderr
