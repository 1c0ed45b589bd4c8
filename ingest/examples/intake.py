# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What every receiver of callbacks does: verify, hand on, answer. No framework in here.

The order matters. Whoever cannot show a signature gets one answer for every fault, and no work is
done for him. Whatever takes time happens after the answer, behind a queue of one's own: senders
give up after seconds, and send again. What cannot be queued is answered by 503, so that they do.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ..kafka_transport import KafkaTransport
from ..publisher import Publisher
from ..receivers import Given, verdict
from ..signatures.base import Verification
from ..signatures.standard_webhooks import verify
from ..vocabulary import Reason, Verdict
from .settings import Settings, load_settings

ENDPOINT = "/hooks/{sender}"
Enqueue = Callable[[str, bytes], bool]


def forget(sender: str, body: bytes) -> bool:  # noqa: ARG001 - here they are put into your queue
    """Stands for your queue: a table, SQS, Redis. False = it takes no more."""
    return True


class Intake:
    """The receiver of one sender's callbacks."""

    def __init__(
        self,
        settings: Settings | None = None,
        publisher: Publisher | None = None,
        enqueue: Enqueue = forget,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings or load_settings()
        self.publisher = publisher or Publisher(
            KafkaTransport(topic=self.settings.topic, **self.settings.kafka.keywords()),
            receiver=self.settings.receiver,
        )
        self._enqueue = enqueue
        self._now = now

    def options(self) -> Given:
        """How callwatch's middleware watches this receiver."""
        return {
            "receiver": self.settings.receiver,
            "pepper": self.settings.pepper,
            "endpoints": [ENDPOINT],
            "senders": [self.settings.sender],
            "provider": "standard-webhooks",
        }

    def receive(self, sender: str, headers: Mapping[str, str], body: bytes | None) -> int:
        """The status of the answer to a callback; body None = it was larger than allowed."""
        found = self._judge(sender, headers, body)
        verdict(found)  # for the event; the middleware knows the rest
        if found.reason is Reason.BODY_TOO_LARGE:
            return 413
        if found.verdict is not Verdict.VERIFIED:
            return 401
        return 204 if self._enqueue(sender, body or b"") else 503

    def _judge(self, sender: str, headers: Mapping[str, str], body: bytes | None) -> Verification:
        if body is None:
            return Verification(Verdict.REJECTED, Reason.BODY_TOO_LARGE)
        if sender != self.settings.sender:
            return Verification(Verdict.REJECTED, Reason.SENDER_UNKNOWN)
        return verify(headers, body, self.settings.keys, now=self._now())
