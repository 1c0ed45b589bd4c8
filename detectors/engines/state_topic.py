"""A partition's state and the offset that it reflects are one checkpoint in `callwatch.state`.

The topic is compacted and has as many partitions as the events; the checkpoint of partition p lies
in partition p. A checkpoint is a snapshot in chunks, each compressed by itself, or what has changed
since the one before it, then a manifest with the offset, the length and the SHA-256 of the chunks:
without its manifest it does not count, and a half-written one never hurts the one before it.
Changes name the snapshot on which they build, their base; all between the two are needed, and each
manifest of changes names the one before it by its SHA-256.

Keys are JSON, `[partition, fence, epoch, table, chunk]`; the tables tell the checkpoints of the
events' partitions from those of the sources'. The fence is random for each time that a worker gets
the partition, the epoch counts its checkpoints: so no two checkpoints ever share a key, not even
one of a stalled worker that believes it still is the owner.

Whoever gets a partition first writes a claim with its fence, and reads the log beyond it. A
manifest counts only where the last claim before it has its fence: so what a stalled owner writes
after the claim of the next counts for nobody, and all who read the log agree on what the claim was
made upon. What is older is deleted by an owner that has seen its own newer manifest count.

Everything here is a pure function of records; reading and writing them is the worker's part.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

import cramjam
import msgspec

from detectors.errors import OtherVersionError, StateError

T = TypeVar("T")
Read = Callable[[Iterable[memoryview], int], T]
"""Makes something of a content: its blocks, each of which is good until the next, and its length.
Raises `StateError` where that cannot be done."""

FORMAT: Final = 4
CHUNK_BYTES: Final = 512 * 1024
"""Bytes of a chunk, unpacked: half of what a Kafka topic takes by default, so it fits as it is."""


class Tables(NamedTuple):
    """What the keys of a checkpoint's records say in the place of the table."""

    data: str
    manifest: str
    claim: str


EVENTS: Final = Tables("core", "manifest", "claim")
SOURCES: Final = Tables("shared", "shared-manifest", "shared-claim")
"""The checkpoints of partitions of `callwatch.sources`."""


class StateKey(NamedTuple):
    """What a record of the state topic belongs to."""

    partition: int
    fence: str
    epoch: int
    table: str
    chunk: int

    def encode(self) -> bytes:
        """The key as it stands in the topic.

        >>> StateKey(3, "9f2c", 17, "core", 0).encode()
        b'[3,"9f2c",17,"core",0]'
        """
        return msgspec.json.encode(tuple(self))


class StateRecord(NamedTuple):
    """A record for the state topic; no value deletes what stands under the key."""

    key: bytes
    value: bytes | None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    format: int
    offset: Annotated[int, msgspec.Meta(ge=0)]
    config: str
    base: Annotated[int, msgspec.Meta(ge=0)]
    chunks: Annotated[int, msgspec.Meta(ge=0)]
    length: Annotated[int, msgspec.Meta(ge=0)]
    sha256: str
    before: str = ""


@dataclass(frozen=True)
class Checkpoint(Generic[T]):
    """A verified snapshot and what has changed since, in order; each as it was read.

    `offset` is that of the first record which they do not hold.
    """

    offset: int
    config: str
    snapshot: T
    changes: tuple[T, ...] = ()


class Draft(NamedTuple):
    """What a checkpoint is to say; `base` is the epoch of the snapshot on which it builds."""

    offset: int
    config: str
    base: int
    pieces: Iterable[bytes | memoryview]
    before: str = ""
    """Of changes: the `link` of the manifest before."""


@dataclass(frozen=True)
class Found(Generic[T]):
    """What a state partition holds: its newest whole checkpoint, and all keys that stand there.

    `faults` say in one line each why a newer checkpoint was passed over; `owner` is the fence of
    the last claim.
    """

    checkpoint: Checkpoint[T] | None
    keys: tuple[bytes, ...]
    faults: tuple[str, ...]
    owner: str | None = None
    other_version: bool = False
    """Whether the newest that was passed over is whole, and of another version of callwatch."""


