"""What tests of deployments ask of the code: whether a command is one, and a variable is known."""

from collections.abc import Sequence

import click

import callwatch
from tests.docs.words import environment


def accepted(words: Sequence[str]) -> click.Context:
    """The context of a command of callwatch with these words; click's error where it is none."""
    command: click.Command = callwatch.cli
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest.pop(0))
        assert found is not None, words
        command = found
    return command.make_context(command.name, rest)


def known_variables() -> set[str]:
    """Every environment variable of the documents, and those that name a file of its value."""
    names = {row[0].strip("`") for row in environment()}
    return names | {f"{name}_FILE" for name in names}
