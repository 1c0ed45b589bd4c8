"""Things that learn: streaming statistics, one file each, as scalar functions on a few numbers.

A statistic keeps no object: it takes the numbers that a row of detector state holds and returns the
new ones. So it compiles with numba, its memory is bounded by construction, and a snapshot is bytes.
"""
