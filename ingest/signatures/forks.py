"""A fork copies a lock as it is: one that another thread held is never released in the child."""

import os
import weakref
from typing import Final, Protocol


class Renewed(Protocol):
    """What holds a lock."""

    def after_fork(self) -> None:
        """Take a new lock: called in a child, before anything else runs there."""
        ...


_HOLDERS: Final[weakref.WeakSet[Renewed]] = weakref.WeakSet()


def renewed_after_fork(holder: Renewed) -> None:
    """Have a holder take a new lock in every child, as long as it lives."""
    _HOLDERS.add(holder)


def _renew() -> None:
    for holder in list(_HOLDERS):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
