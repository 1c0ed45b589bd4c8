"""The address that a sender called, as some schemes sign it."""

from urllib.parse import urlsplit

from .base import SignedRequest
from .reading import Fault

MAX_URL = 8192


def called(request: SignedRequest, origin: str | None) -> str:
    """The request's address; `origin` takes the place of its scheme and host.

    Behind a proxy the receiver sees another scheme, host or port than the one that was signed.
    """
    if len(request.url) > MAX_URL:
        raise Fault
    if origin is None:
        return request.url
    parts = urlsplit(request.url)
    return origin + request.url.removeprefix(f"{parts.scheme}://{parts.netloc}")


def without_port(url: str) -> str:
    """The address without a port.

    >>> without_port("https://hooks.example:8443/a?b=1")
    'https://hooks.example/a?b=1'
    """
    parts = urlsplit(url)
    return _with_netloc(url, parts.netloc.removesuffix(f":{parts.port}")) if parts.port else url


def with_port(url: str) -> str:
    """The address with its scheme's own port, if it names none.

    >>> with_port("https://hooks.example/a")
    'https://hooks.example:443/a'
    """
    parts = urlsplit(url)
    own = 443 if parts.scheme == "https" else 80
    return url if parts.port else _with_netloc(url, f"{parts.netloc}:{own}")


def _with_netloc(url: str, netloc: str) -> str:
    before, _, rest = url.partition("//")
    return f"{before}//{netloc}{rest[len(urlsplit(url).netloc) :]}"
