"""Long names of senders: each checkpoint holds the new ones only, and all of them are there."""

from __future__ import annotations

import random

import pytest

from detectors import long_names
from detectors.config import Config, StreamSettings
from detectors.core import Core
from detectors.long_names import LongNames
from detectors.snapshot import pack
from tests.states import merged, packed_again
from tests.unit.detectors.streams import MONDAY, SECOND, encode, event

LONG = "a-sender-whose-name-is-longer-than-its-row/{:04}"
ODD = LONG + "\n\0é"


def packed(names: LongNames) -> bytes:
    """All of it as the bytes of a checkpoint."""
    return pack({}, {f"names/{name}": array for name, array in names.snapshot().items()})


@pytest.mark.parametrize("seed", range(2))
def test_names_are_those_of_a_dictionary_over_checkpoints(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions get names, and others; whatever was saved between, a restore knows the newest."""
    monkeypatch.setattr(long_names, "FEW", 20)
    chance = random.Random(seed)
    names, known = LongNames(), dict[int, str]()
    base, changes, rewritten, restored = packed(names), list[bytes](), 0, 0
    for number in range(1000):
        position = chance.randrange(60)
        if chance.random() < 0.3:
            names.put(position, None)
            known.pop(position, None)
        else:
            known[position] = ODD.format(number)
            names.put(position, known[position])
        if chance.random() < 0.1:
            if names.is_new:
                rewritten += 1
                base, changes = packed(names), []
            else:
                parts = names.changes().items()
                changes.append(pack({}, {f"names/{name}": array for name, array in parts}))
            names.clean()
            assert packed_again(base, changes) == packed(names)
            if chance.random() < 0.3:
                names = LongNames()
                names.restore({"log": merged(base, changes).arrays["names/log"]})
                base, changes, restored = packed(names), [], restored + 1
        assert {p: names.get(p) for p in range(60)} == {p: known.get(p) for p in range(60)}
    assert rewritten > 1
    assert restored > 1


def test_a_checkpoint_of_changes_holds_no_name_twice() -> None:
    """Hundreds of long names stand in the snapshot; what follows holds that of the new sender."""
    core = Core(Config(stream=StreamSettings(max_senders=500)))
    known = [event(MONDAY + n * SECOND, LONG.format(n)) for n in range(300)]
    core.feed_log(encode(known), range(300), [MONDAY + 400 * SECOND] * 300)
    base = b"".join(core.copied(whole=True).pieces())
    later = [event(MONDAY + (400 + n) * SECOND, LONG.format(n)) for n in (7, 300)]
    core.feed_log(encode(later), range(300, 302), [MONDAY + 800 * SECOND] * 2)
    copied = core.copied(whole=False)
    changes = b"".join(copied.pieces())
    assert not copied.whole
    assert [changes.count(f"its-row/{n:04}".encode()) for n in (7, 300)] == [0, 1]
    again = Core.restore(core.config, merged(base, [changes]))
    assert again.digest() == core.digest()
    told = {one.sender for one in again.baselines()}
    assert told == {each["sender"] for each in [*known, *later]}


def test_when_names_were_written_anew_the_checkpoint_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood of names evicts itself: the log stays short, and what it was does not matter."""
    monkeypatch.setattr(long_names, "FEW", 20)
    core = Core(Config(stream=StreamSettings(max_senders=16)))
    core.copied(whole=True)
    flood = [event(MONDAY + n * SECOND, LONG.format(n)) for n in range(400)]
    core.feed_log(encode(flood), range(400), [MONDAY + 500 * SECOND] * 400)
    assert core.nbytes["names"] < 60 * (len(LONG) + 20) + 16 * 200
    copied = core.copied(whole=False)
    assert copied.whole
    data = b"".join(copied.pieces())
    assert Core.restore(core.config, data).snapshot() == core.snapshot() == data
