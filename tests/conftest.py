"""What several folders of tests share: a real Kafka broker, for each process of tests one."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kafka.broker import (
    GIVEN,
    Broker,
    BrokerUnavailableError,
    broker_required,
    running_broker,
)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A broker that is given is one for all: there the tests on it run one after the other."""
    on_broker = config.getoption("markexpr") == "integration"
    return 1 if on_broker and os.environ.get(GIVEN) else None


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the whole run; skips without one, fails where one was promised."""
    data = tmp_path_factory.mktemp("kafka")
    with ExitStack() as until_the_end:
        try:
            broker = until_the_end.enter_context(running_broker(data))
        except BrokerUnavailableError as error:
            if broker_required():
                pytest.fail(f"CALLWATCH_REQUIRE_BROKER=1, but {error}", pytrace=False)
            pytest.skip(str(error))
        yield broker
