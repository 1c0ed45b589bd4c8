"""Tokens for SASL OAUTHBEARER: from a file that something else keeps fresh, or from an issuer.

A file is read at every connection, as Kubernetes renews projected tokens. An issuer is asked by
the client-credentials grant (RFC 6749, 4.4), and its token kept until it is about to expire. All
of it happens in the thread of the Kafka client; neither token nor secret is in any error.
"""

import base64
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from .errors import TransportError

TIMEOUT_S: Final = 10.0
_LONGEST: Final = 65_536
_EARLY_S: Final = 30.0  # a token is renewed so long before its end
_UNTOLD_S: Final = 300.0  # how long one is kept that does not tell its end


class TokenSource(Protocol):
    """Gives a token that is valid now."""

    def token(self) -> str:
        """The token; TransportError when there is none at the moment."""


@dataclass(frozen=True)
class FileToken:
    """The token that a file holds."""

    path: str

    def token(self) -> str:
        """The content of the file as it is now."""
        try:
            with Path(self.path).open("rb") as file:
                text = file.read(_LONGEST).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text or not text.isprintable():
            msg = "the file of the OAUTHBEARER token holds none"
            raise TransportError(msg)
        return text


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the client's secret is for the issuer alone."""

    def redirect_request(self, *_: Any) -> None:
        """None = the answer is an error."""


def _fetch(url: str, headers: dict[str, str], body: bytes) -> bytes:
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - https, or localhost: checked
    with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_S) as answer:
        found: bytes = answer.read(_LONGEST)
    return found


@dataclass
class IssuedToken:
    """Tokens of an issuer, for a client and its secret."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str | None = None
    fetch: Callable[[str, dict[str, str], bytes], bytes] = field(default=_fetch, repr=False)
    now: Callable[[], float] = field(default=time.monotonic, repr=False)
    _token: str = field(default="", repr=False)
    _until: float = field(default=0.0, repr=False)

    def token(self) -> str:
        """The token at hand, or a new one."""
        if not self._token or self.now() >= self._until:  # without a lock: it could be forked
            self._renew()
        return self._token

    def _renew(self) -> None:
        grant = {"grant_type": "client_credentials"}
        if self.scope:
            grant["scope"] = self.scope
        quoted = ":".join(urllib.parse.quote(one, safe="") for one in (self.client_id, self.secret))
        headers = {
            "Authorization": "Basic " + base64.b64encode(quoted.encode()).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        try:
            answer = json.loads(
                self.fetch(self.url, headers, urllib.parse.urlencode(grant).encode())
            )
            token = _checked(answer["access_token"])
            lasts = answer.get("expires_in")
        except Exception as error:
            msg = f"no OAUTHBEARER token from its issuer: {type(error).__name__}"
            raise TransportError(msg) from None
        seconds = float(lasts) if isinstance(lasts, int | float) and lasts > 0 else _UNTOLD_S
        self._token = token
        self._until = self.now() + max(seconds - _EARLY_S, seconds / 2)


def _checked(token: object) -> str:
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise TypeError
    return token


def provider_of(source: TokenSource) -> Any:
    """A source as kafka-python wants it."""
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Provider(AbstractTokenProvider):  # type: ignore[misc, unused-ignore]
        def token(self) -> str:
            return source.token()

    return Provider()
