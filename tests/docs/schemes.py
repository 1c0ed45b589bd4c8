"""The tables of signature schemes, from the registry of verifiers."""

from collections.abc import Callable

from ingest.signatures.scheme import Scheme
from ingest.signatures.schemes import SCHEMES

Table = Callable[..., str]


def signed(table: Table) -> str:
    """What each signature scheme signs, and how long a captured call stays valid."""
    return table(
        "scheme | signature | algorithm | signed | time | tolerance | delivery id | replays end by"
        " | from",
        (
            (
                f"`{one.name}`",
                one.header,
                one.algorithm,
                one.signs,
                one.timestamp,
                _tolerance(one),
                one.delivery,
                one.replay,
                one.source,
            )
            for _, one in sorted(SCHEMES.items())
        ),
    )


def _tolerance(scheme: Scheme) -> str:
    window = scheme.window
    if window.past_s is None:
        return "none by default" if scheme.timed else "-"
    if window.past_s == window.future_s:
        return f"{window.past_s:g} s"
    return f"{window.past_s:g} s, ahead {window.future_s:g} s"


def keys(table: Table) -> str:
    """What a key of each scheme looks like, and what its verifier takes beside."""
    return table(
        "scheme | a key is | settings",
        (
            (f"`{one.name}`", one.key.allowed, ", ".join(f"`{name}`" for name in one.uses) or "-")
            for _, one in sorted(SCHEMES.items())
        ),
    )
