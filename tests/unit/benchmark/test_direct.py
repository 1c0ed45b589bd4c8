"""Simulated rows as batches, held to the long way through JSON."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from detectors.batch import Decoder
from detectors.benchmark.arrivals import HOUR
from detectors.benchmark.day import MIDNIGHT
from detectors.benchmark.direct import DirectDecoder
from detectors.benchmark.jsonl import render
from detectors.config import Config, Override
from detectors.core import Core
from ingest.inventory import Inventory, Plan, Sender
from ingest.sources import cut


def to_datetime(hours):
    """Return so many hours after the labelled day's midnight."""
    return datetime.fromtimestamp(MIDNIGHT // 1_000_000, UTC) + timedelta(hours=hours)


@pytest.fixture(scope="module")
def both(day):
    """Return the same rows decoded both ways."""
    config = Config()
    rows = day.rows[-25_000:]
    lines = cut("rows", 1, b"".join(render(rows, day.world.words)))
    long = Decoder(config).buffer(lines.buffer, lines.spans)
    assert not long.rejected
    return config, DirectDecoder(config).batch(rows, day.world.words), long.batch


def test_every_column_is_what_the_decoder_reads_from_json(both):
    """All columns and ids are equal, bit for bit."""
    _, direct, long = both
    for name in long.columns.dtype.names:
        assert np.array_equal(direct.columns[name], long.columns[name]), name
    assert np.array_equal(direct.ids, long.ids)


def test_words_are_rendered_when_asked_for(both):
    """The JSON, the sender and the order of a taken part are those of the long way."""
    _, direct, long = both
    order = np.array([17, 3, 24_999])
    for i in range(3):
        assert direct.take(order).value(i) == long.take(order).value(i)
        assert direct.take(order).sender(i) == long.take(order).sender(i)
        assert direct.take(order).event(i) == long.take(order).event(i)


def test_plans_and_overrides_begin_and_end_where_they_should(day):
    """What the configuration reads from an event's time is right on both sides of each edge."""
    plan = Plan("campaign", "ticket-sales", to_datetime(hours=9.5), to_datetime(hours=15), "spring")
    inventory = Inventory({"ticket-sales": Sender("ticket-sales")}, {}, (plan,))
    at = MIDNIGHT + 12 * HOUR
    override = Override("ticket-sales", "payload-volume", "why", at, {"size_ratio": 20.0})
    config = Config(inventory=inventory, overrides=(override,))
    rows = day.day
    long = Decoder(config).values(b"".join(render(rows, day.world.words)).splitlines()).batch
    direct = DirectDecoder(config).batch(rows, day.world.words)
    assert len(np.unique(long.columns["plan"])) == 2
    for name in long.columns.dtype.names:
        assert np.array_equal(direct.columns[name], long.columns[name]), name


def test_the_core_finds_the_same_alerts(both):
    """Both ways give the same alerts, and the same state."""
    config, direct, long = both
    cores = Core(config), Core(config)
    alerts = [core.feed_sorted(b).alerts for core, b in zip(cores, (direct, long), strict=True)]
    assert len(alerts[0]) > 5
    assert alerts[0] == alerts[1]
    assert cores[0].digest() == cores[1].digest()
