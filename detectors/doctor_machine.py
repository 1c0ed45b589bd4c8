"""What is wrong with the machine and the broker: Python, packages, the cache of compiled code."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from detectors.compile import cache_root
from detectors.doctor import Grade, Trouble
from ingest.errors import TopicError
from ingest.kafka_cluster import KafkaCluster
from ingest.kafka_config import PREFIX, KafkaConfigError, kafka_keywords
from ingest.topics import Cluster, faults

LEAST_PYTHON: Final = (3, 11)
NEWEST_PYTHON: Final = (3, 13)
"""The newest one that the project names as tested (pyproject.toml)."""


def of_machine(
    environ: Mapping[str, str],
    *,
    python: tuple[int, int] = (sys.version_info[0], sys.version_info[1]),
    has: Callable[[str], bool] = lambda name: find_spec(name) is not None,
) -> Iterator[Trouble]:
    """What this machine lacks."""
    given = ".".join(map(str, python))
    if python < LEAST_PYTHON:
        yield Trouble(Grade.ERROR, "Python", f"allowed is 3.11 or newer (this is {given})")
    elif python > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        yield Trouble(Grade.INFO, "Python", f"tested up to {newest} (this is {given})")
    if not has("crc32c"):
        text = "is missing: batches are checked in pure Python, 15 times slower; install crc32c"
        yield Trouble(Grade.WARNING, "package crc32c", text)
    if environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        text = "is set: detectors run uncompiled, a hundred times slower"
        yield Trouble(Grade.WARNING, "NUMBA_DISABLE_JIT", text)
    try:
        yield from of_cache(cache_root())
    except RuntimeError:
        text = "there is no home folder: set CALLWATCH_CACHE_DIR, or every start compiles anew"
        yield Trouble(Grade.WARNING, "cache", text)


def of_cache(root: Path) -> Iterator[Trouble]:
    """A cache that cannot be kept, or that others can write to: who can, runs code here."""
    subject = f"cache {root}"
    place = root
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        found = place.stat()
    except OSError as error:
        yield Trouble(Grade.WARNING, subject, f"cannot be looked at: {error.strerror}")
        return
    if not stat.S_ISDIR(found.st_mode) or not os.access(place, os.W_OK | os.X_OK):
        text = "is not writable: every start compiles anew; set CALLWATCH_CACHE_DIR"
        yield Trouble(Grade.WARNING, subject, text)
    if place == root:
        text = "others can write there, and what they write is run: `chmod go-w`, or your own one"
        if found.st_mode & stat.S_IWOTH or found.st_uid not in (0, os.geteuid()):
            yield Trouble(Grade.ERROR, subject, text)
        elif found.st_mode & stat.S_IWGRP:
            yield Trouble(Grade.WARNING, subject, text)


def asked_for(bootstrap_servers: str | None, environ: Mapping[str, str]) -> bool:
    """Whether a broker is named, on the command line or in the environment."""
    return bool(bootstrap_servers or environ.get(f"{PREFIX}BOOTSTRAP_SERVERS"))


def of_broker(
    bootstrap_servers: str | None,
    environ: Mapping[str, str],
    connect: Callable[..., Any] = KafkaCluster,
) -> Iterator[Trouble]:
    """Whether the broker answers, and what is wrong with its topics."""
    try:
        cluster: Cluster = connect(**kafka_keywords(bootstrap_servers, environ))
        try:
            existing = cluster.existing()
        finally:
            getattr(cluster, "close", lambda: None)()
    except (KafkaConfigError, TopicError) as error:
        yield Trouble(Grade.ERROR, "kafka", str(error))
        return
    for fault in faults(existing):
        name, _, text = fault.partition(": ")
        yield Trouble(Grade.ERROR, f"topic{'s' if ',' in name else ''} {name}", text)
