"""The documents are held to the code: what exists is documented, what is documented exists."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules

import click
import pytest
from click.testing import CliRunner

import alerts.sinks
import callwatch
import ingest
import ingest.receivers
from alerts.formats import format_names
from detectors.benchmark.day import labelled_day
from detectors.benchmark.demo import SEED
from detectors.benchmark.labels import Kind
from detectors.cli import detect
from detectors.config_file import load_config
from detectors.errors import ConfigError
from detectors.priors import Prior, text_of
from detectors.registry import alerting_found, detectors_found
from ingest.errors import InventoryError
from ingest.inventory import load_inventory
from ingest.kafka_config import PREFIX, VARIABLES
from ingest.receivers.options import VARIABLES as RECEIVER_VARIABLES
from ingest.signatures.schemes import SCHEMES
from ingest.transports import MemoryTransport
from tests.docs.__main__ import rendered, stale
from tests.docs.bench import figures, kept
from tests.docs.parts import commands
from tests.unit.detectors.streams import encode, traffic

ROOT = Path(__file__).parents[2]
PAGES = {page: page.read_text("utf-8") for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]}
README = PAGES[ROOT / "README.md"]
EVERYTHING = "\n".join(PAGES.values())
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """A page's name for the list of tests."""
    return str(page.relative_to(ROOT))


def fences(page: Path, language: str) -> list[str]:
    """The code of one language in a page."""
    return [code for found, code in FENCE.findall(PAGES[page]) if found == language]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def shell_lines() -> Iterator[tuple[str, str]]:
    """Every command that a page shows: the page and the line, continuation lines joined."""
    for page in PAGES:
        for code in fences(page, "console"):
            for line in re.findall(r"^\$ (.+)$", code.replace("\\\n", " "), re.MULTILINE):
                yield name_of(page), line


def test_generated_parts_are_up_to_date() -> None:
    """Every page says what the code does; `make docs` writes them again."""
    assert [name_of(page) for page, _ in stale()] == []


def test_an_unknown_part_is_an_error() -> None:
    """A typing error in a marker does not leave a part empty for ever."""
    with pytest.raises(ValueError, match="'no-such-part'"):
        rendered("<!-- generated: no-such-part -->\n<!-- end -->")


@pytest.mark.parametrize("detector", alerting_found(), ids=lambda one: one.id)
def test_detectors_are_documented(detector: object) -> None:
    """A detector has a section with its reasons, parameters and known gaps."""
    id_, reasons = detector.id, detector.reasons  # type: ignore[attr-defined]
    section = PAGES[ROOT / "docs" / "detection.md"].partition(f"\n## {id_}\n")[2]
    section = section.partition("\n## ")[0]
    for name in (*reasons, *detector.params.__dataclass_fields__):  # type: ignore[attr-defined]
        assert f"`{name}`" in section
    assert "**Known gaps.**" in section
    assert not re.search(
        r"^\| \[`\w+`\]\S+ \| - \|", section, re.MULTILINE
    )  # reasons mean something
    assert f"`{id_}`" in README


def test_commands_and_options_are_documented() -> None:
    """Every command has a heading and every option a row."""
    page = PAGES[ROOT / "docs" / "cli.md"]
    for name, command in commands():
        if isinstance(command, click.Group):
            continue
        section = page.partition(f"### callwatch {name}\n")[2].partition("\n### ")[0]
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(f"`{flag}" in section or f" {flag}" in section for flag in option.opts)
        assert f"`callwatch {name}`" in README


def test_sinks_and_formats_are_documented() -> None:
    """Each is named where the router is described."""
    page = PAGES[ROOT / "docs" / "kafka.md"]
    sinks = [module.name for module in iter_modules(alerts.sinks.__path__)]
    assert all(f"`{name}`" in page for name in [*sinks, *format_names()])


