"""What Linux says of a process, and Kafka of its group, every few seconds without drift."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.integration.pipeline import EVENTS, Pipeline

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One look; memory in MiB, CPU time in seconds since the start of the process."""

    seconds: float
    """Since the first event was published."""
    rss: float
    anonymous: float
    """Of that, what no file holds: libraries and kernels are left out."""
    descriptors: int
    threads: int
    lag: int
    """Records of the events that the group has not committed."""
    cpu: float

    def to_json(self) -> dict[str, float]:
        """As it stands in out/soak.json."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def look(pid: int, seconds: float, lag: int) -> Sample:
    """Read /proc; raises `OSError` where there is no such process."""
    proc = Path("/proc") / str(pid)
    memory = _fields(proc / "smaps_rollup")
    # The name may hold blanks; what follows it does not.
    stat = (proc / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        seconds=seconds,
        rss=memory["Rss"] * 1024 / MIB,
        anonymous=memory["Anonymous"] * 1024 / MIB,
        descriptors=len(os.listdir(proc / "fd")),  # noqa: PTH208 - no object for each
        threads=_fields(proc / "status")["Threads"],
        lag=lag,
        cpu=(int(stat[11]) + int(stat[12])) / TICKS,
    )


def _fields(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            found[name] = int(number[0])
    return found


def watching(
    pid: int, pipeline: Pipeline, every: float, goes_on: Callable[[], bool]
) -> Iterator[Sample]:
    """Look every so many seconds while it goes on; looks that are missed are left out."""
    begin = monotonic()
    number = 0
    while goes_on():
        now = monotonic() - begin
        if now < number * every:
            sleep(min(number * every - now, 0.5))
            continue
        yield look(pid, now, pipeline.left(EVENTS))
        number = int((monotonic() - begin) / every) + 1
