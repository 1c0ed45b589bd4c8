"""Learned models by name: a file that ``callwatch train`` wrote, or the one that is shipped."""

from __future__ import annotations

from pathlib import Path

import models
from detectors.errors import ConfigError
from models.store import MOST_BYTES, ModelError, StoredModel, from_bytes

SIMULATED = "simulated"
"""The name of the shipped model: of simulated senders, to try the detector with."""
SHIPPED = Path(models.__file__).parent / "simulated.cwm"


def read_model(path: Path) -> StoredModel:
    """Read a model's file; ConfigError says why it cannot be used."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)  # a device has no end
        return from_bytes(data)
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
    except ModelError as error:
        msg = f"{path}: {error}"
    raise ConfigError(msg)


def find_model(name: str, beside: Path) -> StoredModel:
    """Return the model that a configuration names; a relative path is beside its file."""
    return read_model(SHIPPED if name == SIMULATED else beside / name)
