"""Existing logs become events: `callwatch import FORMAT FILES... --mapping mapping.toml`.

A parser for each format turns a line into a `Call`, a mapping file says which path is which
endpoint and sender and what a status means, and what is left is an event. What a log does not
say stays null: nothing is known of signatures, so nothing is said of them.
"""

from .mapping import Mapping, load_mapping
from .run import FORMATS, Summary, import_logs

__all__ = ["FORMATS", "Mapping", "Summary", "import_logs", "load_mapping"]
