# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Logs in, events by time out; what is left out is counted by reason.

Lines are read a chunk at a time; a file of GitHub's is one JSON text and is read whole.
"""

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final

from ..errors import SourceError
from ..rfc3339 import format_time, from_us
from ..schema import dump_event
from ..sources import read_events
from . import alb, combined, github, json_lines
from .call import MAX_LINE, Call, LineError, SkippedError
from .events import Maker
from .heard import Heard
from .mapping import Mapping
from .spill import Spill

MAX_WHOLE: Final = 256 * 1024 * 1024
_REMEMBERED: Final = 1 << 16  # distinct lines among which equal ones are told apart

Parser = Callable[[str, Mapping], Call]

FORMATS: Final[dict[str, str]] = {
    "nginx": "access log of nginx: `combined`, with more fields at the end",
    "apache": "access log of Apache: `common`, `combined`, `vhost_combined`, with more at the end",
    "nginx-json": "JSON lines of nginx (`escape=json`) or another server, keys mapped",
    "alb": "access log of an AWS Application Load Balancer",
    "cloudflare": "Cloudflare's HTTP requests (Logpush, JSON lines)",
    "github": "GitHub's API on webhook deliveries: lists or single ones",
}

_PARSERS: Final[dict[str, Parser]] = {
    "nginx": lambda line, mapping: combined.parse(line, mapping.extra, starts=False),
    "apache": lambda line, mapping: combined.parse(line, mapping.extra, starts=True),
    "nginx-json": lambda line, mapping: json_lines.parse_nginx(
        line, mapping.fields, mapping.timezone
    ),
    "alb": lambda line, _: alb.parse(line),
    "cloudflare": lambda line, mapping: json_lines.parse_cloudflare(line, mapping.timezone),
}


@dataclass
class Summary:
    """What became of the lines; `read` = `imported` + `repeated` + all ignored + all broken."""

    read: int = 0
    imported: int = 0
    repeated: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    first_us: int | None = None
    last_us: int | None = None
    heard: Heard = field(default_factory=Heard)

    def take_back(self, value: bytes) -> None:
        """An event was the same as another one."""
        self.repeated += 1
        self.imported -= 1
        self.verdicts[json.loads(value)["verdict"]] -= 1

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        ends = (self.first_us, self.last_us)
        first, last = (None if us is None else format_time(from_us(us)) for us in ends)
        return {
            "read": self.read,
            "imported": self.imported,
            "repeated": self.repeated,
            "reports": len(self.heard.minutes),
            "ignored": dict(sorted(self.ignored.items())),
            "broken": dict(sorted(self.broken.items())),
            "verdicts": dict(sorted((+self.verdicts).items())),
            "first": first,
            "last": last,
        }


@dataclass(frozen=True, slots=True)
class Parsed:
    """One line: a call, or what is wrong with it, or why it is no request."""

    where: str
    position: str
    found: Call | LineError | SkippedError


def parsed_lines(format_name: str, paths: Iterable[str], mapping: Mapping) -> Iterator[Parsed]:
    """Every line of the inputs that is not blank, as what its format makes of it."""
    for path in paths:
        once = _Positions()
        if format_name == "github":
            yield from _deliveries(path)
            continue
        parse = _PARSERS[format_name]
        for piece in read_events([path]):
            line, counted = piece.first_line, 0
            for start, end in piece.spans.tolist():
                line += piece.buffer.count(b"\n", counted, start)
                counted = start
                raw = piece.buffer[start:end]
                where = f"{path}:{line}"
                yield Parsed(where, once.of(raw), _attempt(parse, raw, mapping))


def import_logs(
    format_name: str,
    paths: Iterable[str],
    mapping: Mapping,
    spill: Spill,
    *,
    receiver: str | None = None,
    pepper: bytes | None = None,
    on_broken: Callable[[str, LineError], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Summary:
    """Read everything into `spill`, from which the caller takes the events by time.

    Args:
        format_name: One of FORMATS.
        paths: Files, plain or gzip; `-` is standard input.
        mapping: Which path is which endpoint, and what a status means.
        spill: Where events wait.
        receiver: Who received, instead of the mapping's; part of the events' ids.
        pepper: Makes fingerprints where the log has something to make them of.
        on_broken: Told of every broken line: its place, and what is wrong.
        on_progress: Told how many lines were read.
    """
    made_by = receiver or mapping.receiver or f"import/{format_name}"
    maker = Maker(format_name, mapping, made_by, pepper)
    summary = Summary()
    for one in parsed_lines(format_name, paths, mapping):
        summary.read += 1
        if on_progress is not None and summary.read % 10_000 == 0:
            on_progress(summary.read)
        try:
            if not isinstance(one.found, Call):
                raise one.found
            summary.heard.note(one.found.time_us)
            event = maker.event(one.found, one.position)
        except SkippedError as skipped:
            summary.ignored[skipped.reason] += 1
            continue
        except LineError as broken:
            summary.broken[broken.code] += 1
            if on_broken is not None:
                on_broken(one.where, broken)
            continue
        at = event.received_at_us
        summary.verdicts[event.verdict] += 1
        summary.first_us = min(at, at if summary.first_us is None else summary.first_us)
        summary.last_us = max(at, at if summary.last_us is None else summary.last_us)
        spill.add(at, event.id, dump_event(event))
        summary.imported += 1
    return summary


def _attempt(parse: Parser, raw: bytes, mapping: Mapping) -> Call | LineError | SkippedError:
    if len(raw) > MAX_LINE:
        return LineError(code="too_long", message=f"allowed are {MAX_LINE} bytes")
    try:
        return parse(raw.decode("utf-8", "replace"), mapping)
    except (LineError, SkippedError) as told:
        return told


class _Positions:
    """Tells equal lines of one file apart: the same second may bring the same line twice.

    Counted among the newest lines only; equal ones stand close together, as they have one time.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def of(self, raw: bytes) -> str:
        digest = hashlib.sha256(raw).digest()
        nth = self._seen.pop(digest, 0) + 1
        self._seen[digest] = nth
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return f"{digest.hex()} {nth}"


def _deliveries(path: str) -> Iterator[Parsed]:
    data = bytearray()
    for piece in read_events([path]):
        data += piece.buffer
        if len(data) > MAX_WHOLE:
            msg = f"{path}: allowed are {MAX_WHOLE} bytes in one file of deliveries; split it"
            raise SourceError(msg)
    for line, row in github.objects(data.decode("utf-8", "replace")):
        found: Call | LineError | SkippedError
        try:
            found = row if isinstance(row, LineError) else github.parse(row)
        except (LineError, SkippedError) as told:
            found = told
        yield Parsed(f"{path}:{line}", "", found)


def no_mapping(zone: tzinfo | None = None) -> Mapping:
    """A mapping without a route, for looking at a log before there is one."""
    return Mapping(routes=(), timezone=zone)
