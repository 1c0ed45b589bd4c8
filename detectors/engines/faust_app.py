"""The worker on Kafka: Faust owns membership, assignment, delivery and commits; nothing else.

Stock Faust, with its known weak places kept out of the way (the numbers are issues of
github.com/faust-streaming/faust):

- Events are raw bytes; no Records, no Tables, no windows, no web server, no topic creation.
- The agent gets whole stretches of partitions (`detectors.engines.faust_transport`), and
  acknowledges none. The group's offset is committed here, one number per partition and only after
  its checkpoint, not collected from acknowledgements of single records: that bookkeeping loses or
  blocks offsets around rebalances (606, 596).
- Stretches carry the generation of the group under which they were fetched; those of an earlier one
  are dropped.
- An agent that raises is restarted by Faust as if nothing had happened. Here the first exception,
  wherever it comes from, is logged and ends the process with code 1.
- Faust's own program is not used: no banner, no second logging set-up, no command line of its own.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from faust.types import TP

from detectors.engines.errors import EngineError
from detectors.engines.faust_settings import WorkerSettings, new_app
from detectors.engines.journal import LOGGER, hush, is_verbose, line, note
from detectors.engines.log_reader import LogReader, Readers
from detectors.engines.overview import Overview
from detectors.engines.ports import Acknowledged, Outside, TopicPartition
from detectors.engines.seen import Seen
from detectors.engines.share import RESTORES, Share
from detectors.engines.watchdog import Stall, Topology, Watchdog
from ingest.kafka_fault import fault_line
from ingest.kafka_transport import reachable

SAVE_SECONDS: Final = 5.0  # for the checkpoints, when partitions are to be handed over
LOOK_BACK_SECONDS: Final = 600.0  # between two lines of what became of records, and who sent them
ANSWER_SECONDS: Final = 4.0  # for the loop to tell how it stands; a walk takes a tenth of it
STOP_SECONDS: Final = 4.0  # for Faust to stop; together with the checkpoints below 10 s


class Worker:
    """One member of the consumer group; made and run inside a running event loop."""

    def __init__(self, settings: WorkerSettings) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._leaving = asyncio.Event()
        self._failure: asyncio.Future[None] = loop.create_future()
        self._threads = ThreadPoolExecutor(RESTORES + 1, thread_name_prefix="callwatch-log")
        self._app = new_app(settings)
        self._readers = Readers(
            lambda: LogReader(settings.kafka.keywords(), settings.group), most=RESTORES
        )
        self._share = Share(
            Outside(
                topics=settings.topics,
                cores=settings.cores,
                shared=settings.shared,
                sources=settings.sources,
                send=self._send,
                readers=self._readers,
                threads=self._threads,
                cache=settings.cache,
                before=settings.before,
            ),
            commit=self._commit,
            failed=self._fail,
            save_events=settings.save_events,
            ready=self._tell_ready,
        )
        self._app.resting = self._share.restoring
        self._member = self._is_ready = False
        self._watchdog = Watchdog(
            Stall(settings.save_seconds, settings.stall_seconds),
            Topology(settings.partitions),
            state=lambda: (self._share.places, self._member),
            held=lambda: self._share.held,
            broker=lambda: Overview(settings.kafka, settings.group, list(settings.partitions)),
            reachable=lambda: reachable(
                settings.kafka.bootstrap_servers, settings.kafka.keywords()
            ),
            explain=self._explain,
            events=settings.topics.events,
            tell=self._tell_stalled,
        )
        both = self._app.topic(
            settings.topics.events,
            settings.topics.sources,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
            acks=False,
        )
        self._app.agent(both, name="detect", concurrency=1)(self._detect)
        self._app.on_partitions_assigned.connect(self._assigned)
        self._app.on_partitions_revoked.connect(self._revoked)

    def leave(self) -> None:
        """Save, leave the group, and let `run` return."""
        self._leaving.set()

    async def run(self) -> int:
        """Work until told to leave (0) or until something fails (1)."""
        settings = self._settings
        controls = "taken" if settings.takes_controls else "refused"
        note(
            "worker.started",
            group=settings.group,
            topic=settings.topics.events,
            controls=controls,
        )
        parts: list[asyncio.Future[Any]] = [
            self._failure,
            asyncio.ensure_future(self._leaving.wait()),
            asyncio.ensure_future(self._run_faust()),
            asyncio.ensure_future(self._save_now_and_then()),
            asyncio.ensure_future(self._tell_now_and_then()),
        ]
        self._watchdog.start()
        if settings.endpoint is not None:
            loop = asyncio.get_running_loop()
            settings.endpoint.tell(
                lambda: asyncio.run_coroutine_threadsafe(self._see(), loop).result(ANSWER_SECONDS)
            )
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        error = next((each.exception() for each in done if each.exception()), None)
        if error is not None:
            _tell_failed(error)
        saved = error is None and await self._save_at_last()
        if error is None and (error := self._failed_meanwhile()) is not None:
            _tell_failed(error)
            saved = False
        for each in parts:
            each.cancel()
        hush()  # what the libraries say of being stopped is not worth a word
        await asyncio.gather(self._stop_faust(), self._share.end(STOP_SECONDS))
        self._watchdog.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._readers.close()
        if settings.endpoint is not None:
            settings.endpoint.close()
        note("worker.stopped", saved=saved)
        return 0 if saved else 1

    async def _save_at_last(self) -> bool:
        try:
            return await self._share.release(None, SAVE_SECONDS)
        except Exception as error:  # whatever it is, the process ends in order and says so
            _tell_failed(error)
            return False

    def _failed_meanwhile(self) -> BaseException | None:
        return self._failure.exception() if self._failure.done() else None

    async def _run_faust(self) -> None:
        await self._app.start()
        await self._app.wait_until_stopped()
        msg = f"Faust stopped by itself: {self._app.crash_reason!r}"
        raise EngineError(msg)

    async def _stop_faust(self) -> None:
        try:
            await asyncio.wait_for(self._app.stop(), STOP_SECONDS)
        except TimeoutError:
            # Its state is saved and its session will run out: not worth a failure.
            note("worker.faust_hangs", level=logging.WARNING, seconds=STOP_SECONDS)

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._settings.save_seconds)
            while wait := self._share.pace.left:
                await asyncio.sleep(wait)
            await self._share.save()

    async def _tell_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(LOOK_BACK_SECONDS)
            self._share.look_back()

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _explain(self, error: Exception) -> str:
        """Why no broker answers: the way to it is gone once more, step by step."""
        kafka, cause = self._settings.kafka, error
        if isinstance(error, EngineError) and isinstance(error.__cause__, Exception):
            cause = error.__cause__
        servers = kafka.bootstrap_servers
        return fault_line(cause, servers, kafka.keywords(), self._settings.group)

    def _tell_stalled(self, what: str) -> None:
        """The watchdog's thread calls this."""
        self._failure.get_loop().call_soon_threadsafe(self._fail, EngineError(what))

    def _tell_ready(self, is_ready: bool) -> None:
        if is_ready == self._is_ready:
            return
        self._is_ready = is_ready
        if is_ready:
            note("worker.ready", partitions=len(self._share.places))
        if (file := self._settings.ready_file) is not None:
            try:
                if is_ready:
                    file.touch()
                else:
                    file.unlink(missing_ok=True)
            except OSError as error:
                self._fail(EngineError(f"--ready-file {file}: {error.strerror or error}"))

    async def _see(self) -> Seen:
        """How it stands, between two walks: so what came and what became of it are one."""
        share, settings = self._share, self._settings
        return Seen(
            group=settings.group,
            config=settings.cores.config_hash,
            ready=self._is_ready,
            standings=share.standings,
            ends=self._watchdog.ends,
            broker_answers=self._watchdog.answered,
            records=share.records,
            busiest=share.busiest,
            partitions=settings.partitions,
            tally=share.tally,
        )

    # Faust calls these

    async def _detect(self, stream: Any) -> None:
        try:
            async for fetched in stream.noack():
                # One agent walks all partitions, and must not wait for one that is restored.
                if not self._failure.done() and not self._share.pass_over(fetched):
                    await self._share.feed(fetched)
                self._app.consumer.landed(fetched)
        except Exception as error:  # Faust would log it, and start the agent again
            self._fail(error)

    async def _assigned(self, _app: object, assigned: Iterable[Any], **_: object) -> None:
        self._member = True
        self._share.assign(map(_ours, assigned), self._app.consumer_generation_id)

    async def _revoked(self, _app: object, revoked: Iterable[Any], **_: object) -> None:
        self._member = False
        try:
            await self._share.release([_ours(tp) for tp in revoked], SAVE_SECONDS)
        except Exception as error:  # Faust would log it and go on
            self._fail(error)

    # These call Faust

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]],
    ) -> Awaitable[Acknowledged]:
        sent: Awaitable[Acknowledged] = await self._app.producer.send(
            topic, key, value, partition, None, headers
        )
        return sent

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far the checkpoints are.

        Refused means that the group has rebalanced: the partitions are, or are about to be, another
        assignment's, and Faust tells of that next. Nothing is lost and nothing is to be done: the
        checkpoints stand, and whoever is assigned now restores them and goes on from *their*
        offsets. Until then this worker's later checkpoints count only where nobody has claimed the
        partition. Whatever else keeps a commit from being made, Faust crashes of it, and so the
        worker ends.
        """
        whole = {TP(*where): offset for where, offset in offsets.items()}
        # The driver's own commit: `Consumer.commit` would ask the acknowledgements (see above).
        if not await self._app.consumer._commit(whole):
            note("commit.refused", level=logging.WARNING, partitions=list(offsets))


async def run_worker(settings: WorkerSettings) -> int:
    """Run one worker until SIGTERM or SIGINT; the process's exit code."""
    # What is loaded by now stays: the collector would look through all of it, compiled code's
    # records above all, for 80 ms at a time.
    gc.collect()
    gc.freeze()
    worker = Worker(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.leave)
    try:
        return await worker.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _tell_failed(error: BaseException) -> None:
    """In one line what callwatch itself says of it; of anything else where it came from, too."""
    told = str(error) if isinstance(error, EngineError) else repr(error)
    trace = None if isinstance(error, EngineError) and not is_verbose() else error
    LOGGER.error("%s", line("worker.failed", error=told), exc_info=trace)


def _ours(where: Any) -> TopicPartition:
    return TopicPartition(where.topic, where.partition)
