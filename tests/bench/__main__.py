"""Run all parts of the bench, one after the other."""

from __future__ import annotations

from tests.bench import columns, core, decode, receivers, replay, start, stream
from tests.bench.figures import write

if __name__ == "__main__":
    write("start", start.figures())
    write("receivers", receivers.figures())
    write("decode", decode.figures())
    write("columns", columns.figures())
    write("core", core.figures())
    write("replay", replay.figures())
    stream.run()
