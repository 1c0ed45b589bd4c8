"""Run all parts of the bench, one after the other."""

from __future__ import annotations

from tests.bench import checkpoint, core, decode, engine, receivers, start
from tests.bench.figures import write

if __name__ == "__main__":
    write("start", start.figures())
    write("receivers", receivers.figures())
    write("decode", decode.figures())
    write("core", core.figures())
    write("engine", engine.figures())
    write("checkpoint", checkpoint.figures())
