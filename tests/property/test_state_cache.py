"""Whatever happens to the files of the local cache: the state that is restored is the topic's."""

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.engines.assigned import Assigned
from detectors.engines.ports import TopicPartition
from detectors.engines.state_cache import StateCache
from tests.unit.engines.fakes import TOPICS, FakeCores, FakeKafka, one_fetch, run

WHERE = TopicPartition(TOPICS.events, 0)
NAME = "core-0"

DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**6), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.integers(0, 255)),
    st.tuples(st.just("zeros"), st.integers(0, 10**6), st.integers(1, 5000)),
    st.tuples(st.just("splice"), st.integers(0, 10**6), st.integers(0, 7)),
)


async def _history(folder: Path) -> tuple[FakeKafka, list[bytes]]:
    """Two owners' snapshots and changes, and the file as it was after each checkpoint."""
    kafka, files, chance = FakeKafka(), [], random.Random(4)
    cache = StateCache(folder)
    for _ in range(2):
        owner = Assigned(WHERE, kafka.outside(FakeCores(), cache=cache))
        await owner.restore()
        for count in (40, 1, 2, 1):
            values = [chance.choice("!?") * (n == 0) + chance.randbytes(8).hex()
                      for n in range(count)]  # fmt: skip
            await owner.feed(one_fetch(kafka.events(0, *values)))
            offset = await owner.save()
            assert offset is not None
            await kafka.commit({WHERE: offset})
            assert owner._state._keeping is not None
            await owner._state._keeping
            files.append((folder / NAME).read_bytes())
        owner.close()
    await owner.feed(one_fetch(kafka.events(0, "later")))
    cache.close()
    return kafka, files


async def _state(kafka: FakeKafka, cache: StateCache | None) -> tuple[list[str], list[str], int]:
    cores = FakeCores()
    owner = Assigned(WHERE, kafka.outside(cores, cache=cache))
    await owner.restore()
    return cores.made[-1].fed, cores.made[-1].told_of, owner.place.walked


def _damaged(data: bytes, files: list[bytes], how: tuple[str, int, int]) -> bytes:
    what, where, value = how
    at = where % max(len(data), 1)
    if what == "flip":
        return data[:at] + bytes([(data[at] if data else 0) ^ value]) + data[at + 1 :]
    if what == "cut":
        return data[:at]
    if what == "insert":
        return data[:at] + bytes([value]) + data[at:]
    if what == "zeros":
        return data[:at] + bytes(min(value, len(data) - at)) + data[at + value :]
    other = files[value]
    return data[:at] + other[where % max(len(other), 1) :]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(which=st.integers(0, 7), damage=st.lists(DAMAGE, max_size=3), emptied=st.booleans())
def test_no_file_makes_another_state(
    which: int, damage: list[tuple[str, int, int]], emptied: bool
) -> None:
    """Damaged, cut, old, or put together from others: the state is that of the topic alone."""

    async def work() -> None:
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "cache"
            kafka, files = await _history(folder)
            if emptied:
                kafka.logs.pop((TOPICS.state, 0))
            wanted = await _state(kafka, None)
            data = files[which]
            for how in damage:
                data = _damaged(data, files, how)
            (folder / NAME).write_bytes(data)
            (folder / NAME).chmod(0o600)
            cache = StateCache(folder)
            assert await _state(kafka, cache) == wanted
            cache.close()

    run(work, seconds=60)
