# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""`callwatch import`: existing logs become events."""

import gzip
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, cast

import click

from ..errors import IngestError, shown
from ..fingerprint import MIN_PEPPER_BYTES
from ..hex_secret import hex_secret
from ..profiles import load_profiles
from .call import LineError
from .guess import look, propose
from .mapping import load_mapping
from .run import FORMATS, Summary, import_logs, no_mapping, parsed_lines
from .spill import Spill

SHOWN_BROKEN: Final = 20
PEPPER: Final = "CALLWATCH_PEPPER"


@click.command("import")
@click.argument("format_name", metavar="FORMAT", type=click.Choice(list(FORMATS)))
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--mapping",
    "mapping_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Which path is which endpoint and sender, and what a status means (TOML).",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="Write events here, by time; gzip where it ends with .gz; - is standard output.",
)
@click.option("--receiver", help="Who received, instead of the mapping's `receiver`.")
@click.option("--guess", is_flag=True, help="Propose a mapping from the log, on standard output.")
@click.option(
    "--json", "as_json", is_flag=True, help="End with one JSON object on standard output."
)
def import_command(
    format_name: str,
    files: tuple[str, ...],
    mapping_path: Path | None,
    out: str | None,
    receiver: str | None,
    guess: bool,
    as_json: bool,
) -> None:
    """Turn logs into events for `callwatch detect`.

    FORMAT is nginx, apache, nginx-json, alb, cloudflare or github; FILES are plain or gzip, - is
    standard input. Broken lines are counted, the first twenty named with file and line, and the
    rest goes on.
    """
    if guess:
        if mapping_path or out or receiver or as_json:
            msg = "--guess stands alone: it writes a mapping and no events"
            raise click.UsageError(msg)
        _guess(format_name, files)
        return
    if mapping_path is None or out is None:
        msg = "--mapping and --out are needed; `--guess` proposes a mapping"
        raise click.UsageError(msg)
    if out == "-" and as_json:
        msg = "--json writes to standard output: allowed --out is a file (got -)"
        raise click.UsageError(msg)
    _refuse_overwriting(out, [*files, str(mapping_path)])
    if receiver is not None and not (0 < len(receiver) <= 128 and receiver.isprintable()):
        msg = f"--receiver: allowed are 1 to 128 printable characters; given {shown(receiver)}"
        raise click.UsageError(msg)
    started, broken, spill = time.perf_counter(), _Broken(), Spill()
    try:
        mapping = load_mapping(mapping_path, format_name)
        given = {one.provider for one in mapping.routes if one.provider is not None}
        for name in sorted(given - load_profiles().keys()):
            text = f"provider {shown(name)} is no shipped profile: detect takes it as generic"
            click.echo(f"warning: {mapping_path}: {text}, or give --profiles", err=True)
        summary = import_logs(
            format_name,
            files,
            mapping,
            spill,
            receiver=receiver,
            pepper=hex_secret(os.environ, PEPPER, MIN_PEPPER_BYTES, IngestError),
            on_broken=broken,
            on_progress=_progress if sys.stderr.isatty() else None,
        )
        events = spill.sorted(summary.take_back)
        _write(summary.heard.among(events, f"import/{format_name}"), out)
    except IngestError as error:
        raise click.ClickException(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        msg = f"{error.filename or out}: {error.strerror or error}"
        raise click.ClickException(msg) from None
    finally:
        spill.close()
    broken.close()
    _finish(summary, time.perf_counter() - started, as_json=as_json)


commands = [import_command]


def _guess(format_name: str, files: tuple[str, ...]) -> None:
    try:
        seen = look(parsed_lines(format_name, files, no_mapping()))
    except IngestError as error:
        raise click.ClickException(str(error)) from None
    click.echo(propose(seen, format_name, ", ".join(files)), nl=False)
    if not seen.calls:
        codes = ", ".join(f"{code} {count:,}" for code, count in seen.broken.most_common())
        msg = f"no request was found: is this {format_name}? {codes or 'the input is empty'}"
        raise click.ClickException(msg)


def _refuse_overwriting(out: str, read: list[str]) -> None:
    if out == "-":
        return
    path = Path(out)
    for other in map(Path, (name for name in read if name != "-")):
        both = path.exists() and other.exists()
        if path.samefile(other) if both else path.resolve() == other.resolve():
            msg = f"--out {out}: would overwrite what is read"
            raise click.UsageError(msg)


def _write(values: Iterator[bytes], out: str) -> None:
    with ExitStack() as stack:
        file: IO[bytes] = sys.stdout.buffer
        if out != "-":
            path = Path(out)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("wb"))
            if out.endswith(".gz"):
                packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0)  # the same bytes each time
                file = cast("IO[bytes]", stack.enter_context(packed))
        for value in values:
            file.write(value + b"\n")
        file.flush()


class _Broken:
    """Names the first broken lines on standard error, and counts the rest."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, where: str, error: LineError) -> None:
        self.count += 1
        if self.count <= SHOWN_BROKEN:
            click.echo(f"{where}: {error}", err=True)

    def close(self) -> None:
        if self.count > SHOWN_BROKEN:
            click.echo(f"... and {self.count - SHOWN_BROKEN:,} more broken lines", err=True)


def _progress(lines: int) -> None:
    click.echo(f"\rread: {lines:,} lines ", nl=False, err=True)


def _finish(summary: Summary, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**summary.as_json(), "seconds": round(seconds, 3)}))
        return
    if not summary.imported:
        click.echo("warning: nothing was imported: does the mapping fit the log?", err=True)
    parts = [f"{summary.read:,} read", f"{summary.imported:,} imported"]
    if summary.imported:
        parts[-1] += f" ({_counts(summary.verdicts.items())})"
    if summary.repeated:
        parts.append(f"{summary.repeated:,} read twice")
    for name, counts in (("ignored", summary.ignored), ("broken", summary.broken)):
        if counts:
            parts.append(f"{counts.total():,} {name} ({_counts(counts.items())})")
    parts.append(f"heard in {len(summary.heard.minutes):,} minutes")
    click.echo(f"{', '.join(parts)} in {seconds:.1f} s", err=True)


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts))
