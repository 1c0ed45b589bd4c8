# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""How a receiver is watched: from `CALLWATCH_*` variables, each overridden by an argument.

docs/receivers.md has the table. A secret may stand in a file: `NAME_FILE` for `NAME`.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypedDict, cast

from ..signatures.base import Verifier
from ..vocabulary import clean_text
from .address import MIN_IP_KEY_BYTES, ForwardedHeader, IpMode, Privacy, Proxies, parse_proxies
from .call import DEFERRED_BODY
from .routes import Route, parse_routes
from .settings import SettingsError, pepper_of, value_of

MAX_BODY: Final = 1_048_576
VARIABLES: Final = {
    "DISABLED": "any value but `0` and `false`: nothing is watched or published",
    "STRICT": "a wrong setting ends the start; else it is logged, and nothing is watched",
    "RECEIVER": "`service/version@instance`; default `receiver/0@` and the host's name",
    "ENDPOINTS": "paths that are callbacks, as `/hooks/{sender} /pay/*`; default: all but GET",
    "REDIRECTS": "those of them that browsers are sent back to",
    "SENDER": "the claimed sender where neither path nor handler names one",
    "SENDERS": "the known senders; any other becomes `(unknown)`",
    "PROVIDER": "name of the provider's profile",
    "PEPPER": "at least 16 bytes in hexadecimal, the same in all receivers; without it no "
    "fingerprints, and no replay is seen",
    "TRUSTED_PROXIES": "how many proxies stand before the receiver, or their networks, "
    "and `unix` for a unix socket",
    "FORWARDED_HEADER": "the header that they write: `x-forwarded-for` (default), `forwarded`",
    "CLIENT_IP": "`full` (default), `truncate` (to /24 and /48), `pseudonym`",
    "IP_KEY": "key of pseudonyms, at least 16 bytes in hexadecimal",
    "IP_KEY_DAYS": "after so many days all pseudonyms change; default: never",
    "SAMPLE_RATE": "share of verified calls that is recorded, 1 by default; all others always are",
    "REJECTED_STATUSES": "answers that mean rejected where nobody says; default `401,403`",
    "STATUS_VERIFIES": "`1`: the handlers answer 2xx to nothing but verified calls",
    "PUBLIC_URL": "scheme and host that senders call, for verifiers behind proxies",
    "MAX_BODY": "largest body in bytes that is verified; default 1048576",
    "TOPIC": "default `callwatch.events`",
    "EVENTS_TO": "a file of JSON lines instead of Kafka",
    "QUEUE_EVENTS": "how many events may wait; default 10000",
    "QUEUE_BYTES": "how much memory they may take; default 33554432",
    "DROP": "which are dropped when the queue is full: `newest` (default), `oldest`",
}
"""CALLWATCH_* variables of receivers; of each, NAME_FILE names a file that holds the value."""
REJECTED_STATUSES: Final = frozenset({401, 403})


class Given(TypedDict, total=False):
    """What may be given as keyword arguments; the rest comes from the environment.

    receiver: `service/version@instance`.
    endpoints: templates of the paths that are callbacks: `/hooks/{sender}`, `/hooks/*`.
    redirects: those of them that browsers are sent back to.
    sender: the claimed sender where neither the path nor the handler names one.
    senders: the known ones; any other becomes `(unknown)`.
    provider: name of the profile.
    pepper: under which fingerprints are made; without one there are none.
    proxies: how many proxies, or which networks, are trusted; or `Proxies`.
    privacy: what is told of an address.
    sample_rate: the share of verified calls that is recorded; all others always are.
    rejected_statuses: answers that mean rejected where the handler does not say.
    status_verifies: the handler answers 2xx to nothing but verified calls.
    verifier: judges the calls, one for all or one for each sender.
    public_url: scheme and host that senders call, where proxies change them.
    max_body: largest body that a verifier is given.
    """

    receiver: str
    endpoints: Sequence[str]
    redirects: Sequence[str]
    sender: str | None
    senders: Sequence[str] | None
    provider: str | None
    pepper: bytes | None
    proxies: Proxies | str
    privacy: Privacy
    sample_rate: float
    rejected_statuses: Sequence[int]
    status_verifies: bool
    verifier: Verifier | Mapping[str, Verifier] | None
    public_url: str | None
    max_body: int


