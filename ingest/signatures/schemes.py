# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""All schemes by name, and the verifier of one: `verifier_for("stripe", [key_for(...)])`."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import SignatureError, shown
from ..vocabulary import TEXT_PATTERN
from . import (
    adyen,
    asymmetric,
    hash_body,
    hmac_body,
    hmac_stamped,
    hmac_url,
    paypal,
    rfc9421,
    sns,
    standard_webhooks,
    token,
)
from .base import Key
from .certificates import Fetch
from .judging import Loaded, SchemeVerifier, Window
from .keys import STANDARD
from .scheme import Options, Scheme

MAX_KEYS: Final = 16
MAX_LABEL: Final = 64

SCHEMES: Final[Mapping[str, Scheme]] = {
    scheme.name: scheme
    for module in (
        standard_webhooks, hmac_stamped, hmac_body, hmac_url, hash_body, adyen, token, asymmetric,
        paypal, sns, rfc9421,
    )
    for scheme in module.SCHEMES
}  # fmt: skip

ALIASES: Final[Mapping[str, str]] = {
    "standard-webhooks-v1": "standard-webhooks",
    "gitlab-signing-token": "gitlab",
    "adyen-payments": "adyen",
    "hubspot-v3": "hubspot",
    "jira": "atlassian",
    "bitbucket": "atlassian",
    "sns": "aws-sns",
}

_LABEL: Final = re.compile(TEXT_PATTERN)
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,255}")


def verifier_for(
    scheme: str,
    keys: Sequence[Key],
    *,
    tolerance_s: float | None = None,
    origin: str | None = None,
    covered: Sequence[str] | None = None,
    keyids: Mapping[str, str] | None = None,
    fetch: Fetch | None = None,
    roots: bytes | None = None,
) -> SchemeVerifier:
    """The verifier of a scheme with active and retired keys; SignatureError when it cannot be.

    tolerance_s says how old a signed time may be, and how far ahead; None is the default of the
    scheme, infinity looks at no time. The other settings are those of `Options`.

    >>> verifier_for("github", [Key("k1", b"It's a Secret to Everybody")])
    SchemeVerifier(scheme='github', may_block=False)
    """
    found = scheme_of(scheme)
    given = {
        "origin": origin, "covered": covered, "keyids": keyids, "fetch": fetch, "roots": roots,
    }  # fmt: skip
    for name, value in given.items():
        if value is not None and name not in found.uses:
            msg = f"{found.name}: {name} is nothing that this scheme takes"
            raise SignatureError(msg)
    if origin is not None and _ORIGIN.fullmatch(origin) is None:
        msg = f"{found.name}: origin: allowed is https://host without a path"
        raise SignatureError(msg)
    options = Options(
        origin=origin,
        covered=tuple(covered) if covered is not None else None,
        keyids=dict(keyids) if keyids is not None else None,
        fetch=fetch,
        roots=roots,
    )
    loaded = _loaded(found, keys)
    judged = found.build(loaded, _window(found, tolerance_s), options)
    return SchemeVerifier(found.name, judged, found.may_block)


def key_for(scheme: str, label: str, text: str, *, retired: bool = False) -> Key:
    r"""A key from the text of a setting; white space around it, as of a file's end, is no part.

    >>> key_for("stripe", "k1", "whsec_test_secret\n")
    Key(label='k1', retired=False)
    """
    key = Key(label, _decoded(scheme_of(scheme), text.strip()), retired)
    _loaded(scheme_of(scheme), [key])
    return key


def scheme_of(name: str) -> Scheme:
    """The scheme of a name or alias; SignatureError names those that there are."""
    found = SCHEMES.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        msg = f"scheme: allowed are {', '.join(sorted(SCHEMES))}; given {shown(name)}"
        raise SignatureError(msg)
    return found


def _decoded(scheme: Scheme, text: str) -> bytes:
    """Standard Webhooks' secrets are base64 also without their prefix; others are as they are."""
    if scheme.key is STANDARD and not text.startswith("whsec_"):
        text = f"whsec_{text}"
    return text.encode()


def _window(scheme: Scheme, tolerance_s: float | None) -> Window:
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


def _loaded(scheme: Scheme, keys: Sequence[Key]) -> list[Loaded]:
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
    try:
        if scheme.key.asymmetric:
            import cryptography  # noqa: F401 - a clear error at start, not at the first request
        return Loaded(key, scheme.key.load(bytes(memoryview(key.secret))))
    except ImportError:
        msg = f"{place}: needs the package cryptography: install callwatch-ingest[asymmetric]"
    except Exception:  # an error of a key's reader may show the key
        msg = f"{place} ({shown(key.label)}): allowed is {scheme.key.allowed}"
    raise SignatureError(msg)
