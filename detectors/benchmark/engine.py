"""The detectors' core of one partition, as the demo drives it."""

from alerts.alert import Alert
from detectors.batch import Decoder
from detectors.benchmark.errors import BenchmarkError
from detectors.config import Config
from detectors.shared import Partitions
from detectors.warm import warm_up
from ingest.sources import Lines


class LocalEngine:
    """Events in order of time through one core, a chunk at a time, so that alerts show early."""

    def __init__(self, config: Config) -> None:
        warm_up(config)
        self._state = Partitions(config)
        self._decoder = Decoder(config)

    def feed(self, lines: Lines) -> list[Alert]:
        """Walks some events, later than all before; every one of them must be valid."""
        decoded = self._decoder.buffer(lines.buffer, lines.spans)
        if decoded.rejected:
            first = decoded.rejected[0]
            msg = f"{lines.where(first.index)}: the simulation made a bad event ({first.message})"
            raise BenchmarkError(msg)
        return self._state.correlator.take(self._state.feed_sorted(0, decoded.batch).alerts)

    def finish(self) -> list[Alert]:
        """Ends the walk at the last event."""
        return self._state.correlator.take(self._state.finish())
