"""What a worker does before it joins its group: nobody is to wait for it with a partition."""

import gc

from detectors.config import Config
from detectors.engines import memory, record_batches
from detectors.engines.cores import ConfiguredCores, ConfiguredSources
from detectors.warm import load, warm_up


def prepare(config: Config, cores: ConfiguredCores, shared: ConfiguredSources) -> None:
    """Compile, or load, all that a worker runs; and settle how the process uses memory."""
    memory.settle()  # before threads have heaps of their own
    record_batches.load()
    warm_up(config)
    load(cores.new(0).core)
    load(shared.new(0).shared.core)
    gc.collect()  # nothing was while it compiled
    memory.give_back()
