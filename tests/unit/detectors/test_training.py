"""From events to a model, and from the model's file to alerts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import callwatch
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.benchmark.whole_files import GzipWriter
from detectors.config import Config
from detectors.config_file import load_config
from detectors.core import Core
from detectors.errors import ConfigError
from detectors.learned import SHIPPED, read_model
from detectors.training import TrainingError, Windows, collect, fit
from ingest.sources import read_events
from models import forest
from models.store import StoredModel, to_bytes
from tests.unit.detectors.outliers import windows_of
from tests.unit.detectors.streams import Run, encode, traffic

ROOT = Path(__file__).parents[3]
NOW = ("--now", "2030-01-01")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benign history of the demo, as `callwatch demo` writes it, six days of it."""
    path: Path = tmp_path_factory.mktemp("demo") / "history.jsonl.gz"
    day = labelled_day(7, history_days=6)
    with GzipWriter(path) as file:
        for start in range(0, len(day.history), 10_000):
            file.write(b"".join(render(day.history[start : start + 10_000], day.world.words)))
    return path


def train(history: Path, out: Path, *options: str) -> dict[str, object]:
    """What `callwatch train --json` says."""
    arguments = ["train", str(history), "--out", str(out), *NOW, "--json", *options]
    done = CliRunner().invoke(callwatch.cli, arguments)
    assert done.exit_code == 0, done.output
    card: dict[str, object] = json.loads(done.stdout)
    return card


@pytest.mark.slow
def test_train_then_detect(history: Path, tmp_path: Path) -> None:
    """The demo's history makes a model, twice the same; a configuration that names it is used."""
    card = train(history, tmp_path / "model.cwm", "--seed", "5", "--note", "six days")
    train(history, tmp_path / "again.cwm", "--seed", "5", "--note", "six days")
    assert (tmp_path / "model.cwm").read_bytes() == (tmp_path / "again.cwm").read_bytes()
    assert (card["trained_on"], card["seed"]) == (["history.jsonl.gz"], 5)
    assert card["hash"] == read_model(tmp_path / "model.cwm").hash
    (tmp_path / "detectors.toml").write_text('[detectors.behaviour-outlier]\nmodel = "model.cwm"\n')
    # in a process of its own: detection never imports scikit-learn
    code = (
        "import sys, callwatch; status = callwatch.main(sys.argv[1:]);"
        "assert 'sklearn' not in sys.modules; sys.exit(status)"
    )
    arguments = ["detect", str(history), "--config", str(tmp_path / "detectors.toml"), *NOW]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout)["alerts"].get("behaviour-outlier", {})
    assert set(found) <= {"info"}
    assert sum(found.values()) <= 0.05 * 22 * 6


def test_too_few_windows_are_no_model(tmp_path: Path) -> None:
    """The message says how many there are and how many are needed; no file is written."""
    events = tmp_path / "few.jsonl"
    events.write_bytes(b"\n".join(encode(traffic(days=1))) + b"\n")
    out = tmp_path / "model.cwm"
    done = CliRunner().invoke(callwatch.cli, ["train", str(events), "--out", str(out)])
    assert done.exit_code == 1
    assert "0 windows of known senders, where 400 are needed" in done.output
    assert not out.exists()


def test_an_input_is_not_overwritten(tmp_path: Path) -> None:
    """A model is not written over the events."""
    events = tmp_path / "few.jsonl"
    events.write_bytes(b"\n".join(encode(traffic(days=0.1))) + b"\n")
    before = events.read_bytes()
    done = CliRunner().invoke(callwatch.cli, ["train", str(events), "--out", str(events)])
    assert done.exit_code == 2
    assert events.read_bytes() == before


