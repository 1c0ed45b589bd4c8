"""What an HTTP message signature stands over (RFC 9421, section 2): the signature base.

Fields as they are, `sf` of none, members of a dictionary by `key`; all derived components of a
request. `bs`, `tr` and `req` are not supported: a signature over them is malformed.
"""

import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .address import called
from .base import SignedRequest
from .reading import MAX_HEADER, Fault
from .structured import InnerList, Item, dictionary

_PORTS: Final = {"http": 80, "https": 443}
_DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
MAX_BASE: Final = 65_536


def base_of(request: SignedRequest, covered: InnerList, origin: str | None) -> bytes:
    """The bytes that were signed."""
    lines: list[str] = []
    seen: set[tuple[object, ...]] = set()
    url = called(request, origin)
    for item in covered.items:
        identity = (item.value, *sorted(map(str, item.parameters.items())))
        if not isinstance(item.value, str) or item.value != item.value.lower() or identity in seen:
            raise Fault
        seen.add(identity)
        value = _component(request, url, item)
        if not value.isascii() or any(c < " " and c != "\t" for c in value):
            raise Fault
        lines.append(f"{item}: {value}")
    base = "\n".join([*lines, f'"@signature-params": {covered}']).encode("ascii")
    if len(base) > MAX_BASE:
        raise Fault
    return base


def field(request: SignedRequest, name: str) -> str | None:
    """All values of a header, joined as one."""
    values = [
        value.strip(" \t")
        for key, value in request.headers.items()
        if len(key) == len(name) and key.lower() == name
    ]
    if sum(map(len, values)) > MAX_HEADER:
        raise Fault
    return ", ".join(values) if values else None


def body_is_covered(request: SignedRequest, covered: InnerList) -> bool:
    """Whether the digest of the body is under the signature; Fault when it is another body's.

    Where single members are covered (`"content-digest";key="sha-256"`) one of these has to be a
    digest that was computed: another one beside them could be exchanged together with the body.
    """
    digests = [item for item in covered.items if item.value == "content-digest"]
    if not digests:
        return False
    whole = any(not item.parameters for item in digests)
    members = {item.parameters.get("key") for item in digests}
    named = dictionary(field(request, "content-digest") or "")
    checked = False
    for name, hashed in _DIGESTS.items():
        item = named.get(name)
        if item is None:
            continue
        given = item.value if isinstance(item, Item) else b""
        computed = hashed(request.body).digest()
        if not isinstance(given, bytes) or not hmac.compare_digest(given, computed):
            raise Fault
        checked = checked or whole or name in members
    if not checked:
        raise Fault
    return True


def _component(request: SignedRequest, url: str, item: Item) -> str:
    name = str(item.value)
    if name == "@query-param":
        return _query_parameter(url, item)
    if name.startswith("@"):
        if item.parameters:
            raise Fault
        return _derived(request, url, name)
    value = field(request, name)
    if value is None or set(item.parameters) - {"key"}:
        raise Fault
    if "key" in item.parameters:
        member = dictionary(value).get(str(item.parameters["key"]))
        if member is None:
            raise Fault
        return str(member)
    return value


def _derived(request: SignedRequest, url: str, name: str) -> str:
    parts = urlsplit(url)
    path = parts.path or "/"
    mark = "?" if "?" in url.partition("#")[0] else ""
    if name == "@method":
        return request.method.upper()
    if name == "@target-uri":
        return f"{parts.scheme}://{parts.netloc}{path}{mark}{parts.query}"
    if name == "@authority":
        host = parts.netloc.rpartition("@")[2].lower()
        own = _PORTS.get(parts.scheme)
        return host.removesuffix(f":{own}")
    if name == "@scheme":
        return parts.scheme
    if name == "@request-target":
        return f"{path}{mark}{parts.query}"
    if name == "@path":
        return path
    if name == "@query":
        return f"?{parts.query}"
    raise Fault


def _query_parameter(url: str, item: Item) -> str:
    name = item.parameters.get("name")
    if not isinstance(name, str) or len(item.parameters) != 1:
        raise Fault
    values = parse_qs(urlsplit(url).query, keep_blank_values=True, max_num_fields=1000)
    found = values.get(unquote(name), [])
    if len(found) != 1:  # of several, nobody can say which one was meant
        raise Fault
    return quote(found[0], safe="*").replace("~", "%7E")
