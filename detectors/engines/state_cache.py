"""The newest checkpoint of each partition in a folder, so that a restart reads little of the topic.

A file holds the records of one chain as they stand in `callwatch.state`: a snapshot and what has
changed since, each with a checksum that covers all before it. A snapshot goes into a new file that
then takes the place of the old one; changes are appended. A torn end is cut off by its checksum.

A file alone proves nothing: it may be damaged, old, or of another cluster. It counts only where its
newest manifest stands in the topic, byte for byte and at the very offset; each manifest names the
one before it by its SHA-256 and its chunks by theirs, so that one record of the topic confirms the
whole chain. What the topic holds behind it is read from there, always. Whatever does not fit is
passed over with one line, and the topic is read as if there were no file.

Bounds: one file for each partition, of at most two snapshots and one checkpoint of changes (the
next snapshot is due then), and a third snapshot while it is written. Files are of this user alone.
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from detectors.engines.errors import EngineError
from detectors.engines.state_topic import StateRecord

MAGIC: Final = b"CALLWATCH-CACHE-1\n"
CHECK_BYTES: Final = 16
MOST_HEAD: Final = 64 << 20
"""Bytes of keys and lengths of one checkpoint; more is damage, and is not read into memory."""
LOCK: Final = "lock"
_DRAFT: Final = re.compile(r"[a-z-]+-\d+\.[0-9a-f]{16}\.new")
_PRIVATE: Final = 0o077


class CacheError(EngineError):
    """A file of the cache cannot be used; the topic is read instead."""


class Kept(NamedTuple):
    """A chain of checkpoints of one owner; its last record is its newest manifest."""

    fence: str
    at: int
    """Where that manifest stands in the topic."""
    records: list[StateRecord]
    obsolete: list[bytes]
    """Keys that the owner was about to delete: whoever goes on from here must do it again."""


class Part(NamedTuple):
    """One checkpoint, to be kept after it was seen to count."""

    fence: str
    epoch: int
    base: int
    """The epoch of the snapshot on which it builds; its own for a snapshot."""
    at: int
    records: Sequence[StateRecord]
    obsolete: Sequence[bytes]


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    name: str
    fence: str
    epoch: int
    base: int
    at: int
    keys: list[bytes]
    sizes: list[int]
    obsolete: list[bytes]


class StateCache:
    """A folder that this process alone uses; `EngineError` where it cannot be had for that."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            msg = f"--cache-dir: {folder} cannot be used: {error.strerror}"
            raise EngineError(msg) from None
        try:
            self._check_owner(folder)
            self._lock = self._locked(folder)
            for name in os.listdir(self._folder):  # noqa: PTH208 - the folder that was opened
                if _DRAFT.fullmatch(name):  # of a worker that was killed meanwhile
                    os.unlink(name, dir_fd=self._folder)
        except BaseException:
            os.close(self._folder)
            raise

    def close(self) -> None:
        """Let another process have the folder; files may still be read and written."""
        os.close(self._lock)

    def file(self, table: str, partition: int) -> "CacheFile":
        """The file of one partition's checkpoints."""
        return CacheFile(self._folder, f"{table}-{partition}")

    def _check_owner(self, folder: Path) -> None:
        there = os.fstat(self._folder)
        if there.st_uid != os.geteuid() or there.st_mode & _PRIVATE:
            mode = stat.S_IMODE(there.st_mode)
            msg = f"--cache-dir: {folder} must be this user's alone, mode 700 (got {mode:o})"
            raise EngineError(msg)

    def _locked(self, folder: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            lock = os.open(LOCK, flags, 0o600, dir_fd=self._folder)
        except OSError as error:
            msg = f"--cache-dir: {folder / LOCK} cannot be opened: {error.strerror}"
            raise EngineError(msg) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            msg = f"--cache-dir: {folder} is another worker's; give each a folder of its own"
            raise EngineError(msg) from None
        return lock


class CacheFile:
    """The chain of one partition; all calls block, and are made one after the other."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self._made: tuple[int, int] | None = None  # the file to which changes may be appended
        self._epoch = 0  # of the last checkpoint in it
        self._check = b""

    def read(self) -> Kept | None:
        """What it holds; None where there is no file. `CacheError` where it is of no use."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            opened = os.open(self._name, flags, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"it cannot be opened: {error.strerror}"
            raise CacheError(msg) from None
        try:
            size = _size_of_own(opened)
            with open(opened, "rb", closefd=False) as file:
                parts = list(self._chain(file, size))
        except OSError as error:
            msg = f"it cannot be read: {error.strerror}"
            raise CacheError(msg) from None
        finally:
            os.close(opened)
        if not parts:
            msg = "there is no whole checkpoint in it"
            raise CacheError(msg)
        return Kept(
            parts[-1].fence,
            parts[-1].at,
            [record for part in parts for record in part.records],
            [key for part in parts for key in part.obsolete],
        )

    def keep(self, part: Part) -> None:
        """Hold a checkpoint too; changes only behind those on which they build. Raises `OSError`.

        Where something failed nothing is kept until the next snapshot.
        """
        if part.epoch == part.base:
            self._made = None
            self._replace(part)
        elif self._made is not None and part.epoch == self._epoch + 1:
            made, self._made = self._made, None
            self._append(part, made)
            self._made = made
        else:
            self._made = None
            return
        self._epoch = part.epoch

    def forget(self) -> None:
        """Remove the file: it is of no use, and takes room."""
        self._made = None
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._folder)

    def _replace(self, part: Part) -> None:
        draft = f"{self._name}.{secrets.token_hex(8)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(draft, flags, 0o600, dir_fd=self._folder)
        try:
            with os.fdopen(opened, "wb") as file:
                file.write(MAGIC)
                check = self._write(file, part, b"")
                file.flush()
                os.fsync(opened)
                there = os.fstat(opened)
            os.rename(draft, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=self._folder)
            raise
        os.fsync(self._folder)
        self._made, self._check = (there.st_dev, there.st_ino), check

    def _append(self, part: Part, made: tuple[int, int]) -> None:
        """Not synced: what a power cut takes from here stands in the topic."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(self._name, flags, dir_fd=self._folder)
        with os.fdopen(opened, "ab") as file:
            there = os.fstat(opened)
            if (there.st_dev, there.st_ino) != made:
                msg = "the file has been replaced"
                raise OSError(msg)
            self._check = self._write(file, part, self._check)

    def _write(self, file: BinaryIO, part: Part, before: bytes) -> bytes:
        values = [record.value or b"" for record in part.records]
        head = msgspec.msgpack.encode(
            _Head(
                self._name,
                part.fence,
                part.epoch,
                part.base,
                part.at,
                [record.key for record in part.records],
                [len(value) for value in values],
                list(part.obsolete),
            )
        )
        check = blake2b(before, digest_size=CHECK_BYTES)
        for piece in (len(head).to_bytes(8, "big"), head, *values):
            check.update(piece)
            file.write(piece)
        file.write(check.digest())
        return check.digest()

    def _chain(self, file: BinaryIO, size: int) -> Iterator[Part]:
        """The checkpoints that are whole and build on each other, up to the first that is not."""
        if file.read(len(MAGIC)) != MAGIC:
            return
        before, last = b"", None
        while (found := self._part(file, size, before)) is not None:
            part, before = found
            if last is None:
                if part.epoch != part.base:
                    return
            elif (part.fence, part.base, part.epoch) != (last.fence, last.base, last.epoch + 1):
                return
            last = part
            yield part

    def _part(self, file: BinaryIO, size: int, before: bytes) -> tuple[Part, bytes] | None:
        check = blake2b(before, digest_size=CHECK_BYTES)
        prefix = file.read(8)
        length = int.from_bytes(prefix, "big")
        if len(prefix) < 8 or length > min(MOST_HEAD, size - file.tell()):
            return None
        raw = file.read(length)
        check.update(prefix)
        check.update(raw)
        try:
            head = msgspec.msgpack.decode(raw, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        whole = sum(head.sizes) if all(each >= 0 for each in head.sizes) else size
        if len(head.keys) != len(head.sizes) or whole > size - file.tell():
            return None
        records = []
        for key, each in zip(head.keys, head.sizes, strict=True):
            value = file.read(each)
            check.update(value)
            records.append(StateRecord(key, value))
        if file.read(CHECK_BYTES) != check.digest() or head.name != self._name or not records:
            return None
        return (
            Part(head.fence, head.epoch, head.base, head.at, records, head.obsolete),
            check.digest(),
        )


def _size_of_own(opened: int) -> int:
    """The length of a file that is this user's alone."""
    there = os.fstat(opened)
    if not stat.S_ISREG(there.st_mode):
        msg = "it is no file"
        raise CacheError(msg)
    if there.st_uid != os.geteuid() or there.st_mode & _PRIVATE:
        msg = f"it must be this user's alone (got mode {stat.S_IMODE(there.st_mode):o})"
        raise CacheError(msg)
    return there.st_size
