"""The worker on Kafka: its speed beside others, its delay, checkpoints and recovery, in one run."""

from __future__ import annotations

from tests.bench import checkpoint, delay, engine, recovery
from tests.bench.figures import write


def run() -> None:
    """Measure all of it, one after the other."""
    write("engine", engine.figures())
    write("delay", delay.figures())
    write("checkpoint", checkpoint.figures())
    write("recovery", recovery.figures())


if __name__ == "__main__":
    run()
