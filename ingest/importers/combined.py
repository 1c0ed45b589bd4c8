# ruff: noqa: TID252 - relative, because this folder is also a package of its own
r"""Access logs of nginx and Apache: common, combined, with a virtual host, with more at the end.

    addr - user [time] "request" status bytes "referrer" "user agent" more...
    vhost:port addr - user [time] "request" status bytes ...

The user name is a stranger's text and may hold blanks and brackets, but no quote: both servers
escape it. So the first time that a quote follows is the right one.

nginx: http://nginx.org/en/docs/http/ngx_http_log_module.html
Apache: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html

>>> line = '192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "POST /hooks?a=1 HTTP/1.1" 401 17'
>>> call = parse(line + ' "-" "Acme/1"', (), starts=False)
>>> call.method, call.path, call.status, call.user_agent
('POST', '/hooks', 401, 'Acme/1')
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import shown
from .call import (
    Call,
    LineError,
    SkippedError,
    address,
    any_time,
    clf_time,
    host_name,
    known_ip,
    number,
    status_of,
    target,
    text,
    whole,
)

_TIME: Final = re.compile(r' \[([^\[\]]{20,40})\] "')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TOKEN: Final = re.compile(r' +(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_METHOD: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,31}")
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "v": "\v", "f": "\f"}

EXTRA: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "-": ("", lambda _: None),
    "body_bytes": ("body_bytes", whole),
    "content_length": ("body_bytes", whole),
    "content_type": ("content_type", text),
    "forwarded_for": ("forwarded_for", text),
    "host": ("host", host_name),
    "msec": ("time_us", any_time),
    "request_length": ("request_bytes", whole),
    "request_time": ("duration_ms", lambda value: _times(number(value), 1000.0)),
    "request_time_ms": ("duration_ms", number),
    "request_time_us": ("duration_ms", lambda value: _times(number(value), 0.001)),
    "tls_fp": ("tls_fp", text),
}
"""What a mapping may call the fields after the user agent: the fact, and how it is read."""


def parse(line: str, extra: Sequence[str], *, starts: bool) -> Call:
    """A line as a call.

    extra: names out of EXTRA for what follows the user agent, in order.
    starts: the time is that of the request's begin (Apache), not of its end (nginx).
    """
    at = _TIME.search(line)
    if at is None:
        msg = 'the line has no [10/Oct/2000:13:55:36 -0700] "METHOD /path HTTP/1.1"'
        raise LineError(code="no_match", message=msg)
    host, peer = _who(line[: at.start()])
    request = _QUOTED.match(line, at.end() - 1)
    tokens = _tokens(line, request.end()) if request else []
    if request is None or len(tokens) < 2:
        msg = 'allowed is "METHOD /path HTTP/1.1" status bytes; the line ends before'
        raise LineError(code="no_match", message=msg)
    found: dict[str, Any] = {"time_us": clf_time(at[1]), "host": host}
    for name, value in zip(extra, tokens[4:], strict=False):
        fact, read = EXTRA[name]
        if fact and (given := read(value)) is not None:
            found[fact] = given
    source = address(peer)
    status = status_of(tokens[0])
    method, asked, path = request_of(unescape(request[1]))
    found["host"] = asked or found["host"]
    if not starts and found.get("duration_ms"):
        found["time_us"] = max(found["time_us"] - round(found["duration_ms"] * 1000), 0)
    agent = unescape(tokens[3]) if len(tokens) > 3 else None
    return Call(
        status=status,
        source_ip=source,
        method=method,
        path=path,
        user_agent=text(agent),
        rest=tuple(tokens[4 + len(extra) : 12]),
        **found,
    )


def _who(before: str) -> tuple[str | None, str]:
    """The virtual host, if there is one, and the address."""
    words = before.split(" ", 3)
    if known_ip(words[0]) is None and len(words) > 1 and known_ip(words[1]) is not None:
        return host_name(words[0]), words[1]
    return None, words[0]


def _tokens(line: str, start: int) -> list[str]:
    """What follows the request: words, and texts in quotes."""
    tokens: list[str] = []
    while (found := _TOKEN.match(line, start)) is not None and len(tokens) < 40:
        tokens.append(found[2] if found[1] is None else found[1])
        start = found.end()
    return tokens


def request_of(request: str) -> tuple[str, str | None, str]:
    """Method, host and path of a request line; SkippedError where it is no HTTP.

    >>> request_of("POST /hooks/a HTTP/1.1")
    ('POST', None, '/hooks/a')
    """
    parts = request.split(" ")
    if request in ("", "-"):
        raise SkippedError(reason="no_request")
    if len(parts) < 2 or not _METHOD.fullmatch(parts[0]):
        raise SkippedError(reason="not_http")
    middle = parts[1:-1] if len(parts) > 2 and parts[-1].startswith("HTTP/") else parts[1:]
    host, path = target(" ".join(middle))
    if not path.startswith("/"):
        raise SkippedError(reason="not_http")
    return parts[0], host, path


def unescape(value: str) -> str:
    r"""What a server escaped, as it was; bytes beyond ASCII are read as UTF-8.

    >>> unescape(r"Acme \x22x\x22 \"y\" \\ \xc3\xa9")
    'Acme "x" "y" \\ é'
    """
    if "\\" not in value:
        return value
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _CONTROLS.get(m[2], m[2]), value)
    try:
        return plain.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return plain


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def refuse_unknown(names: Sequence[str]) -> str | None:
    """What is wrong with the names of a mapping's `extra`, if anything."""
    for name in names:
        if name not in EXTRA:
            return f"extra: allowed are {', '.join(EXTRA)}; given {shown(name)}"
    return None
