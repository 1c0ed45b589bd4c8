"""Settings of receivers: every variable counts, and a wrong one is named without its value."""

import doctest
from pathlib import Path
from typing import Any

import pytest

from ingest.receivers import options, verdicts, watch
from ingest.receivers.address import Privacy, Proxies, parse_proxies
from ingest.receivers.options import VARIABLES, Given, Options, load_options
from ingest.receivers.settings import SettingsError
from ingest.transports import JsonLinesTransport
from tests.unit.receivers.conftest import Stream

FULL = {
    "RECEIVER": "shop/1@a",
    "ENDPOINTS": "/hooks/{sender}, /pay/*",
    "REDIRECTS": "/login/callback",
    "SENDER": "acme",
    "SENDERS": "acme other",
    "PROVIDER": "stripe",
    "PEPPER": "00" * 16,
    "TRUSTED_PROXIES": "10.0.0.0/8",
    "FORWARDED_HEADER": "Forwarded",
    "CLIENT_IP": "pseudonym",
    "IP_KEY": "01" * 16,
    "IP_KEY_DAYS": "7",
    "SAMPLE_RATE": "0.25",
    "REJECTED_STATUSES": "400,401",
    "STATUS_VERIFIES": "1",
    "PUBLIC_URL": "https://api.example.com",
    "MAX_BODY": "1000",
}
ELSEWHERE = {"DISABLED", "STRICT", "TOPIC", "EVENTS_TO", "QUEUE_EVENTS", "QUEUE_BYTES", "DROP"}


def _env(given: dict[str, str]) -> dict[str, str]:
    return {f"CALLWATCH_{name}": value for name, value in given.items()}


@pytest.mark.parametrize("module", [options, verdicts])
def test_examples_in_docstrings_are_true(module: Any) -> None:
    """What the docstrings show is what the code gives."""
    assert doctest.testmod(module).failed == 0


def test_every_variable_counts() -> None:
    """All that is documented is read, and nothing else."""
    assert FULL.keys() | ELSEWHERE == VARIABLES.keys()
    assert load_options(_env(FULL)) == Options(
        receiver="shop/1@a",
        endpoints=("/login/callback", "/hooks/{sender}", "/pay/*"),
        redirects=frozenset({"/login/callback"}),
        sender="acme",
        senders=frozenset({"acme", "other"}),
        provider="stripe",
        pepper=bytes(16),
        proxies=Proxies(networks=parse_proxies("10.0.0.0/8").networks, header="forwarded"),
        privacy=Privacy("pseudonym", b"\x01" * 16, 7),
        sample_rate=0.25,
        rejected_statuses=frozenset({400, 401}),
        status_verifies=True,
        public_url="https://api.example.com",
        max_body=1000,
    )


def test_arguments_win_over_variables() -> None:
    """What is given in the program counts, every option of it."""
    given: Given = {"sender": "mine", "endpoints": ["/mine"], "proxies": "2", "redirects": []}
    found = load_options(_env(FULL), **given)
    assert (found.sender, found.endpoints, found.proxies.count) == ("mine", ("/mine",), 2)
    assert set(Given.__annotations__) == set(Options.__dataclass_fields__)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """NAME_FILE holds the value of NAME."""
    (tmp_path / "pepper").write_text("02" * 16 + "\n")
    env = {"CALLWATCH_PEPPER_FILE": str(tmp_path / "pepper")}
    assert load_options(env).pepper == b"\x02" * 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PEPPER": "canary"}, "CALLWATCH_PEPPER: allowed are 16 bytes"),
        ({"TRUSTED_PROXIES": "canary"}, "trusted proxies: allowed are"),
        ({"FORWARDED_HEADER": "canary"}, "CALLWATCH_FORWARDED_HEADER: allowed are"),
        ({"CLIENT_IP": "canary"}, "CALLWATCH_CLIENT_IP: allowed are"),
        ({"IP_KEY": "canary"}, "CALLWATCH_IP_KEY: allowed are"),
        ({"IP_KEY": "01"}, "CALLWATCH_IP_KEY: allowed are"),
        ({"SAMPLE_RATE": "canary"}, "CALLWATCH_SAMPLE_RATE: allowed is a number"),
        ({"SAMPLE_RATE": "0"}, "sample rate: allowed is more than 0"),
        ({"SAMPLE_RATE": "nan"}, "CALLWATCH_SAMPLE_RATE"),
        ({"REJECTED_STATUSES": "99"}, "rejected statuses: allowed are"),
        ({"PUBLIC_URL": "canary"}, "public URL: allowed is https://host"),
        ({"RECEIVER": "a\x01b"}, "receiver: allowed is text"),
        ({"ENDPOINTS": "hooks"}, "endpoint: allowed is a path"),
        ({"ENDPOINTS": "/a/*/b"}, "endpoint: \\* is allowed as the last segment only"),
        ({"ENDPOINTS": "/{a}/{a}"}, "endpoint: a name is allowed once"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(change: dict[str, str], message: str) -> None:
    """One line, the variable and what is allowed."""
    with pytest.raises(SettingsError, match=message) as caught:
        load_options(_env(FULL | change))
    assert "canary" not in str(caught.value)


def test_the_publisher_is_set_by_variables(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Queue, drop policy, topic and file; a wrong number is an error."""
    given = {"EVENTS_TO": str(tmp_path / "e"), "QUEUE_EVENTS": "5", "QUEUE_BYTES": "6000",
             "DROP": "oldest"}  # fmt: skip
    for name, value in _env(given).items():
        monkeypatch.setenv(name, value)
    publisher = watch.default_publisher()
    assert publisher._limits == (5, 6000, "oldest")
    assert isinstance(publisher._transport, JsonLinesTransport)
    monkeypatch.delenv("CALLWATCH_EVENTS_TO")
    monkeypatch.setenv("CALLWATCH_TOPIC", "mine")
    monkeypatch.setattr(watch, "_shared", {})
    assert "topic='mine'" in repr(watch.default_publisher())
    for name, value in (("DROP", "all"), ("QUEUE_EVENTS", "0"), ("QUEUE_BYTES", "x")):
        monkeypatch.setattr(watch, "_shared", {})
        monkeypatch.setenv(f"CALLWATCH_{name}", value)
        with pytest.raises(SettingsError, match=f"CALLWATCH_{name}: allowed"):
            watch.default_publisher()
        monkeypatch.setenv(f"CALLWATCH_{name}", _env(given)[f"CALLWATCH_{name}"])
