# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""All schemes by name, and the verifier of one: `verifier_for("stripe", [key_for(...)])`."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..errors import SignatureError, shown
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
from .judging import SchemeVerifier
from .keys import STANDARD
from .loading import loaded_keys, window_of
from .scheme import Options, Scheme

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
    judged = found.build(loaded_keys(found, keys), window_of(found, tolerance_s), options)
    return SchemeVerifier(found.name, judged, found.may_block)


def key_for(
    scheme: str, label: str, text: str, *, retired: bool = False, public: bool = False
) -> Key:
    r"""A key from the text of a setting; white space around it, as of a file's end, is no part.

    public marks a public key where the scheme takes shared secrets, too.

    >>> key_for("stripe", "k1", "whsec_test_secret\n")
    Key(label='k1', retired=False)
    """
    key = Key(label, _decoded(scheme_of(scheme), text.strip()), retired, public)
    loaded_keys(scheme_of(scheme), [key])
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
