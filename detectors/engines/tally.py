"""What a worker has done since it started, over all partitions that it has had."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counters of one worker; they only grow."""

    records: Counter[str] = field(default_factory=Counter)
    """By the names of a core's counters: what has become of records of partitions it has left."""
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """States of alerts that a broker has acknowledged, by detector and severity."""
    raised: int = 0
    """States of alerts, acknowledged or not yet."""
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    """Of CPU, for copying and packing."""
    checkpoint_bytes: int = 0
    rebuilt: Counter[str] = field(default_factory=Counter)
    """States that were made anew, by the reason."""
