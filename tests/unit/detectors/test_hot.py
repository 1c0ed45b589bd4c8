"""The busiest senders are named, in bounded memory, and nothing else depends on it."""

import numpy as np

from detectors.config import Config
from detectors.core import Core
from detectors.event import HOUR
from detectors.hot import ROOM, STRIDE, HotSenders
from tests.soak.traffic import Traffic

START = 1_772_323_200_000_000


def test_a_busy_sender_is_found_among_very_many() -> None:
    """One sender in ten is found among a million others, with no more than it truly has."""
    rng = np.random.Generator(np.random.PCG64(1))
    hot = HotSenders()
    for _ in range(200):
        keys = rng.integers(1, 2**62, 5000)
        keys[rng.random(5000) < 0.1] = 77
        hot.see(keys)
        assert len(hot._counts) <= ROOM
    seen, found = hot.take(3)
    assert abs(seen - 1_000_000 / STRIDE) <= 1
    assert found[0][0] == 77
    assert 0.07 < found[0][1] / seen < 0.12
    assert hot.take(3) == (0, [])


def test_cuts_of_batches_change_nothing() -> None:
    """The same events in other batches give the same counts; nobody's events are no sender's."""
    keys = np.arange(20_000) % 5
    whole, cut = HotSenders(), HotSenders()
    whole.see(keys)
    for start in range(0, 20_000, 37):
        cut.see(keys[start : start + 37])
    found = whole.take(9)
    assert found == cut.take(9)
    assert [key for key, _ in found[1] if key == 0] == []


def test_a_core_names_its_busiest_and_its_state_knows_nothing_of_it() -> None:
    """Names come from the roster; a core that was asked has the same bytes as one that was not."""
    values = [record.value for record in Traffic(4000, 20, START, HOUR)]
    now = [START + HOUR] * len(values)
    asked, other = Core(Config()), Core(Config())
    for core in (asked, other):
        core.feed_log(values, range(len(values)), now)
    seen, found = asked.busiest(3)
    assert seen == 4000 // STRIDE + 1
    assert len(found) == 3
    assert all(name.startswith("sender-000") for name in found)
    assert asked.busiest(3) == (0, {})
    assert asked.digest() == other.digest()
