"""What can go wrong in an engine, one line each."""

from detectors.errors import DetectorError


class EngineError(DetectorError):
    """An engine cannot go on: its broker, its topics or its set-up are not as they must be."""


class SourceRecordError(EngineError):
    """A record of `callwatch.sources` says nothing that can be used."""


class FencedError(EngineError):
    """Another worker has claimed a partition that this one believes to own."""
