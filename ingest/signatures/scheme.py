"""A scheme as data: what it signs and how, for the verifier and for the documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .base import SignedRequest, Verification
from .judging import Claim, Loaded, Match, Window, judge
from .keys import TEXT, KeyForm

if TYPE_CHECKING:
    from .certificates import Fetch

Judged = Callable[[SignedRequest], Verification]


@dataclass(frozen=True, slots=True)
class Options:
    """What only some schemes take.

    origin: scheme and host by which senders call, where a proxy changes them ("https://a.example").
    covered: components that a message signature must cover; keyids: its key ids and our labels.
    fetch and roots: how certificates come, and whom their chains must lead to (PEM).
    """

    origin: str | None = None
    covered: Sequence[str] | None = None
    keyids: dict[str, str] | None = field(default=None, repr=False)
    fetch: "Fetch | None" = None
    roots: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Scheme:
    """One row of the table of schemes.

    window is the provider's default, in words `tolerance` where there is more to say. A time
    that is signed inside the body needs a window too. `uses` names the options that it takes.
    """

    name: str
    header: str
    algorithm: str
    signs: str
    source: str
    build: Callable[[Sequence[Loaded], Window, Options], Judged] = field(repr=False)
    timestamp: str = "none"
    window: Window = field(default_factory=Window)
    delivery: str = "none"
    replay: str = "delivery id only"
    key: KeyForm = TEXT
    uses: tuple[str, ...] = ()
    may_block: bool = False

    @property
    def timed(self) -> bool:
        """Whether a time is under the signature."""
        return self.timestamp != "none"


Build = Callable[[Sequence[Loaded], Window, Options], Judged]


def reads(read: Callable[[SignedRequest], Claim], match: Match) -> Build:
    """How a scheme judges that reads one claim and holds all keys against it."""
    return reads_with(lambda request, _: read(request), match)


def reads_with(read: Callable[[SignedRequest, Options], Claim], match: Match) -> Build:
    """The same for a scheme that reads by its options too."""

    def build(keys: Sequence[Loaded], window: Window, options: Options) -> Judged:
        def judged(request: SignedRequest) -> Verification:
            return judge(request, read(request, options), keys, match, window)

        return judged

    return build
