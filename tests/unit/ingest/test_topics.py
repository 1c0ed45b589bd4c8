"""`callwatch topics`: what is created, what is left alone, and what is said."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ingest import cli
from ingest.errors import TopicError
from ingest.kafka_cluster import KafkaCluster
from ingest.topics import LOOKED_AT, TOPICS, Existing, Topic, create, faults

NAMES = (
    "callwatch.events",
    "callwatch.events.rejected",
    "callwatch.sources",
    "callwatch.state",
    "callwatch.alerts",
    "callwatch.alerts.dead",
)


class FakeCluster:
    """A cluster in memory."""

    def __init__(self, *_: Any, **there: Existing) -> None:
        self.there = dict(there)
        self.closed = False

    def existing(self, names: Sequence[str] = LOOKED_AT) -> dict[str, Existing]:
        return {name: there for name, there in self.there.items() if name in names}

    def create(self, topic: Topic, partitions: int, replication: int) -> bool:
        if topic.name == "callwatch.sources":  # somebody else is faster
            return False
        self.there[topic.name] = Existing(partitions, {**topic.settings, "r": str(replication)})
        return True

    def close(self) -> None:
        self.closed = True


def _complete(**changes: Existing) -> dict[str, Existing]:
    found = {topic.name: Existing(6, dict(topic.settings)) for topic in TOPICS}
    return found | {name.replace("_", "."): there for name, there in changes.items()}


def test_the_topics_are_those_of_the_design() -> None:
    """Names and policies: the broker's time on events, compaction for the state."""
    assert tuple(topic.name for topic in TOPICS) == NAMES
    settings = {topic.name: topic.settings for topic in TOPICS}
    assert settings["callwatch.events"]["message.timestamp.type"] == "LogAppendTime"
    assert [name for name in NAMES if settings[name]["cleanup.policy"] == "compact"] == [
        "callwatch.state"
    ]


def test_missing_topics_are_created_and_others_left_alone() -> None:
    """Only what is missing is made, with the partitions and copies that were asked for."""
    old = Existing(2, {"cleanup.policy": "compact"})
    cluster = FakeCluster(**{"callwatch.alerts": old})
    assert create(cluster, partitions=12, replication=3) == {
        "callwatch.events": True,
        "callwatch.events.rejected": True,
        "callwatch.sources": False,
        "callwatch.state": True,
        "callwatch.alerts": False,
        "callwatch.alerts.dead": True,
    }
    assert cluster.there["callwatch.alerts"] is old
    assert {name: there.partitions for name, there in cluster.there.items()} == {
        "callwatch.alerts": 2,
        "callwatch.events": 12,
        "callwatch.events.rejected": 1,
        "callwatch.state": 12,
        "callwatch.alerts.dead": 1,
    }
    assert cluster.there["callwatch.state"].settings["r"] == "3"


