"""A state goes on under another inventory: nobody else notices, and rows name the right classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import Alert
from detectors.config import Config, Override
from detectors.core import SENDER, Core
from detectors.event import HOUR
from ingest.inventory import Inventory, Sender
from tests.property.hostile import SENDERS, START, hostile

NAMES = (*SENDERS, "aaa", "zeta")
"""Two of them never call; the first moves the numbers of all classes of senders behind it."""
RANGES = ((), (), ("192.0.0.0/24",), ("192.0.1.0/24", "2001:db8::/32"))
PROVIDERS = (None, None, "stripe", "github", "svix", "no-such-provider")
OVERRIDES = (
    Override("beta", "payload-volume", "why", START + 3 * HOUR, {"least_count": 1.0}),
    Override("beta", "sender-silence", "why", START + 30 * HOUR, {"least_calls": 5.0}),
    Override("söder", "sender-silence", "why", START + 300 * HOUR, {"least_calls": 7.0}),
)
SAID = st.builds(
    lambda provider, ranges: Sender("", provider, ranges=ranges),
    st.sampled_from(PROVIDERS),
    st.sampled_from(RANGES),
)
INVENTORIES = st.dictionaries(st.sampled_from(NAMES), SAID, max_size=len(NAMES))
Said = Mapping[str, Sender]


def config_of(said: Said) -> Config:
    """Return the configuration of an inventory that names somebody."""
    senders = {"omega": Sender("omega")}  # the first that is named makes all others unregistered
    senders |= {name: Sender(name, of.provider, ranges=of.ranges) for name, of in said.items()}
    return Config(inventory=Inventory(senders=senders), overrides=OVERRIDES)


def told(alerts: list[Alert], concerned: set[str]) -> list[dict[str, Any]]:
    """Return the alerts that are about nobody concerned, but for the configuration's hash."""
    return [a.model_dump(exclude={"config"}) for a in alerts if a.sender not in concerned]


def classes(core: Core) -> dict[str, dict[str, int]]:
    """Return the class of parameters that each row of a sender names, by sender and user."""
    table = core._tables[SENDER]
    users = {user: rows for user, rows in table.rows.items() if "who" in (rows.dtype.names or ())}
    assert {"pace", "payload-volume", "sender-silence"} <= users.keys()
    return {
        core._roster.name(position, 0): {u: int(r[position]["who"]) for u, r in users.items()}
        for position in range(table.used)
    }


@settings(max_examples=12, deadline=None, derandomize=True)
@given(before=INVENTORIES, after=INVENTORIES, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_another_inventory_concerns_only_those_of_whom_it_says_something_else(
    before: Said, after: Said, seed: int, data: st.DataObject
) -> None:
    """Their alerts are those of a run whose inventory never changed, ids and contents."""
    log = hostile(seed, 400)
    cut = data.draw(st.integers(1, len(log) - 1))
    first, second = config_of(before), config_of(after)
    undisturbed, core = Core(first), Core(first)
    for each in (undisturbed, core):
        each.feed_log(*log.part(0, cut))
    core = Core.restore(second, core.snapshot())
    expected = undisturbed.feed_log(*log.part(cut, len(log))).alerts
    found = core.feed_log(*log.part(cut, len(log))).alerts
    concerned = {name for name in NAMES if before.get(name) != after.get(name)}
    assert told(found, concerned) == told(expected, concerned)
    assert {a.config for a in found} <= {second.hash}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(before=INVENTORIES, after=INVENTORIES, seed=st.integers(0, 2**32 - 1))
def test_rows_name_the_classes_that_their_last_events_have_now(
    before: Said, after: Said, seed: int
) -> None:
    """The same as in a core that knew the inventory all along, except where none told a provider.

    Of a sender whose provider the inventory fixed, and fixes no more, that is what is known.
    """
    log = hostile(seed, 200)
    first, second = config_of(before), config_of(after)
    core, wise = Core(first), Core(second)
    for each in (core, wise):
        each.feed_log(*log.part(0, len(log)))
    found, expected = classes(Core.restore(second, core.snapshot())), classes(wise)
    assert found.keys() == expected.keys()
    fixed, fixes = (
        {name for name, of in said.items() if of.provider in first.profiles}
        for said in (before, after)
    )
    for name in found.keys() - (fixed - fixes):
        assert found[name] == expected[name], name
    for name in found.keys() & (fixed - fixes):
        known = second.provider(found[name]["pace"])
        assert known == before[name].provider
