# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Which deliveries were seen before: an idempotency store, in memory or in Redis.

Whoever verifies first and works later must `forget` a delivery that he could not work on, or the
provider's retry of it would count as a repeat.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ..errors import SignatureError
from .base import Verification
from .forks import renewed_after_fork

KEEP_S: Final = 3 * 86_400  # the longest time that Stripe and PayPal try again
MAX_ENTRIES: Final = 100_000


class DeliveryStore(Protocol):
    """What is asked of a store; a synchronous client of Redis is one.

    `forget` calls `delete(name)` where the store has it.
    """

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> object:
        """Keep a name for `ex` seconds unless it is there; None or False when it was there."""
        ...


class MemoryStore:
    """Names of this process alone, at most `max_entries`: the oldest goes first.

    >>> store = MemoryStore(clock=lambda: 0.0)
    >>> store.set("a", "1", nx=True, ex=9), store.set("a", "1", nx=True, ex=9)
    (True, None)
    """

    def __init__(
        self, max_entries: int = MAX_ENTRIES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_entries < 1:
            msg = f"max_entries: allowed are 1 and more; given {max_entries}"
            raise SignatureError(msg)
        self._max = max_entries
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """A child goes on with a copy of the names, under a lock of its own."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> bool | None:  # noqa: ARG002 - Redis' signature
        """Keep a name; None when it was there and is not to be overwritten."""
        with self._lock:
            now = self._clock()
            if nx and self._until.get(name, now) > now:
                return None
            self._until[name] = now + ex
            self._until.move_to_end(name)
            while len(self._until) > self._max or self._oldest_until() <= now:
                self._until.popitem(last=False)
            return True

    def _oldest_until(self) -> float:
        return next(iter(self._until.values()), math.inf)

    def delete(self, *names: str) -> int:
        """Forget names; how many of them were there."""
        with self._lock:
            return sum(self._until.pop(name, None) is not None for name in names)


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The idempotency check of one sender.

    scope: sets senders apart that share a store. refuse: reject repeats as `duplicate_delivery`;
    otherwise they are verified and told by `duplicate`. signatures: a signature that was seen
    counts as well, where the delivery id is not signed and a replay can bring a fresh one.
    """

    store: DeliveryStore = field(repr=False)
    scope: str = ""
    refuse: bool = False
    signatures: bool = False
    keep_s: int = KEEP_S

    def known(self, found: Verification) -> bool | None:
        """Whether a verified delivery was seen before; it is from now on. None = nobody knows.

        A store that is away must not turn callbacks away: whatever it raises is no answer.
        """
        answers = [
            seen(self.store, name, self.keep_s)
            for name in (*self._by_id(found), *self._by_signature(found))
        ]
        if True in answers:
            return True
        return None if None in answers or not answers else False

    def forget(self, found: Verification) -> None:
        """Let the provider try a delivery again: it was verified, but its handling failed."""
        delete = getattr(self.store, "delete", None)
        if delete is not None:
            for name in (*self._by_id(found), *self._by_signature(found)):
                try:
                    _closed(delete(name))
                except Exception:  # noqa: S112 - as above: a store that is away is no error here
                    continue

    def _by_id(self, found: Verification) -> list[str]:
        named = found.delivery_id
        return [] if named is None else [
            hashed("delivery", self.scope, named.encode("utf-8", "surrogatepass"))
        ]  # fmt: skip

    def _by_signature(self, found: Verification) -> list[str]:
        if not self.signatures or found.signature is None:
            return []
        return [hashed("signature", self.scope, found.signature)]


def hashed(kind: str, scope: str, value: bytes) -> str:
    """The name under which a store keeps a value: nobody reads ids, codes or states there."""
    digest = hashlib.sha256(scope.encode("utf-8", "surrogatepass") + b"\x00" + value)
    return f"callwatch:{kind}:{digest.hexdigest()}"


def seen(store: DeliveryStore, name: str, keep_s: int) -> bool | None:
    """Whether a store knew a name; None when it does not say."""
    try:
        answer = _closed(store.set(name, "1", nx=True, ex=keep_s))
    except Exception:  # whatever it is, the callback is not to blame
        return None
    if answer is None or answer is False:
        return True
    return False if answer in (True, b"OK", "OK") else None


def _closed(answer: object) -> object:
    """An answer of a client that wants to be awaited is none: it is closed, not left behind."""
    close = getattr(answer, "close", None)
    if close is not None and hasattr(answer, "__await__"):
        close()
        return NotImplemented
    return answer
