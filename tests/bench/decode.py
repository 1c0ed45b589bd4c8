"""From JSON lines to alerts, beside parsing alone."""

from __future__ import annotations

import json
from collections import deque
from functools import partial

from detectors.batch import Decoder
from detectors.benchmark.day import labelled_day
from detectors.benchmark.jsonl import render
from detectors.config import Config
from detectors.core import Core
from ingest.schema import parse_event
from ingest.sources import cut
from tests.bench.figures import Figure, per_second

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

    best = partial(per_second, n, runs=5)
    parsing = best(lambda: deque(map(json.loads, values), 0))
    model = best(lambda: deque(map(parse_event, values), 0))
    decoding = best(lambda: Decoder(config).buffer(lines.buffer, lines.spans))
    decoder = Decoder(config)
    batch = decoder.buffer(lines.buffer, lines.spans).batch
    known = best(lambda: decoder.buffer(lines.buffer, lines.spans))
    whole = best(
        lambda: Core(config).feed_sorted(Decoder(config).buffer(lines.buffer, lines.spans).batch)
    )
    assert len(batch) == n
    return [
        Figure("JSON to columns, first sight", decoding, unit, "json.loads alone", parsing),
        Figure("JSON to columns, first sight", decoding, unit, "the pydantic model", model),
        Figure("JSON to columns, names known", known, unit, "json.loads alone", parsing),
        Figure("JSON to columns, names known", known, unit, "the pydantic model", model),
        Figure("JSON to alerts", whole, unit, "json.loads alone", parsing),
    ]
