"""How a worker's process ends: in order and with its exit code, whatever is under way."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from detectors.engines.journal import note

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
LAST_SECONDS: Final = 1.0
"""For what is still under way when the worker has stopped."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Before it has joined there is nothing to save: SIGTERM and Ctrl-C end it at once, with 0.

    That holds until `run_worker` takes the signals over.
    """
    told = threading.Event()

    def end(_number: int, _frame: object) -> NoReturn:
        told.set()
        raise SystemExit(0)

    before = {number: signal.signal(number, end) for number in STOPPING}
    try:
        yield
        if told.is_set():  # foreign code has swallowed it
            end(0, None)
    except SystemExit:
        _take_no_more()
        note("worker.stopped", saved=True)
        raise
    except BaseException:
        for number, handler in before.items():
            signal.signal(number, handler)
        raise


def run_to_the_end(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run it, and end the process with its exit code, whatever of the Kafka clients hangs.

    While no broker answers, tasks of aiokafka swallow that they are cancelled, and threads of its
    wait for an answer: `asyncio.run` would wait for both, for ever.
    """
    runner = asyncio.Runner()
    threads = ThreadPoolExecutor(thread_name_prefix="callwatch-lookup")  # names of brokers
    runner.get_loop().set_default_executor(threads)
    try:
        code = runner.run(work)
    except BaseException:
        if _winds_up(runner, threads):
            raise
        traceback.print_exc()
        code = 1
    else:
        if _winds_up(runner, threads):
            sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _winds_up(runner: asyncio.Runner, threads: ThreadPoolExecutor) -> bool:
    """Whether all tasks and threads that are left end soon when told to; then it is over."""
    _take_no_more()
    loop = runner.get_loop()
    if tasks := asyncio.all_tasks(loop):
        for each in tasks:
            each.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_SECONDS))
    threads.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + LAST_SECONDS
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    waited_for = [each for each in others if not each.daemon]
    for one in waited_for:
        one.join(max(deadline - time.monotonic(), 0.0))
    if asyncio.all_tasks(loop) or any(each.is_alive() for each in waited_for):
        return False
    runner.close()
    return True


def _take_no_more() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # it is stopping already