def checkpoint_records(
    partition: int, fence: str, epoch: int, draft: Draft, tables: Tables = EVENTS
) -> list[StateRecord]:
    """The records of a checkpoint; the manifest is last, to be sent when the others are there."""
    check, pieces, length = hashlib.sha256(), [], 0
    for block in _blocks(draft.pieces):  # hash and compression both let other threads run meanwhile
        # Rows pack about as well as with zstd's fast levels, in half of its time.
        piece = bytes(cramjam.lz4.compress_block(block, store_size=False))
        check.update(piece)
        pieces.append(piece)
        length += len(block)
    manifest = _Manifest(
        format=FORMAT,
        offset=draft.offset,
        config=draft.config,
        base=draft.base,
        chunks=len(pieces),
        length=length,
        sha256=check.hexdigest(),
        before=draft.before,
    )
    return [
        StateRecord(StateKey(partition, fence, epoch, tables.data, number).encode(), piece)
        for number, piece in enumerate(pieces)
    ] + [
        StateRecord(
            StateKey(partition, fence, epoch, tables.manifest, 0).encode(),
            msgspec.json.encode(manifest),
        )
    ]


def _blocks(pieces: Iterable[bytes | memoryview]) -> Iterator[bytearray]:
    """The bytes of all pieces in one row, cut to the length of chunks."""
    block = bytearray()
    for piece in pieces:
        rest = memoryview(piece)
        while len(block) + len(rest) >= CHUNK_BYTES:
            room = CHUNK_BYTES - len(block)
            block += rest[:room]
            rest = rest[room:]
            yield block
            block = bytearray()
        block += rest
    if block:
        yield block


def link(manifest: bytes) -> str:
    """What the next manifest says of this one, so that the last of a chain vouches for all."""
    return hashlib.sha256(manifest).hexdigest()


def claim_record(partition: int, fence: str, tables: Tables = EVENTS) -> StateRecord:
    """The record by which a new owner makes every other's later checkpoints void."""
    return StateRecord(StateKey(partition, fence, 0, tables.claim, 0).encode(), b"{}")


def newest_checkpoint(
    partition: int,
    records: Iterable[tuple[bytes | None, bytes | None]],
    read: Read[T],
    tables: Tables = EVENTS,
    *,
    linked: bool = False,
) -> Found[T]:
    """The newest checkpoint that counts and can be read, from a state partition read in log order.

    `linked`: changes must name the manifest before them; those of earlier versions do not.
    """
    values: dict[StateKey, bytes] = {}
    for raw_key, value in records:
        key = own_key(raw_key, partition, tables)
        if key is None:
            continue
        values.pop(key, None)  # a key written again counts at its last place
        if value is not None:
            values[key] = value
    owner = None
    counting = []
    for key in values:
        if key.table == tables.claim:
            owner = key.fence
        elif key.table == tables.manifest and key.fence == owner:
            counting.append(key)
    faults: dict[str, None] = {}
    checkpoint, other = None, False
    there = _Stored(values, tables.data)
    for key in reversed(counting):
        try:
            checkpoint = _assemble(key, there, read, linked=linked)
            break
        except StateError as error:
            other = isinstance(error, OtherVersionError) if not faults else other
            faults[str(error)] = None
    keys = tuple(key.encode() for key in values)
    return Found(checkpoint, keys, tuple(faults), owner, other)


def tombstones(keys: Iterable[bytes]) -> list[StateRecord]:
    """The records that delete what stands under these keys."""
    return [StateRecord(key, None) for key in keys]


