"""From JSON lines to alerts, beside parsing alone."""

from __future__ import annotations

import json
from time import process_time

from detectors.batch import Decoder
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.core import Core
from ingest.schema import parse_event
from ingest.sources import cut
from tests.bench.figures import Figure

HISTORY_DAYS = 3


def figures() -> list[Figure]:
    """Measure decoding, and decoding with detection, on the simulated day."""
    day = labelled_day(7, history_days=HISTORY_DAYS)
    values = b"".join(render(day.rows, day.world.words)).splitlines()
    lines = cut("day", 1, b"\n".join(values))
    config = Config()
    Core(config).feed_sorted(Decoder(config).values(values[:100]).batch)  # compile or load
    n = len(values)
    unit = "events per CPU-second"

    started = process_time()
    for value in values:
        json.loads(value)
    parsing = n / (process_time() - started)
    started = process_time()
    for value in values:
        parse_event(value)
    model = n / (process_time() - started)
    decoder = Decoder(config)
    started = process_time()
    batch = decoder.buffer(lines.buffer, lines.spans).batch
    decoding = n / (process_time() - started)
    started = process_time()
    decoder.buffer(lines.buffer, lines.spans)
    known = n / (process_time() - started)
    core = Core(config)
    started = process_time()
    core.feed_sorted(Decoder(config).buffer(lines.buffer, lines.spans).batch)
    whole = n / (process_time() - started)
    assert len(batch) == n
    return [
        Figure("JSON to columns, first sight", decoding, unit, "json.loads alone", parsing),
        Figure("JSON to columns, first sight", decoding, unit, "the pydantic model", model),
        Figure("JSON to columns, names known", known, unit, "json.loads alone", parsing),
        Figure("JSON to columns, names known", known, unit, "the pydantic model", model),
        Figure("JSON to alerts", whole, unit, "json.loads alone", parsing),
    ]
