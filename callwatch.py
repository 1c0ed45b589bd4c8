"""The command line of callwatch: every command lives beside its subject and is registered here.

This is the composition root: nothing else imports from all folders.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from alerts.explain import escape_unprintable

COMMANDS = {
    "demo": ("detectors.benchmark.demo_cli", "demo"),
    "detect": ("detectors.cli", "detect"),
    "backtest": ("detectors.backtest_cli", "backtest"),
    "import": ("ingest.importers.cli", "import_command"),
    "evaluate": ("detectors.benchmark.evaluate_cli", "evaluate"),
    "inventory": ("detectors.inventory_cli", "inventory"),
    "priors": ("detectors.priors_cli", "priors"),
    "doctor": ("detectors.doctor_cli", "doctor"),
    "train": ("detectors.train_cli", "train"),
    "worker": ("detectors.engines.worker_cli", "worker"),
    "size": ("detectors.size_cli", "size"),
    "verdict": ("alerts.verdict_cli", "verdict"),
    "route": ("alerts.cli", "route"),
    "topics": ("detectors.engines.topics_cli", "topics"),
}
"""Name of a command: where it is; it is imported when it is called, so that each starts fast."""


class Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


def _tell_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Tell it and end; to look it up takes longer than all else of a start."""
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("callwatch")
    except PackageNotFoundError:
        found = "0 (not installed)"
    click.echo(f"callwatch {found}")
    ctx.exit()


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Watch the stream of webhooks and redirect callbacks for spoofing, replay and abuse."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 it ran, 1 it could not run, 2 usage, 3 where --fail-on says so."""
    try:
        result: Any = cli.main(arguments, prog_name="callwatch", standalone_mode=False)
    except click.exceptions.Abort:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, it is stopping already
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:  # the reader has seen enough
        sys.stderr.close()
        return 0
    except click.ClickException as error:
        lines = error.message.splitlines()  # names in it may be anybody's
        error.message = "\n".join(escape_unprintable(line) for line in lines)
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
