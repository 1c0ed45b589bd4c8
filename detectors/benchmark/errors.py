"""What can go wrong in the benchmark, as one line: what, where, allowed, given."""

from detectors.errors import DetectorError


class BenchmarkError(DetectorError):
    """A fleet, a change of it or a run of the demo cannot be made as asked."""
