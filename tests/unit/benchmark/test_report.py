"""Frames, figures and the report."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.figure import Figure

from alerts.alert import Alert, Quantity, Severity, Status, alert_id
from detectors.benchmark import plots
from detectors.benchmark.day import MIDNIGHT
from detectors.benchmark.errors import BenchmarkError
from detectors.benchmark.frames import (
    alerts_frame,
    hourly,
    read_alerts,
    read_events,
    simulated_events,
)
from detectors.benchmark.jsonl import render
from detectors.benchmark.report import report
from detectors.benchmark.score import score

DAY = pd.Timestamp(MIDNIGHT, unit="us", tz="UTC")
EVIL = "<script>alert(1)</script>\"'$\\alpha$\u202e"


@pytest.fixture(scope="module")
def events(day):
    """Return the shared day as a frame."""
    return simulated_events(day.rows, day.world.words)


def hostile(label):
    """Return an alert whose words try to break out of the page."""
    at = label.at[0]
    return Alert(
        id=alert_id("spoofed-source", [EVIL], at), detector="spoofed-source",
        reason="forged_from_new_network", severity=Severity.HIGH, score=90.0, confidence=1.0,
        status=Status.OPEN, sender=EVIL, senders=(EVIL,), sender_count=1, first_seen=at,
        last_seen=at, opened_at=at, updated_at=at, count=1, summary=f"from {EVIL}",
        expected={"rate": Quantity(0.5, "1/h")}, observed={"rate": Quantity(60.0, "1/h")},
        runbook="docs/r.md", config="0" * 12,
    )  # fmt: skip


def test_frames_of_simulation_and_files_agree(day, events, tmp_path):
    """What a frame says does not depend on the way the events took."""
    part = day.day[:2000]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(render(part, day.world.words)))
    read, made = read_events([path]), simulated_events(part, day.world.words)
    for name in ("id", "sender", "verdict", "reason", "source_ip", "event_type", "delivery_fp"):
        left, right = (frame[name].astype(object).fillna("").tolist() for frame in (read, made))
        if name.endswith("_fp"):
            right = ["" if set(value) == {"0"} else value for value in right]
        assert left == right, name
    assert read["received_at"].tolist() == made["received_at"].tolist()
    assert read["body_bytes"].tolist() == made["body_bytes"].tolist()
    assert hourly(made)["events"].sum() == 2000


def test_unreadable_events_are_an_error_of_one_line(tmp_path):
    """A file that holds no events is named."""
    path = tmp_path / "broken.jsonl"
    path.write_text("{not json\n")
    with pytest.raises(BenchmarkError, match=r"broken\.jsonl"):
        read_events([path])
    with pytest.raises(BenchmarkError, match="no file"):
        read_events([])


def test_alerts_are_read_back_as_their_latest_state(day, tmp_path):
    """A file of updates becomes one row per alert."""
    one = hostile(next(label for label in day.labels if label.at))
    update = one.model_copy(update={"status": Status.UPDATED, "count": 9})
    path = tmp_path / "alerts.jsonl"
    path.write_bytes(one.to_json() + b"\n" + update.to_json() + b"\n")
    frame = alerts_frame(read_alerts(path))
    assert frame["count"].tolist() == [9]
    assert frame["expected"].tolist() == ["rate 0.5 1/h"]
    assert alerts_frame([]).empty


def test_every_plot_draws_even_without_data(events):
    """Plots take a full frame, one event, and no alerts at all."""
    none = alerts_frame([])
    for frame in (events[events["sender"] == "stripe-eu"], events.iloc[-1:]):
        sender = str(frame["sender"].iloc[0])
        assert isinstance(plots.timeline(frame, none), Figure)
        assert isinstance(plots.sender_card(frame, sender, DAY), Figure)
    assert isinstance(plots.reasons_over_time(events), Figure)


class Page(HTMLParser):
    """Collects the elements and links of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_the_report_stands_alone_and_escapes_every_word(day, events):
    """No script, nothing loaded, hostile names shown as text, ids unique, both themes."""
    some = events[events["sender"].isin(["stripe-eu", "crm-saas"])]
    alert = hostile(next(label for label in day.labels if label.at))
    page = report(some, [alert], score(day.labels, [alert]), DAY, facts={"seed": EVIL})
    parsed = Page()
    parsed.feed(page)
    assert "script" not in parsed.tags
    assert not parsed.tags & {"link", "iframe", "object", "embed", "img"}
    assert all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"url\((?!#)", page)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in page
    assert plots.INK not in page
    assert "not asked for" in page
    assert "✗ missed" in page


def test_equal_runs_make_equal_reports(day, events):
    """The page holds no time of making and no random id."""
    some = events[events["sender"] == "stripe-eu"]
    result = score(day.labels, [])
    pages = {report(some, [], result, DAY, facts={"seed": "7"}) for _ in range(2)}
    assert len(pages) == 1