def test_environment_variables_are_documented() -> None:
    """The table has every CALLWATCH_* that the code, the containers, the examples of deployments or
    the tests' set-up name, and no other; those of Kafka say each command that reads them.
    """
    sources = [
        *(path for path in (ROOT / "examples" / "deploy").rglob("*") if path.is_file()),
        *(path for name in ("ingest", "detectors", "alerts", "notebooks", "tests/kafka")
          for path in (ROOT / name).rglob("*") if path.suffix in {".py", ".ipynb"}),
        *(ROOT / name for name in ("Makefile", "Dockerfile", "docker-compose.yml", ".ci/run")),
    ]  # fmt: skip
    section = PAGES[ROOT / "docs" / "configuration.md"].partition("\n## Environment variables\n")[2]
    rows = re.findall(r"^\| `(CALLWATCH_\w+)` \| (.*?) \|", section, re.MULTILINE)
    documented = dict(rows)
    assert len(documented) == len(rows)
    used = {f"{PREFIX}{name}" for name in VARIABLES}
    for path in sources:
        used |= set(re.findall(r"\bCALLWATCH_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    used.discard(PREFIX.rstrip("_"))
    receivers = (ROOT / "ingest" / "receivers").glob("*.py")
    code = "\n".join(path.read_text("utf-8") for path in receivers)
    for name in RECEIVER_VARIABLES:  # some are put together from their names
        if re.search(rf'"(CALLWATCH_)?{name}"(?!:)', code, re.IGNORECASE):
            used.add(f"CALLWATCH_{name}")
    assert {name if name in documented else name.removesuffix("_FILE") for name in used} == (
        documented.keys()
    )
    reads = {
        f"`{name.split()[0]}`"
        for name, command in commands()
        for option in command.params
        if "--bootstrap-servers" in option.opts
    }
    for name in VARIABLES:
        assert set(documented[PREFIX + name].split(", ")) == reads | {"receivers"}


def test_log_lines_of_the_worker_are_documented() -> None:
    """Whoever reads the worker's log finds each line explained, and no other."""
    engines = (ROOT / "detectors" / "engines").glob("*.py")
    code = "\n".join(path.read_text("utf-8") for path in engines)
    written = set(re.findall(r'\b(?:note|line)\(\s*"([\w.]+)"', code))
    section = PAGES[ROOT / "docs" / "kafka.md"].partition("| line | means |")[2]
    section = section.partition("\n## ")[0]
    areas = "worker|partitions?|state|checkpoint|batch|commit|cache|senders|broker"
    assert written == set(re.findall(rf"`((?:{areas})\.\w+)`", section))


@pytest.mark.parametrize(("page", "line"), [*shell_lines()])
def test_shown_commands_are_accepted(page: str, line: str) -> None:
    """A shown command exists and takes what it is given."""
    bare = re.sub(r"^([A-Z_]+=(\$\(.*?\)|\S*) )+", "", line)
    program, *rest = shlex.split(bare, comments=True)
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(rest) <= targets
    elif program == "callwatch":
        command: click.Command = callwatch.cli
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, line
            command = found
        command.make_context(line, rest)
    else:
        others = {".", "mkdir", "install", "uv", "docker", "kubectl", "kafka-acls.sh"}
        assert program in others | {"systemctl", "systemd-sysusers"}, f"{page}: {line}"
        if program == "install":  # what is installed is an example, or a file of one's own
            there = {path.name for path in (ROOT / "examples" / "deploy").rglob("*")}
            own = {"worker.password", "router.password", "control.key"}
            own |= {"detectors.toml", "inventory.toml"}
            files = {each for each in rest if "." in each and "/" not in each}
            assert files <= there | own, line


@pytest.mark.parametrize("name", ["", *dict(commands())])
def test_every_command_explains_itself(name: str) -> None:
    """`--help` works without a broker and ends with 0."""
    done = CliRunner().invoke(callwatch.cli, [*name.split(), "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage:" in done.output


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    """Every link inside the project leads to a file, and to a heading in it."""
    text = FENCE.sub("", PAGES[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert found.is_relative_to(ROOT)
        assert not anchor or anchor in headings(found), target


def test_the_readme_counts_the_demo_right() -> None:
    """The numbers of senders, attacks and traps are those of the demo's labelled day."""
    day = labelled_day(SEED, history_days=3)
    kinds = Counter(label.kind for label in day.labels)
    attacks, traps = kinds[Kind.ATTACK], kinds[Kind.TRAP]
    assert f"a fleet of {len(day.world.fleet)} senders" in README
    assert f"a day with {attacks} attacks and {traps} benign" in README
    assert f"{attacks} of {attacks} attacks caught in time, {traps} of {traps} traps" in README


def test_the_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first example publishes an event that `callwatch detect` reads."""
    monkeypatch.chdir(tmp_path)
    example, frame = fences(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})
    done = CliRunner().invoke(detect, ["events.jsonl", "--json"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert (record["accepted"], record["rejected"]) == (1, {})
    assert record["reports"] in {1, 2}  # one at the start, when the thread is quick, and the last
    found: dict[str, object] = {}
    Path("events.jsonl").write_text(Path("events.jsonl").read_text().splitlines()[0] + "\n")
    exec(compile(frame, "README.md", "exec"), found)
    assert found["alerts"] == []


def test_the_kafka_example_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example for receivers on Kafka makes a valid event."""
    memory = MemoryTransport()
    monkeypatch.setattr(ingest, "KafkaTransport", lambda servers: memory)
    (example,) = fences(ROOT / "docs" / "kafka.md", "python")
    found: dict[str, ingest.Publisher] = {}
    exec(compile(example, "kafka.md", "exec"), found)
    assert found["publisher"].close()
    assert [event.sender for event in memory.events()] == ["acme-stripe"]


def test_the_configuration_examples_load(tmp_path: Path) -> None:
    """Both files of the page and the profile are valid, and the shown errors are the real ones."""
    page = ROOT / "docs" / "configuration.md"
    settings, inventory = fences(page, "toml")
    (tmp_path / "inventory.toml").write_text(inventory, "utf-8")
    (tmp_path / "detectors.toml").write_text(settings, "utf-8")
    (own,) = fences(ROOT / "docs" / "providers.md", "toml")
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "relayed.toml").write_text(own, "utf-8")
    prior = Prior(0.004, 200.0)
    (tmp_path / "priors.toml").write_text(text_of({"stripe": prior}, 1), "utf-8")
    known = load_inventory(tmp_path / "inventory.toml")
    config = load_config(tmp_path / "detectors.toml", inventory=known)
    assert config.priors == {"stripe": prior}
    assert len(config.detectors) + len(config.shared) == len(detectors_found())
    assert config.profiles["relayed"].horizon_s == 5 * 86_400
    assert config.profiles["relayed"].freshness == "per_attempt"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("\n[detectors.replay-burst]\nthreshold = 0\ntreshold = 7.5\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(wrong)
    shown = str(caught.value).replace(str(wrong), "detectors.toml")
    assert shown in PAGES[page].replace("Error: ", "")
    (tmp_path / "inventory.toml").write_text("[senders.a]\nranges = 1\n", "utf-8")
    with pytest.raises(InventoryError):
        load_inventory(tmp_path / "inventory.toml")


def test_kept_figures_become_a_table(tmp_path: Path) -> None:
    """Figures of the bench's files stand in one table, each beside its baseline."""
    machine = {"python": "3.11.7", "cpus": 2, "machine": "x86_64"}
    one = {"name": "core", "value": 1_500_000, "unit": "events/s", "baseline": "plain",
           "baseline_value": 50_000, "ratio": 30.0}  # fmt: skip
    two = {"name": "start", "value": 1.25, "unit": "s", "baseline": None,
           "baseline_value": None, "ratio": None}  # fmt: skip
    for name, figure in (("a", one), ("b", two)):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"machine": machine, "figures": [figure]})
        )
    path = tmp_path / "kept"
    path.write_text(json.dumps(kept(tmp_path)))
    assert figures(path).splitlines()[-2:] == [
        "| core | 1,500,000 events/s | plain: 50,000 events/s | 30 |",
        "| start | 1.25 s |  |  |",
    ]
    assert "make bench" in figures(tmp_path / "none")


def test_the_archive_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON lines become Parquet, that an archive, and both what detection reads."""
    monkeypatch.chdir(tmp_path)
    lines = encode(traffic(days=1))
    Path("events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    Path("detectors.toml").write_text("[detectors.replay-burst]\nthreshold = 8\n")
    Path("inventory.toml").write_text("[senders.acme]\n")
    found: dict[str, object] = {}
    for example in fences(ROOT / "docs" / "archives.md", "python"):
        exec(compile(example, "archives.md", "exec"), found)
    for path in ("events.parquet", "archive.parquet"):
        done = CliRunner().invoke(detect, [path, "--json"])
        record = json.loads(done.stdout)
        assert (record["accepted"], record["rejected"]) == (len(lines), {})
    assert found["alerts"] == []


@pytest.mark.parametrize("example", fences(ROOT / "docs" / "signatures.md", "python"))
def test_the_signatures_examples_run(example: str) -> None:
    """What is shown verifies, denies and notices a repeat."""
    exec(compile(example, "signatures.md", "exec"), {})


def test_the_readme_counts_the_signature_schemes() -> None:
    """It names as many as there are."""
    assert f"takes a verifier, too: {len(SCHEMES)} schemes" in README


def test_the_receivers_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shown FastAPI receiver answers, and its verdicts are recorded."""
    import anyio
    import httpx

    monkeypatch.setenv("CALLWATCH_EVENTS_TO", str(tmp_path / "events.jsonl"))
    monkeypatch.setenv("CALLWATCH_RECEIVER", "example/1@here")
    monkeypatch.setenv("CALLWATCH_PEPPER", "00" * 16)
    example, own_test = fences(ROOT / "docs" / "receivers.md", "python")
    found: dict[str, object] = {}
    exec(compile(own_test, "receivers.md", "exec"), {})
    exec(compile(example, "receivers.md", "exec"), found)

    async def post(headers: dict[str, str]) -> int:
        app = httpx.ASGITransport(app=found["app"])  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=app, base_url="http://test") as client:
            return (await client.post("/hooks/a", headers=headers)).status_code

    assert [anyio.run(post, one) for one in ({"x-token": "as agreed"}, {})] == [204, 401]
    assert ingest.receivers.default_publisher().close()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    verdicts = [(one["verdict"], one.get("reason")) for one in events if "verdict" in one]
    assert verdicts == [("verified", None), ("rejected", "signature_invalid")]