@dataclass(frozen=True)
class Options:
    """Checked settings; see `Given` for what they mean."""

    receiver: str
    endpoints: tuple[str, ...] = ()
    redirects: frozenset[str] = frozenset()
    sender: str | None = None
    senders: frozenset[str] | None = None
    provider: str | None = None
    pepper: bytes | None = field(default=None, repr=False)
    proxies: Proxies = field(default_factory=Proxies)
    privacy: Privacy = field(default_factory=Privacy)
    sample_rate: float = 1.0
    rejected_statuses: frozenset[int] = REJECTED_STATUSES
    status_verifies: bool = False
    verifier: Verifier | Mapping[str, Verifier] | None = field(default=None, repr=False)
    public_url: str | None = None
    max_body: int = MAX_BODY

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The endpoints, to be matched in this order."""
        return parse_routes(self.endpoints)

    @cached_property
    def keep_body(self) -> int:
        """Bodies up to this size are kept until the call is over."""
        return DEFERRED_BODY if self.verifier is None else max(self.max_body, DEFERRED_BODY)


def load_options(environ: Mapping[str, str] | None = None, **given: Any) -> Options:
    """The options of an environment with `given` over them; SettingsError names what is wrong.

    >>> load_options({"CALLWATCH_ENDPOINTS": "/hooks/{sender}"}, receiver="shop/1@a").endpoints
    ('/hooks/{sender}',)
    """
    env = os.environ if environ is None else environ
    unknown = sorted(given.keys() - Given.__annotations__.keys())
    if unknown:
        msg = (
            f"no such option: {', '.join(unknown)}; allowed are {', '.join(Given.__annotations__)}"
        )
        raise SettingsError(msg)
    found: dict[str, Any] = {**_from_environment(env), **given}
    if isinstance(found.get("proxies"), str):
        found["proxies"] = _proxies(found["proxies"], "x-forwarded-for")
    for name, kind in (("endpoints", tuple), ("redirects", frozenset), ("senders", frozenset),
                       ("rejected_statuses", frozenset)):  # fmt: skip
        if found.get(name) is not None:
            found[name] = kind(found[name])
    found.setdefault("receiver", _default_receiver())
    found["endpoints"] = _with_redirects(found)
    options = Options(**found)
    _check(options)
    return options


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    def text(name: str) -> str:
        return value_of(env, f"CALLWATCH_{name}")

    found: dict[str, Any] = {}
    for name in ("receiver", "sender", "provider", "public_url"):
        if value := text(name.upper()):
            found[name] = value
    for name in ("endpoints", "redirects", "senders"):
        if value := text(name.upper()):
            found[name] = value.replace(",", " ").split()
    if value := text("PEPPER"):
        found["pepper"] = pepper_of(value)
    if value := text("TRUSTED_PROXIES"):
        header = (text("FORWARDED_HEADER") or "x-forwarded-for").lower()
        if header not in {"x-forwarded-for", "forwarded"}:
            msg = "CALLWATCH_FORWARDED_HEADER: allowed are x-forwarded-for and forwarded"
            raise SettingsError(msg)
        found["proxies"] = _proxies(value, cast("ForwardedHeader", header))
    if value := text("CLIENT_IP"):
        found["privacy"] = _privacy(value, text("IP_KEY"), text("IP_KEY_DAYS"))
    if value := text("SAMPLE_RATE"):
        found["sample_rate"] = _number("SAMPLE_RATE", value)
    if value := text("REJECTED_STATUSES"):
        numbers = [_number("REJECTED_STATUSES", one) for one in value.replace(",", " ").split()]
        found["rejected_statuses"] = [int(one) for one in numbers]
    if value := text("STATUS_VERIFIES"):
        found["status_verifies"] = value not in {"0", "false"}
    if value := text("MAX_BODY"):
        found["max_body"] = int(_number("MAX_BODY", value))
    return found


def _with_redirects(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Redirect endpoints are endpoints, named twice or not; the narrower ones come first."""
    endpoints: tuple[str, ...] = found.get("endpoints", ())
    if not endpoints and not found.get("redirects"):
        return ()
    more = sorted(one for one in found.get("redirects", ()) if one not in endpoints)
    return (*more, *endpoints)


def _default_receiver() -> str:
    return f"receiver/0@{clean_text(socket.gethostname(), 100) or 'unnamed'}"


def _check(options: Options) -> None:
    faults = []
    for name in ("receiver", "sender", "provider"):
        value, limit = getattr(options, name), 64 if name == "provider" else 128
        if value is not None and clean_text(value, limit) != value:
            faults.append(f"{name}: allowed is text of 1 to {limit} characters, no control ones")
    if not 0 < options.sample_rate <= 1:
        faults.append("sample rate: allowed is more than 0 and at most 1")
    if not all(100 <= status <= 599 for status in options.rejected_statuses):
        faults.append("rejected statuses: allowed are HTTP statuses, 100 to 599")
    if options.max_body < 0:
        faults.append("max_body: allowed is a number of bytes")
    if options.pepper is not None and len(options.pepper) < 16:
        faults.append("pepper: allowed are 16 bytes and more")
    url = options.public_url
    if url is not None and not url.startswith(("https://", "http://")):
        faults.append("public URL: allowed is https://host")
    try:
        options.routes  # noqa: B018 - compiles them
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise SettingsError("; ".join(faults))


def _proxies(text: str, header: ForwardedHeader) -> Proxies:
    try:
        return parse_proxies(text, header)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _privacy(mode: str, key: str, days: str) -> Privacy:
    if mode not in {"full", "truncate", "pseudonym"}:
        msg = "CALLWATCH_CLIENT_IP: allowed are full, truncate and pseudonym"
        raise SettingsError(msg)
    try:
        number = int(_number("IP_KEY_DAYS", days)) if days else 0
        return Privacy(cast("IpMode", mode), bytes.fromhex(key), number)
    except ValueError:
        msg = f"CALLWATCH_IP_KEY: allowed are {MIN_IP_KEY_BYTES} bytes and more, in hexadecimal"
        raise SettingsError(msg) from None


def _number(name: str, text: str) -> float:
    try:
        number = float(text) if len(text) <= 16 else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 2**40:
        msg = f"CALLWATCH_{name}: allowed is a number"
        raise SettingsError(msg)
    return number
