"""The inventory: what it reads, and how it names every fault at once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.errors import InventoryError
from ingest.inventory import Endpoint, Inventory, Plan, Sender, load_inventory
from ingest.toml_text import load_toml

GOOD = """
[senders."acme-stripe"]
provider = "stripe"
owner = "payments"
endpoints = ["/hooks/stripe"]
ranges = ["192.0.2.0/24", "2001:db8::/32"]
mtls = true
keys = ["k1", "k2"]

[senders.agent]

[endpoints."/hooks/stripe"]
owner = "payments"
callers = ["stripe"]
trigger = "a payment changed"
audience = "server"
retries_expected = true

[[planned]]
kind = "rotation"
sender = "acme-stripe"
from = 2026-11-20T08:30:00+01:00
to = "2026-11-21T08:30:00Z"
reason = "yearly"
"""
BAD = """colour = 1
[senders.a]
provider = ""
ranges = [
    "10.0.0.1/8",
]
mtls = 1
color = "red"
[senders."\\n"]
[endpoints."/x"]
audience = "nobody"
[[planned]]
kind = "rotation"
sender = "b"
from = 2026-11-20T08:30:00Z
to = 2026-11-20T07:30:00Z
reason = "x"
[[planned]]
kind = "party"
from = 2026-11-20T08:30:00
"""


def _load(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "inventory.toml"
    path.write_text(text)
    return load_inventory(path)


def test_an_inventory_is_read_whole(tmp_path: Path) -> None:
    """Every table and field arrives, with times in UTC."""
    assert _load(tmp_path, GOOD) == Inventory(
        senders={
            "acme-stripe": Sender(
                "acme-stripe",
                "stripe",
                "payments",
                ("/hooks/stripe",),
                ("192.0.2.0/24", "2001:db8::/32"),
                mtls=True,
                keys=("k1", "k2"),
            ),
            "agent": Sender("agent"),
        },
        endpoints={
            "/hooks/stripe": Endpoint(
                "/hooks/stripe", "payments", ("stripe",), "a payment changed", "server", True
            )
        },
        planned=(
            Plan(
                "rotation",
                "acme-stripe",
                datetime(2026, 11, 20, 7, 30, tzinfo=UTC),
                datetime(2026, 11, 21, 8, 30, tzinfo=UTC),
                "yearly",
            ),
        ),
    )


def test_an_empty_inventory_is_one(tmp_path: Path) -> None:
    """A file without tables registers nothing."""
    assert _load(tmp_path, "# nothing yet\n") == Inventory()


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    """Every fault has its file and line, in the order of the file."""
    with pytest.raises(InventoryError) as caught:
        _load(tmp_path, BAD)
    where = f"{tmp_path / 'inventory.toml'}:"
    found = [fault.removeprefix(where) for fault in caught.value.faults]
    networks = "allowed: a list of networks in CIDR form, such as 192.0.2.0/24"
    assert found == [
        '1: "colour": is no known key; allowed are senders, endpoints, planned',
        '3: senders."a": provider: allowed: text of 1 to 256 printable characters; given ""',
        f'4: senders."a": ranges: {networks}; given "10.0.0.1/8"',
        '7: senders."a": mtls: allowed: true or false; given 1',
        '8: "color": is no known key; allowed are provider, owner, endpoints, ranges, mtls, keys',
        '9: senders: allowed are names; given "\\n"',
        '11: endpoints."/x": audience: allowed: user, server; given "nobody"',
        '14: sender: allowed are registered; given "b"',
        "16: to: allowed is a time after `from`",
        "18: reason: is missing",
        "18: sender: is missing",
        "18: to: is missing",
        '19: kind: allowed: rotation, backfill, campaign, migration, maintenance; given "party"',
        "20: from: allowed: a time with an offset, such as 2026-11-20T08:30:00Z; given a datetime",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("senders = 1", ":1: senders: allowed are tables such as [senders.name]"),
        ("planned = 1", ":1: planned: allowed are rows, each under [[planned]]"),
        ("[senders]\na = 1", ":2: senders: allowed is a table; given 1"),
        ("a = 1\nb", ":2: no TOML: Expected '='"),
    ],
)
def test_a_wrong_shape_is_named(tmp_path: Path, text: str, message: str) -> None:
    """Wrong shapes and broken TOML are faults with a line too."""
    with pytest.raises(InventoryError) as caught:
        _load(tmp_path, text)
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no UTF-8 are one line each."""
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    for name, message in [
        ("none.toml", "cannot be read: no such file or directory"),
        (".", "cannot be read: is a directory"),
        ("latin.toml", "allowed is UTF-8"),
    ]:
        with pytest.raises(InventoryError, match=message):
            load_inventory(tmp_path / name)


LONG = {
    "uuid": "9b2f6c1e-4c1d-4e0b-8a37-0d5f1c2b3a49",
    "dots": "." * 100,
    "dashes": "-" * 100,
    "dotted words": ".".join("0123456789abcdef" * 4),
    "blanks": "a" + " " * 1000 + "b",
    "brackets": "[" + "]" * 1000 + "x",
    "quotes": "\"'" * 100,
    "nested": "[x=" + "[" * 5000 + "]",
    "digits": "[x=" + "9" * 5000 + "]",
}


@pytest.mark.parametrize("word", LONG.values(), ids=LONG)
def test_a_long_word_at_the_start_of_a_line_of_text_is_read(tmp_path: Path, word: str) -> None:
    """Any line may stand in a text of several lines, and what comes after it has its line."""
    path = tmp_path / "some.toml"
    path.write_text(f'reason = """\n{word}\n{word}"""\nlast = 1\n')
    assert load_toml(path).lines == {("reason",): 1, ("last",): 4}


def test_a_reason_may_begin_with_the_id_of_a_ticket(tmp_path: Path) -> None:
    """A plan's reason may stand on a line of its own, whatever it looks like."""
    text = GOOD.replace('"yearly"', f'"""\n{LONG["uuid"]}"""')
    assert _load(tmp_path, text).planned[0].reason == LONG["uuid"]


def test_long_numbers_in_a_list_are_read(tmp_path: Path) -> None:
    """A list may have its values on lines of their own."""
    path = tmp_path / "some.toml"
    path.write_text(f"[a]\nlist = [\n  {'1' * 64},\n  {'2' * 64}\n]\nb = 1\n")
    assert load_toml(path).lines == {("a",): 1, ("a", "list"): 2, ("a", "b"): 6}


def test_keys_are_found_however_they_are_written(tmp_path: Path) -> None:
    """Bare, quoted and dotted keys, with blanks around the dots, each have their line."""
    path = tmp_path / "some.toml"
    path.write_text("a-1_B = 1\n\"x = y\" = 2\n'z.z'='q'\n  d . \"e f\" .\t'g'  = 3\n1.5=4\n")
    assert load_toml(path).lines == {
        ("a-1_B",): 1,
        ("x = y",): 2,
        ("z.z",): 3,
        ("d", "e f", "g"): 4,
        ("1", "5"): 5,
    }
