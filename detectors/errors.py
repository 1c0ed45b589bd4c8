"""What can go wrong in detection, one line each: what, where, allowed, given."""


class DetectorError(Exception):
    """The base of all errors of this folder."""


class ConfigError(DetectorError):
    """The configuration has faults; the message lists all of them, one a line."""


class ContractError(DetectorError):
    """A detector's file breaks the contract of ``detectors.base``."""


class SpoolError(DetectorError):
    """Events cannot be kept on disk until all are read."""


class StateError(DetectorError):
    """A snapshot is damaged, or was made by another layout of rows."""


class OtherVersionError(StateError):
    """A state is whole, and was written by a version of callwatch that writes it otherwise."""
