"""What `callwatch size` says of the streams in docs/scale.md."""

import shlex
from pathlib import Path

from click.testing import CliRunner

from detectors.size_cli import size


def told(nth: int) -> str:
    """The answer to the n-th command of the page, as it stands in a terminal."""
    page = Path(__file__).parents[2] / "docs" / "scale.md"
    commands = [
        line.removeprefix("$ callwatch size ")
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("$ callwatch size ")
    ]
    done = CliRunner().invoke(size, shlex.split(commands[nth]))
    if done.exit_code != 0:
        msg = f"docs/scale.md: callwatch size {commands[nth]}: {done.output}"
        raise ValueError(msg)
    return f"```\n{done.output.rstrip()}\n```"
