"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

profiles_option = click.option(
    "--profiles",
    type=click.Path(exists=True, path_type=Path),
    help="Provider profiles of your own (TOML): a file, or a folder of files.",
)
"""Before the `profiles` of a configuration."""
