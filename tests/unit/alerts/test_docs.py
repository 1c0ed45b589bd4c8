import re
from pathlib import Path

import pytest

from alerts import reference
from alerts.alert import Alert, CloseReason, Severity
from alerts.explain import runbook
from alerts.formats import format_names
from tests.unit.alerts.samples import REASONS
from tests.unit.alerts.test_formats import faults

PAGE = Path("docs/alerts.md")
PARTS = ("**What it means.**", "**First checks.**", "**Benign when**", "**When it is an attack.**")


def sections(page: str) -> dict[str, str]:
    """Text by heading of the second level."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_generated_parts_are_current() -> None:
    """The page says what the code does; `python -m alerts.reference docs/alerts.md` renews it."""
    page = PAGE.read_text(encoding="utf-8")
    assert reference.render(page) == page


def test_every_field_severity_format_and_close_reason_is_documented() -> None:
    """Nothing that a reader can meet in an alert is missing from the page."""
    page = PAGE.read_text(encoding="utf-8")
    for name in (*Alert.model_fields, *CloseReason.__args__):
        assert f"`{name}`" in page
    for severity in Severity:
        assert f"| {severity} |" in page
    for name in format_names():
        assert f"## {name} format" in page.replace("Native", "native").replace("OCSF", "ocsf")


def test_the_example_is_valid() -> None:
    """The example of the page is an alert in every state, and a valid finding."""
    from alerts.alert import Status
    from alerts.formats import ocsf

    for status in Status:
        alert = reference.example(status)
        assert Alert.from_json(alert.to_json()) == alert
        assert faults(ocsf.finding(alert)) == []


@pytest.mark.parametrize("detector", sorted(REASONS))
def test_runbooks_cover_exactly_the_reasons(detector: str) -> None:
    """A detector's runbook has one heading per reason code, where `runbook` points."""
    for reason in REASONS[detector]:
        path, _, heading = runbook(detector, reason).partition("#")
        assert heading in sections(Path(path).read_text(encoding="utf-8"))
    page = Path(f"docs/runbooks/{detector}.md").read_text(encoding="utf-8")
    assert list(sections(page)) == list(REASONS[detector])


@pytest.mark.parametrize("detector", sorted(REASONS))
def test_runbooks_say_what_to_do(detector: str) -> None:
    """Each reason has its meaning, three checks, the benign case and what to do in an attack."""
    page = Path(f"docs/runbooks/{detector}.md").read_text(encoding="utf-8")
    for reason, text in sections(page).items():
        places = [text.find(part) for part in PARTS]
        assert -1 not in places, reason
        assert places == sorted(places), reason
        assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == ["1", "2", "3"], reason
