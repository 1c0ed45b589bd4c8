"""The package as receivers get it: light to import, documented, one version."""

import subprocess
import sys
import tomllib
from pathlib import Path

import ingest
from ingest import event_docs
from ingest.version import __version__

ROOT = Path(__file__).parents[3]


def test_importing_it_imports_nothing_heavy() -> None:
    """Neither Kafka nor a web framework nor a data library is loaded before it is used."""
    code = (
        "import sys, ingest, ingest.sources, ingest.profiles, ingest.inventory, ingest.topics\n"
        "heavy = {'kafka', 'fastapi', 'starlette', 'numpy', 'pandas', 'pyarrow', 'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_everything_exported_is_there() -> None:
    """__all__ is sorted and holds what the package offers."""
    assert ingest.__all__ == sorted(ingest.__all__)
    assert all(hasattr(ingest, name) for name in ingest.__all__)


def test_the_version_is_the_projects() -> None:
    """Receivers report the version that was released."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert __version__ == project["project"]["version"]


def test_the_documents_are_generated_from_the_model() -> None:
    """docs/event.md and the JSON Schema are what `python -m ingest.event_docs` writes."""
    page = (ROOT / "docs" / "event.md").read_text()
    assert event_docs.filled(page) == page
    schema = (ROOT / "docs" / "schema" / "callback.v1.json").read_text()
    assert event_docs.schema_text() == schema