def test_what_keeps_it_from_working_is_named() -> None:
    """Missing topics, wrong policy or timestamp, state or sources that do not fit the events."""
    assert faults(_complete()) == []
    wrong = _complete(
        callwatch_events=Existing(
            6, {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"}
        ),
        callwatch_sources=Existing(7, dict(TOPICS[2].settings)),
        callwatch_state=Existing(3, {"cleanup.policy": "delete"}),
    )
    del wrong["callwatch.alerts"]
    assert faults(wrong) == [
        "callwatch.alerts: is missing; `callwatch topics create` makes it",
        "callwatch.events: message.timestamp.type: allowed is LogAppendTime; given CreateTime",
        "callwatch.sources: partitions: allowed are up to those of callwatch.events, 6; given 7",
        "callwatch.state: cleanup.policy: allowed is compact; given delete",
        "callwatch.state: partitions: allowed are those of callwatch.events, 6; given 3",
    ]


def test_topics_that_take_no_whole_batch_are_named() -> None:
    """Checkpoints and alerts would be refused later, by a worker that ends again and again."""
    small = {**TOPICS[3].settings, "max.message.bytes": "200"}
    usual = {**TOPICS[0].settings, "max.message.bytes": "1048588"}
    found = faults(
        _complete(callwatch_state=Existing(6, small), callwatch_events=Existing(6, usual))
    )
    assert found == ["callwatch.state: max.message.bytes: allowed from 1048576 on; given 200"]


def test_what_is_missing_is_one_line() -> None:
    """On a new cluster one line names all topics that are asked for, and no others."""
    asked = ["callwatch.events", "callwatch.state"]
    line = "callwatch.events, callwatch.state: are missing; `callwatch topics create` makes them"
    assert faults({}, asked) == [line]
    assert len(faults({})) == 1


def test_an_unfinished_repartitioning_is_named() -> None:
    """Nothing is to be made by hand then; while events still come, workers may go on."""
    under_way = _complete(callwatch_repartition=Existing(1, {}))
    (told,) = faults(under_way)
    assert told.startswith("callwatch.repartition: a repartitioning is under way")
    with pytest.raises(TopicError, match="topics repartition` again goes on"):
        create(FakeCluster(**under_way), partitions=6, replication=1)
    closed = Existing(6, {"cleanup.policy": "delete", "message.timestamp.type": "CreateTime"})
    switching = under_way | {"callwatch.events": closed}
    del switching["callwatch.state"]
    assert [each.split(": a repartitioning")[0] for each in faults(switching)] == [
        "callwatch.repartition",
        "callwatch.state",
        "callwatch.events",
    ]


def test_the_commands_say_what_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating prints a line for each topic; checking ends with 1 and names the faults."""
    cluster = FakeCluster()
    monkeypatch.setattr(cli, "KafkaCluster", lambda **_: cluster)
    made = CliRunner().invoke(cli.topics, ["create", "--partitions", "3", "--replication", "2"])
    assert made.exit_code == 0
    assert made.stdout.splitlines() == [
        f"{name}: {'exists, left alone' if name == 'callwatch.sources' else 'created'}"
        for name in NAMES
    ]
    assert "warning: callwatch.sources: is missing" in made.stderr
    checked = CliRunner().invoke(cli.topics, ["check"])
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert "Error: callwatch.sources: is missing" in checked.stderr
    cluster.there = _complete()
    checked = CliRunner().invoke(cli.topics, ["check"])
    assert (checked.exit_code, checked.stdout) == (0, "6 topics are as they should be\n")
    assert cluster.closed


def test_partitions_of_topics_that_exist_are_kept_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another number of partitions than the topics have is no silent wish."""
    cluster = FakeCluster()
    cluster.there = _complete()
    monkeypatch.setattr(cli, "KafkaCluster", lambda **_: cluster)
    same = CliRunner().invoke(cli.topics, ["create", "--partitions", "6"])
    other = CliRunner().invoke(cli.topics, ["create", "--partitions", "8"])
    assert (same.exit_code, same.stderr) == (0, "")
    assert other.exit_code == 0
    assert other.stderr == (
        "warning: --partitions 8 is for topics that it makes: those that exist keep their 6; "
        "`callwatch topics repartition` changes them\n"
    )


def test_wrong_kafka_settings_are_one_line() -> None:
    """What the environment says of Kafka is checked before anything is tried."""
    env = {"CALLWATCH_KAFKA_SECURITY_PROTOCOL": "TELEPATHY"}
    done = CliRunner().invoke(cli.topics, ["check"], env=env)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: CALLWATCH_KAFKA_SECURITY_PROTOCOL must be one of")
    assert done.stderr.count("\n") == 1


def test_wrong_usage_is_told_apart() -> None:
    """A number out of range is a usage error, exit code 2."""
    assert CliRunner().invoke(cli.topics, ["create", "--partitions", "0"]).exit_code == 2


@pytest.mark.parametrize("command", [["topics", "check"], ["worker"]], ids=" ".join)
def test_without_a_broker_the_error_is_one_line(command: list[str]) -> None:
    """A closed port ends in one line and exit code 1: no traceback, and nothing of a library."""
    code = (
        "import sys, callwatch, ingest.kafka_cluster as cluster; cluster.BROKER_TIMEOUT_MS = 100;"
        "sys.exit(callwatch.main())"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", code, *command, "--bootstrap-servers", server],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: kafka {server}: connection refused, since nothing")
    assert done.stderr.count("\n") == 1


@pytest.mark.filterwarnings("ignore:.*is deprecated. Use files:DeprecationWarning")
def test_an_options_value_is_not_repeated() -> None:
    """kafka-python repeats unknown options with their values; we do not."""
    with pytest.raises(TopicError) as caught:
        KafkaCluster(["localhost:1"], no_such_option="canary")
    assert "canary" not in str(caught.value)