def own_key(raw: bytes | None, partition: int, tables: Tables) -> StateKey | None:
    """The key, or None where it is not ours to judge and not ours to delete.

    Others may lie in the partition: those of the other tables, and what later versions write.
    """
    if raw is None:
        return None
    try:
        key = StateKey(*msgspec.json.decode(raw, type=tuple[int, str, int, str, int]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return key if key.partition == partition and key.table in tables else None


class _Stored:
    """What stands in a partition; each part of a chain is checked once, however many need it.

    Checkpoints share their base and the changes before them. Where a part is damaged, all behind it
    are passed over one by one: no part is read again for it.
    """

    def __init__(self, values: Mapping[StateKey, bytes], data: str) -> None:
        self.values = values
        self._data = data
        self._good: dict[StateKey, list[bytes]] = {}
        self._bad: dict[StateKey, StateError] = {}

    def pieces(self, key: StateKey, manifest: _Manifest) -> list[bytes]:
        """The chunks of a part, which have the hash that its manifest says."""
        if key in self._bad:
            raise self._bad[key]
        if key not in self._good:
            try:
                self._good[key] = _pieces(key, manifest, self.values, self._data)
            except StateError as error:
                raise self.unfit(key, error) from None
        return self._good[key]

    def unfit(self, key: StateKey, error: StateError) -> StateError:
        """Remember what is wrong with a part; the error to raise."""
        self._bad[key] = error
        return error


def _assemble(key: StateKey, there: _Stored, read: Read[T], *, linked: bool) -> Checkpoint[T]:
    newest = _manifest(key, there.values)
    if newest.base > key.epoch:
        msg = f"{_name(key)}: base must be {key.epoch} or less (got {newest.base})"
        raise StateError(msg)
    chain: list[tuple[StateKey, _Manifest, list[bytes]]] = []
    before = b""
    for epoch in range(newest.base, key.epoch + 1):
        each = key._replace(epoch=epoch)
        manifest = _manifest(each, there.values)
        if manifest.base != newest.base:
            msg = f"{_name(each)}: base must be {newest.base} (got {manifest.base})"
            raise StateError(msg)
        named = linked or manifest.before
        if epoch > newest.base and named and manifest.before != link(before):
            msg = f"{_name(each)}: the checkpoint before it is not the one that it names"
            raise StateError(msg)
        before = there.values[each]
        chain.append((each, manifest, there.pieces(each, manifest)))
    parts: list[T] = []
    for each, manifest, pieces in chain:
        try:
            parts.append(read(_unpacked(manifest.length, pieces), manifest.length))
        except StateError as error:
            raise there.unfit(each, type(error)(f"{_name(each)}: {error}")) from None
    return Checkpoint(newest.offset, newest.config, parts[0], tuple(parts[1:]))


def _name(key: StateKey) -> str:
    return f"checkpoint {key.fence}/{key.epoch} of partition {key.partition}"


def _manifest(key: StateKey, values: Mapping[StateKey, bytes]) -> _Manifest:
    if key not in values:
        msg = f"{_name(key)}: its manifest is missing"
        raise StateError(msg)
    try:
        manifest = msgspec.json.decode(values[key], type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{_name(key)}: its manifest cannot be read: {error}"
        raise StateError(msg) from None
    if manifest.format != FORMAT:
        msg = f"{_name(key)}: format must be {FORMAT} (got {manifest.format})"
        raise OtherVersionError(msg)
    return manifest


def _pieces(
    key: StateKey, manifest: _Manifest, values: Mapping[StateKey, bytes], data: str
) -> list[bytes]:
    """The chunks of a checkpoint, which have the hash that its manifest says."""
    if not 0 <= manifest.chunks * CHUNK_BYTES - manifest.length < CHUNK_BYTES:
        msg = f"{_name(key)}: {manifest.chunks} chunks do not hold {manifest.length} bytes"
        raise StateError(msg)
    pieces = []
    for number in range(manifest.chunks):
        piece = values.get(key._replace(table=data, chunk=number))
        if piece is None:
            msg = f"{_name(key)}: chunk {number} of {manifest.chunks} is missing"
            raise StateError(msg)
        pieces.append(piece)
    check = hashlib.sha256()
    for piece in pieces:
        check.update(piece)
    if check.hexdigest() != manifest.sha256:
        msg = f"{_name(key)}: its chunks do not have the SHA-256 of the manifest"
        raise StateError(msg)
    return pieces


def _unpacked(length: int, pieces: list[bytes]) -> Iterator[memoryview]:
    """The content in blocks, all in the same room: it stays in the cache."""
    room = memoryview(bytearray(min(length, CHUNK_BYTES)))
    for number, piece in enumerate(pieces):
        block = room[: length - number * CHUNK_BYTES]
        try:
            unpacked = cramjam.lz4.decompress_block_into(piece, block, len(block))
        except cramjam.DecompressionError:
            unpacked = -1
        if unpacked != len(block):
            msg = f"chunk {number} of {len(pieces)} is damaged"
            raise StateError(msg)
        yield block
