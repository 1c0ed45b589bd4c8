# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Redirect callbacks (OAuth, OpenID Connect, payment returns): a browser comes back with a code.

Nothing signs them. What holds instead (RFC 9700): the address is a registered one to the letter;
`state` is the one that this browser was sent away with, once; the code is fresh and used once;
and no token stands in the address, where logs and other sites would read it.

    redirects = Redirects(["https://shop.example/callback"], MemoryStore())
    pending = redirects.begin("https://shop.example/callback", now)     # keep it in the session
    found = redirects.judge(request, pending)                           # when the browser is back
"""

import hmac
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ..errors import SignatureError, shown
from ..rfc3339 import to_us
from ..vocabulary import Reason, Verdict
from .address import called
from .base import SignedRequest, Verification, Verifier
from .deliveries import DeliveryStore, hashed, seen
from .judging import rejected
from .reading import MAX_PARSED, Fault, header

CODE_AGE_S: Final = 600  # RFC 6749, 4.1.2: a code lives ten minutes at most
FLOW_AGE_S: Final = 3600  # a person may look for his second factor meanwhile
MAX_FIELDS: Final = 100
MAX_VALUE: Final = 4096
TOKENS: Final = frozenset(
    {"access_token", "id_token", "refresh_token", "client_secret", "code_verifier"}
)
_URI: Final = re.compile(r"https://[!-~]+|http://(?:localhost|127\.0\.0\.1|\[::1\])[:/][!-~]*")


@dataclass(frozen=True, slots=True)
class Pending:
    """A browser that was sent away: what its session has to keep until it is back."""

    state: str = field(repr=False)
    redirect_uri: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Redirects:
    """Judges the redirect callbacks of one application.

    allowed: registered addresses, without wildcards. store: remembers used states and codes.
    origin: scheme and host that browsers call, where a proxy changes them. code_age_s counts
    from the time at which the code was made, where the handler knows it; flow_age_s from `begin`.
    forbidden: names that may not stand in the query, in lower case.
    """

    allowed: Collection[str]
    store: DeliveryStore = field(repr=False)
    origin: str | None = None
    code_age_s: int = CODE_AGE_S
    flow_age_s: int = FLOW_AGE_S
    forbidden: frozenset[str] = TOKENS

    def __post_init__(self) -> None:
        if isinstance(self.allowed, str) or not self.allowed:
            msg = "redirect: allowed is a list of one and more addresses"
            raise SignatureError(msg)
        for uri in self.allowed:
            if _URI.fullmatch(uri) is None or "#" in uri or "*" in uri:
                msg = (
                    "redirect: allowed are https addresses without wildcard and fragment, or"
                    f" http ones of this machine; given {shown(uri)}"
                )
                raise SignatureError(msg)

    def begin(self, redirect_uri: str, now: datetime) -> Pending:
        """A new state for a browser that is sent away; SignatureError for an unknown address."""
        if redirect_uri not in self.allowed:
            msg = f"redirect: {shown(redirect_uri)} is not registered"
            raise SignatureError(msg)
        return Pending(secrets.token_urlsafe(32), redirect_uri, now)

    def judge(
        self,
        request: SignedRequest,
        pending: Pending | None,
        *,
        code_issued_at: datetime | None = None,
    ) -> Verification:
        """The verdict over a browser that came back; `pending` is of its session. Never raises."""
        try:
            return self._judge(request, pending, code_issued_at)
        except Exception:  # anything unforeseen in what a stranger sent
            return rejected(Reason.OTHER)

    def verifier(self, pending: Callable[[SignedRequest], Pending | None]) -> Verifier:
        """The same as a verifier; `pending` looks into the session of a request."""

        def verify(request: SignedRequest) -> Verification:
            try:
                kept = pending(request)
            except Exception:  # a session that cannot be read holds nothing
                kept = None
            return self.judge(request, kept)

        return verify

    def _judge(
        self, request: SignedRequest, pending: Pending | None, issued_at: datetime | None
    ) -> Verification:
        method = request.method.upper()
        if method not in {"GET", "POST"}:  # a HEAD of some scanner must not use up a state
            return rejected(Reason.METHOD_NOT_ALLOWED)
        try:
            url = called(request, self.origin)
        except Fault:
            return rejected(Reason.REDIRECT_URI_MISMATCH)
        uri = next((one for one in self.allowed if _is_at(url, one)), None)
        if uri is None or (pending is not None and pending.redirect_uri != uri):
            return rejected(Reason.REDIRECT_URI_MISMATCH)
        query = _fields(urlsplit(url).query)
        answer = query if method == "GET" else _joined(query, _form(request))
        if (reason := self._state(answer, pending)) is not None:
            return _refused(reason)
        assert pending is not None
        if (reason := self._code(answer, pending, request.now, issued_at)) is not None:
            return _refused(reason)
        if any(name.lower() in self.forbidden for name in query):
            return rejected(Reason.TOKEN_IN_QUERY)
        return Verification(Verdict.VERIFIED, duplicate=False)

    def _state(self, answer: dict[str, list[str]], pending: Pending | None) -> Reason | None:
        given = answer.get("state", [])
        if not any(given):
            return Reason.STATE_MISSING
        text = given[0].encode()
        if len(given) > 1 or len(text) > MAX_VALUE or pending is None or not pending.state:
            return Reason.STATE_MISMATCH
        if not hmac.compare_digest(text, pending.state.encode()):
            return Reason.STATE_MISMATCH
        used = seen(self.store, hashed("state", "", text), self.flow_age_s)
        return Reason.STATE_REUSED if used else None

    def _code(
        self,
        answer: dict[str, list[str]],
        pending: Pending,
        now: datetime,
        issued_at: datetime | None,
    ) -> Reason | None:
        given = answer.get("code", [])
        if len(given) > 1 or any(len(one) > MAX_VALUE for one in given):
            return Reason.OTHER
        if any(given):
            code = hashed("code", pending.redirect_uri, given[0].encode())
            if seen(self.store, code, max(self.flow_age_s, self.code_age_s)):
                return Reason.CODE_REUSED
        if _age_s(pending.started_at, now) > self.flow_age_s:
            return Reason.CODE_EXPIRED
        if issued_at is not None and _age_s(issued_at, now) > self.code_age_s:
            return Reason.CODE_EXPIRED
        return None


def _refused(reason: Reason) -> Verification:
    repeated = reason in {Reason.STATE_REUSED, Reason.CODE_REUSED}
    return Verification(Verdict.REJECTED, reason, duplicate=True if repeated else None)


def _is_at(url: str, registered: str) -> bool:
    """Whether an address is a registered one, to the letter; what is added stands in the query."""
    if "?" in registered:
        return url == registered or url.startswith(f"{registered}&")
    return url.partition("?")[0] == registered


def _fields(query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _joined(query: dict[str, list[str]], form: dict[str, list[str]]) -> dict[str, list[str]]:
    """Both together: what stands in both is given twice, and the handler might read the other."""
    names = dict.fromkeys([*query, *form])
    return {name: query.get(name, []) + form.get(name, []) for name in names}


def _form(request: SignedRequest) -> dict[str, list[str]]:
    """The fields of a form that the browser was made to send (response_mode=form_post)."""
    kind = header(request, "content-type").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" or len(request.body) > MAX_PARSED:
        return {}
    return _fields(request.body.decode())


def _age_s(since: datetime, now: datetime) -> float:
    return (to_us(now.astimezone(UTC)) - to_us(since.astimezone(UTC))) / 1_000_000
