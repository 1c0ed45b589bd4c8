# ruff: noqa: TID252 - relative, because this folder is also a package of its own
r"""Access logs of AWS Application Load Balancers.

Fields are separated by blanks, some in quotes; new ones are added at the end and ignored here.
`request_creation_time` is when the request came, `received_bytes` its size with all headers.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
"""

import re
from typing import Final

from ..errors import shown
from .call import Call, LineError, address, any_time, host_name, number, status_of, text, whole
from .combined import request_of, unescape

_TOKEN: Final = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?: +|$)')
_TYPES: Final = frozenset({"http", "https", "h2", "grpcs", "ws", "wss"})
_LEAST: Final = 17  # fields of the first version of the format, up to the trace id
_CREATED: Final = 21
_MOST: Final = 60


def parse(line: str) -> Call:
    """A line as a call."""
    fields = _fields(line)
    if len(fields) < _LEAST or fields[0] not in _TYPES:
        msg = f"allowed are {_LEAST} fields and more, the first of them {', '.join(sorted(_TYPES))}"
        raise LineError(code="no_match", message=msg)
    peer, colon, port = fields[3].rpartition(":")
    if not colon or not port.isdigit():
        msg = f"client: allowed is address:port; given {shown(fields[3])}"
        raise LineError(code="bad_address", message=msg)
    answered = any_time(fields[1])
    spent = [number(value) for value in fields[5:8]]  # -1 where it was cut off
    created = fields[_CREATED] if len(fields) > _CREATED else "-"
    if text(created) is not None:
        at = any_time(created)
    else:  # the first version says only when it was answered
        at = max(answered - round(sum(part or 0.0 for part in spent) * 1e6), 0)
    source = address(peer.strip("[]"))
    status = status_of(fields[8])
    method, host, path = request_of(unescape(fields[12]))
    whole_time = None if None in spent else round(sum(part or 0.0 for part in spent) * 1000, 3)
    return Call(
        time_us=at,
        status=status,
        source_ip=source,
        method=method,
        path=path,
        host=host or host_name(fields[18] if len(fields) > 18 else None),
        user_agent=text(unescape(fields[13])),
        duration_ms=whole_time,
        request_bytes=whole(fields[10]),
        blocked=fields[9] == "-" and status == 403,  # the balancer or its firewall said no
    )


def _fields(line: str) -> list[str]:
    found: list[str] = []
    start = 0
    while (one := _TOKEN.match(line, start)) is not None and len(found) < _MOST:
        found.append(one[2] if one[1] is None else one[1])
        start = one.end()
        if start == len(line):
            break
    return found
