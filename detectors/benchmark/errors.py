"""What can go wrong in the benchmark, as one line: what, where, allowed, given."""


class BenchmarkError(Exception):
    """A fleet, a change of it or a run of the demo cannot be made as asked."""
