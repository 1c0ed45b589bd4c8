"""kafka-python's clients, made so that a failure leaves nothing behind."""

from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

FINE: Final = 0
UNKNOWN: Final = 3
DENIED: Final = 29
EXISTS: Final = 36
"""A broker's codes for a topic in what the admin client describes or creates."""


def opened(kind: type[T], **options: Any) -> T:
    """A client; or what kept it from being made, and neither a thread nor a socket of it.

    kafka-python starts a thread before it looks for a broker. Where none answers its constructor
    raises, so that nobody has a client to close, and the thread stays with its sockets: where that
    is tried again and again, a process runs out of both.
    """
    client: Any = kind.__new__(kind)
    try:
        client.__init__(**options)
    except BaseException:
        with suppress(Exception):  # it may not have come so far
            client._client.close()
        with suppress(Exception):
            client._net.stop()
        raise
    return client  # type: ignore[no-any-return]
