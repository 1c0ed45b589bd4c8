"""Where a broker listens, read from a setting and written into a message."""

import re
from typing import Final, NamedTuple

from .errors import shown

_HAS_PORT: Final = re.compile(r"[^:]:\d+$|\]:\d+$")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,249}", re.ASCII)


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    @classmethod
    def of(cls, server: str) -> "Address":
        """From `host[:port]`; an IPv6 address with a port is in brackets."""
        host, _, port = server.rpartition(":") if _HAS_PORT.search(server) else (server, "", "9092")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        host = word(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def word(text: str) -> str:
    """A name as it is, where it is one; else as a shown value."""
    return text if _NAME.fullmatch(text) else shown(text)
