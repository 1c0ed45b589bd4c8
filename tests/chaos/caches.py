"""What happens to the folder of a worker's local cache while the worker is away."""

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Final

Files = dict[str, bytes]


def held(folder: Path) -> Files:
    """The checkpoints in it, by name."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.name != "lock" and path.suffix != ".new"
    }


def as_left(folder: Path, _: Files) -> None:
    """Nothing happens."""


def deleted(folder: Path, _: Files) -> None:
    """The whole folder is gone."""
    rmtree(folder)


def damaged(folder: Path, _: Files) -> None:
    """A byte in the middle of each file is another one."""
    for name, data in held(folder).items():
        at = len(data) // 2
        _put(folder / name, data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])


def torn(folder: Path, _: Files) -> None:
    """The end of each file was not written."""
    for name, data in held(folder).items():
        _put(folder / name, data[:-10])


def older(folder: Path, earlier: Files) -> None:
    """A backup is put back: files of an earlier epoch."""
    for name, data in earlier.items():
        _put(folder / name, data)


WAYS: Final[tuple[Callable[[Path, Files], None], ...]] = (as_left, deleted, damaged, torn, older)

CERTAIN: Final = (as_left, deleted, damaged)
"""Of these alone it is known beforehand whether the files are of use."""


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)
