"""Rows that name a class of parameters by its number go on under another inventory.

Rows that judge by timers hold the class of their last event, until the next one comes. Numbers
belong to one configuration: a sender that is registered may move all of them. So a state tells of
each class its profile, and until when a sender is in it (``Config.classes``), and the class of a
row is looked up anew, as that of an event: by the name of the sender, the profile of the former
class, and the time up to which that one lasts, or stream time where it still does. For a sender of
whom nothing else is said now, that is the same class, whatever its number.

A row knows of its last event's provider no more than that profile: a sender whose ``provider`` is
taken out of the inventory goes by it until the next event.
"""

from __future__ import annotations

import json

import numpy as np

from detectors.config import Config
from detectors.keys import name_key
from detectors.tables import KeyedTable

CLASS = "who"
"""The field of a row with the number."""


def renumber(senders: KeyedTable, config: Config, told: bytes, now: int | None) -> bool:
    """Let the rows of senders name the classes of a configuration; return whether it is another.

    ``told`` is what their state says of its classes, ``now`` its stream time. ValueError where
    a row names a class of which it says nothing.
    """
    classes = _read(told)
    numbers = [
        rows[CLASS][: senders.used]
        for rows in senders.rows.values()
        if CLASS in (rows.dtype.names or ())
    ]
    for who in numbers:
        if len(who) and not 0 <= int(who.min()) <= int(who.max()) < len(classes):
            msg = f"classes of parameters: allowed are 0 to {len(classes) - 1}"
            raise ValueError(msg)
    if told == config.classes:
        return False
    usual = np.array([config.who("", profile, 0) for profile, _ in classes], np.int32)
    named = list(config.named)
    places = senders.find(np.array([name_key(name) for name in named], np.int64)).tolist()
    known = [(name, place) for name, place in zip(named, places, strict=True) if place >= 0]
    for who in numbers:
        before = who.copy()
        who[:] = usual[before]
        for name, place in known:
            profile, until = classes[int(before[place])]
            at = until - 1 if now is None else min(until - 1, now)
            who[place] = config.who(name, profile, at)
    return True


def _read(told: bytes) -> list[tuple[str, int]]:
    """Return profile and end of each class; ValueError where they are something else."""
    _, classes = json.loads(told)
    found = [(profile, until) for profile, until in classes]
    if not all(isinstance(name, str) and type(until) is int for name, until in found):
        msg = "classes of parameters: allowed are the name of a profile and a time"
        raise ValueError(msg)
    return found
