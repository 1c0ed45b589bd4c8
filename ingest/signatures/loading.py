# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Keys and tolerances are checked when a verifier is made: an error then, not a forgery later."""

import math
import re
from collections.abc import Sequence
from typing import Final

from ..errors import SignatureError, shown
from ..vocabulary import TEXT_PATTERN
from .base import Key
from .judging import Loaded, Window
from .scheme import Scheme

MAX_KEYS: Final = 16
MAX_LABEL: Final = 64
_LABEL: Final = re.compile(TEXT_PATTERN)


def window_of(scheme: Scheme, tolerance_s: float | None) -> Window:
    """How old a signed time may be; None is the default of the scheme."""
    if tolerance_s is None:
        return scheme.window
    if not scheme.timed:
        msg = f"{scheme.name}: tolerance_s: this scheme signs no time, so none is allowed"
        raise SignatureError(msg)
    if isinstance(tolerance_s, bool) or not isinstance(tolerance_s, int | float):
        msg = f"{scheme.name}: tolerance_s: allowed is a number of seconds"
        raise SignatureError(msg)
    if math.isnan(tolerance_s) or tolerance_s < 0:
        msg = f"{scheme.name}: tolerance_s: allowed are 0 s and more; given {tolerance_s}"
        raise SignatureError(msg)
    if math.isinf(tolerance_s):
        return Window()
    ahead = scheme.window.future_s
    own = ahead is not None and ahead != scheme.window.past_s  # a skew of its own
    return Window(tolerance_s, min(tolerance_s, ahead) if own and ahead else tolerance_s)


def loaded_keys(scheme: Scheme, keys: Sequence[Key]) -> list[Loaded]:
    """One key and more in the form in which a scheme computes."""
    if not 1 <= len(keys) <= MAX_KEYS:
        msg = f"{scheme.name}: keys: allowed are 1 to {MAX_KEYS}; given {len(keys)}"
        raise SignatureError(msg)
    found: list[Loaded] = []
    for key in keys:
        place = f"{scheme.name}: key {len(found) + 1}"
        if len(key.label) > MAX_LABEL or _LABEL.search(key.label) is None:
            msg = f"{place}: label: allowed is text of 1 to {MAX_LABEL} characters"
            raise SignatureError(msg)
        if any(one.key.label == key.label for one in found):
            msg = f"{place}: label: {shown(key.label)} names another key already"
            raise SignatureError(msg)
        found.append(_load(scheme, key, place))
    return found


def _load(scheme: Scheme, key: Key, place: str) -> Loaded:
    form = scheme.key
    load = (form.public if key.public else None) or form.load
    if key.public and load is form.load and not form.asymmetric:
        msg = f"{place} ({shown(key.label)}): public: the keys of this scheme are shared secrets"
        raise SignatureError(msg)
    try:
        if form.asymmetric or key.public:
            import cryptography  # noqa: F401 - a clear error at start, not at the first request
        return Loaded(key, load(bytes(memoryview(key.secret))))
    except ImportError:
        msg = f"{place}: needs the package cryptography: install callwatch-ingest[asymmetric]"
    except Exception:  # an error of a key's reader may show the key
        msg = f"{place} ({shown(key.label)}): allowed is {scheme.key.allowed}"
    raise SignatureError(msg)
