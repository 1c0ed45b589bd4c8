# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What a status says of a callback, where it is all that a log says.

The defaults are what receivers usually mean. 5xx and what a client gave up say nothing of the
caller: the first is kept as unverified, so that an outage of the receiver does not look like a
sender's silence; the second is left out.
"""

import re
from collections.abc import Mapping
from typing import Final

from ..errors import shown
from ..vocabulary import Kind, Reason

ACCEPTED: Final = "accepted"
IGNORE: Final = "ignore"
OTHERS: Final = (ACCEPTED, "verified", "unverified", IGNORE)
_KEY: Final = re.compile(r"[1-5](?:[0-9]{2}|xx)")

_BOTH: Final[Mapping[str, str]] = {
    "1xx": IGNORE,
    "2xx": ACCEPTED,
    "4xx": Reason.OTHER,
    "5xx": "unverified",
    "405": Reason.METHOD_NOT_ALLOWED,
    "408": IGNORE,
    "410": Reason.ENDPOINT_UNKNOWN,
    "413": Reason.BODY_TOO_LARGE,
    "415": Reason.CONTENT_TYPE_UNSUPPORTED,
    "422": Reason.SCHEMA_INVALID,
    "429": Reason.RATE_LIMITED,
    "460": IGNORE,
    "499": IGNORE,
}
DEFAULTS: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.WEBHOOK: {
        **_BOTH,
        "3xx": IGNORE,
        "401": Reason.SIGNATURE_INVALID,
        "403": Reason.SIGNATURE_INVALID,
        "404": Reason.ENDPOINT_UNKNOWN,
    },
    Kind.REDIRECT: {**_BOTH, "3xx": ACCEPTED, "404": Reason.ENDPOINT_UNKNOWN},
}
MEANING: Final[Mapping[str, str]] = {
    ACCEPTED: "what the route's `accepted` says: `verified` or `unverified`",
    IGNORE: "left out, and counted",
    "unverified": "kept; nothing is said of its origin",
}


def outcomes_of(value: object) -> dict[str, str]:
    """A table of statuses; ValueError says what is wrong with it."""
    if not isinstance(value, dict):
        msg = 'a table such as { 400 = "signature_invalid", 5xx = "ignore" }'
        raise TypeError(msg)
    words = (*OTHERS, *Reason)
    for key, word in value.items():
        if not _KEY.fullmatch(key):
            msg = f"statuses such as 401 or 4xx; given {shown(key)}"
            raise ValueError(msg)
        if word not in words:
            msg = f"{key}: {', '.join(words)}; given {shown(word)}"
            raise ValueError(msg)
    return dict(value)


def outcome(status: int, tables: tuple[Mapping[str, str], ...]) -> str:
    """What a status means: the first table that names it or its class decides.

    >>> outcome(401, ({"4xx": "other"}, DEFAULTS[Kind.WEBHOOK]))
    'other'
    >>> str(outcome(401, (DEFAULTS[Kind.WEBHOOK],)))
    'signature_invalid'
    """
    for table in tables:
        for key in (str(status), f"{status // 100}xx"):
            if key in table:
                return table[key]
    return IGNORE
