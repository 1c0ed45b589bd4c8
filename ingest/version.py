"""The version of this package, as receivers report it."""

__version__ = "0.1.0"