def test_training_sees_the_windows_that_the_detector_sees(tmp_path: Path) -> None:
    """Windows of known senders alone, in order of time, none before two days of history."""
    path = tmp_path / "events.jsonl"
    senders = ("a", "b", "c")
    lines = [line for name in senders for line in encode(traffic(sender=name, days=4))]
    path.write_bytes(b"\n".join(lines) + b"\n")
    windows = collect(read_events([str(path)]))
    assert len(set(windows.sender.tolist())) == len(senders)
    assert 2.5 * 24 * 0.5 < len(windows) / len(senders) < 2 * 24 + 1
    assert (windows.when[1:] >= windows.when[:-1]).all()
    assert windows.run.accepted == len(lines)


def test_the_limit_holds_on_later_windows() -> None:
    """The card says what share of held-out windows reaches the limit: at most what was wanted."""
    windows = windows_of(range(700, 712), 10)
    for wanted in (0.0005, 0.01, 0.05):
        card = fit(windows, seed=2, false_rate=wanted).card
        assert card.held_out_rate <= wanted
        assert card.held_out_rate >= wanted - 1.5 / card.held_out
    with pytest.raises(TrainingError, match="399 windows"):
        fit(Windows(windows.numbers[:399], windows.when[:399], windows.sender[:399]),
            seed=1, false_rate=0.01)  # fmt: skip


def model(limit: float) -> StoredModel:
    """A model made by hand."""
    record = forest.example_model()
    record["limit"] = limit
    return StoredModel(record)


def test_the_shipped_model_tells_infos_only() -> None:
    """It is of simulated senders, so it may not be graver, and it is not in use by default."""
    shipped = read_model(SHIPPED)
    assert int(shipped.record["gravest"]) == 1
    assert shipped.card.note == "simulated senders"
    assert Config().models == {}


def test_a_configuration_names_the_model(tmp_path: Path) -> None:
    """Beside its own file, or the shipped one by name; the hash of alerts tells which."""
    (tmp_path / "m.cwm").write_bytes(to_bytes(model(0.5)))
    hashes = {Config().hash}
    for name in ("m.cwm", "simulated"):
        path = tmp_path / "c.toml"
        path.write_text(f'[detectors.behaviour-outlier]\nmodel = "{name}"\n')
        hashes.add(load_config(path).hash)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('"none.cwm"', "No such file"),
        ('"c.toml"', "is no model"),
        ('"/dev/zero"', "at most"),
        ('""', "must be a file"),
        ("5", "must be a file (got 5)"),
    ],
)
def test_a_wrong_model_is_a_fault_of_the_configuration(
    tmp_path: Path, value: str, says: str
) -> None:
    """With file and line, like every other fault."""
    path = tmp_path / "c.toml"
    path.write_text(f"[detectors.behaviour-outlier]\nmodel = {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:2: behaviour-outlier.model")
    assert says in str(caught.value)


def test_only_a_learned_detector_has_a_model(tmp_path: Path) -> None:
    """Elsewhere it is an unknown key."""
    path = tmp_path / "c.toml"
    path.write_text('[detectors.replay-burst]\nmodel = "m.cwm"\n')
    with pytest.raises(ConfigError, match=r"unknown key replay-burst\.model"):
        load_config(path)


def test_another_model_costs_no_baselines() -> None:
    """A state goes on under another model, and judges by it at once."""
    low, high = (Config(models={"behaviour-outlier": model(limit)}) for limit in (0.4, 0.9))
    kept = Run(traffic(days=5), config=high).core.snapshot()
    core = next(Core.restore(low, kept).baselines())
    assert core.baselines["behaviour-outlier"].state == "warming"


def test_the_first_model_costs_no_baselines() -> None:
    """What other detectors know stays, the learned one begins; without a model it is left out."""
    kept = Run(traffic(days=5)).core.snapshot()
    core = Core.restore(Config(models={"behaviour-outlier": model(0.4)}), kept)
    known = next(core.baselines()).baselines
    assert known["payload-volume"].state != "cold"
    assert known["behaviour-outlier"].state == "cold"
    assert "behaviour-outlier" not in next(Core.restore(Config(), kept).baselines()).baselines
