# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Certificates of senders, from pinned addresses only, in a bounded cache.

A request names the certificate that it was signed with. The address must match the provider's
own host and path to the letter, redirects are not followed, and what is fetched is checked before
it is believed. Strangers can name addresses that do not exist: nothing is fetched for a signature
that cannot be one or for a time that is not now, failures are remembered for a minute, no more
than `FETCHES_A_MINUTE` are asked for, and nobody waits longer than `TIMEOUT_S`.
"""

import contextlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ..rfc3339 import to_us
from ..vocabulary import Reason
from .forks import renewed_after_fork
from .judging import Window, outside
from .keys import MIN_RSA_BITS
from .reading import Fault

MAX_URL: Final = 256
MAX_BYTES: Final = 65_536
MAX_CHAIN: Final = 8
CACHED: Final = 16
FETCHES_A_MINUTE: Final = 12
TIMEOUT_S: Final = 5.0  # for one caller: the wait for others, all addresses of a host, the answer
FETCHING: Final = 4  # fetches that nobody waits for any more; while they last there is no other
RSA_SIZES: Final = frozenset({256, 384, 512})  # bytes of a signature: 2048, 3072 and 4096 bits
PLAUSIBLE: Final = Window(4 * 86_400, 86_400)  # 3 days of retries, and clocks that are wrong
_DAY_US: Final = 86_400_000_000
_MINUTE_US: Final = 60_000_000

Fetch = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Pin:
    """Where a provider keeps its certificates, whose name they bear, and whether the chain is told.

    Without `chain` the provider publishes the certificate alone: then it is believed because it
    came from the pinned host over verified TLS.
    """

    url: re.Pattern[str]
    names: re.Pattern[str]
    chain: bool


def https_get(url: str) -> bytes:
    """The bytes at an https address: no redirect, verified TLS, at most `MAX_BYTES`; or OSError."""
    import http.client
    import ssl
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        msg = "certificate: allowed are https addresses"
        raise OSError(msg)
    link = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=TIMEOUT_S, context=ssl.create_default_context()
    )
    try:
        link.request("GET", parts.path, headers={"Accept": "*/*", "User-Agent": "callwatch"})
        answer = link.getresponse()
        data = answer.read(MAX_BYTES + 1)
    except http.client.HTTPException:
        msg = "certificate: the answer is no HTTP"
        raise OSError(msg) from None
    finally:
        link.close()
    if answer.status != 200 or len(data) > MAX_BYTES:
        msg = f"certificate: allowed is status 200 and {MAX_BYTES} bytes; given {answer.status}"
        raise OSError(msg)
    return data


@dataclass(slots=True, eq=False, weakref_slot=True)
class Certificates:
    """The public keys of a provider's certificates, by address."""

    pin: Pin
    fetch: Fetch = https_get
    roots: bytes | None = field(default=None, repr=False)
    _good: OrderedDict[str, tuple[int, Any]] = field(default_factory=OrderedDict, repr=False)
    _bad: OrderedDict[str, tuple[int, Reason]] = field(default_factory=OrderedDict, repr=False)
    _fetched_us: list[int] = field(default_factory=list, repr=False)
    _left: list[threading.Thread] = field(default_factory=list, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        renewed_after_fork(self)

    def after_fork(self) -> None:
        """A child keeps what was fetched, under a lock of its own."""
        self._lock = threading.Lock()

    def public_key(self, url: str, now: datetime) -> Any:
        """The key of the certificate at `url`; Fault when it cannot be believed or not be had.

        `certificate_invalid` is a wrong address, chain, name or date; `key_unknown` a certificate
        that could not be fetched now.
        """
        if not url or len(url) > MAX_URL or self.pin.url.fullmatch(url) is None:
            raise Fault(Reason.CERTIFICATE_INVALID)
        now_us = to_us(now.astimezone(UTC))
        until = time.monotonic() + TIMEOUT_S
        known = self._known(url, now_us)  # without the lock: one that is known never waits
        lock = self._lock
        if known is not None:
            return known
        if not lock.acquire(timeout=TIMEOUT_S):
            raise Fault(Reason.KEY_UNKNOWN)
        try:
            known = self._known(url, now_us)
            return known if known is not None else self._fetched(url, now, now_us, until)
        finally:
            lock.release()

    def claimed(
        self,
        url: str,
        now: datetime,
        signature: bytes,
        delivery_id: str | None,
        signed_at: datetime,
        window: Window,
    ) -> Any:
        """The same for a request, whose rejection tells signature and delivery.

        A request that cannot be right is not worth a fetch: then its time is judged first. With
        a certificate that is known already the signature is, as ever.
        """
        reason = None if len(signature) in RSA_SIZES else Reason.SIGNATURE_MALFORMED
        pinned = self.pin.url.fullmatch(url) is not None
        if reason is None and pinned and self._known(url, to_us(now.astimezone(UTC))) is None:
            reason = outside(signed_at, now, window)
            if reason is None and outside(signed_at, now, PLAUSIBLE) is not None:
                reason = Reason.KEY_UNKNOWN
        if reason is None:
            try:
                return self.public_key(url, now)
            except Fault as fault:
                reason = fault.reason
        raise Fault(reason, signature=signature, delivery_id=delivery_id)

    def _known(self, url: str, now_us: int) -> Any:
        known = self._good.get(url)
        return known[1] if known is not None and abs(now_us - known[0]) < _DAY_US else None

    def _fetched(self, url: str, now: datetime, now_us: int, until: float) -> Any:
        failed = self._bad.get(url)
        if failed is not None and abs(now_us - failed[0]) < _MINUTE_US:
            raise Fault(failed[1])
        self._fetched_us = [t for t in self._fetched_us if abs(now_us - t) < _MINUTE_US]
        self._left = [thread for thread in self._left if thread.is_alive()]
        if len(self._fetched_us) >= FETCHES_A_MINUTE or len(self._left) >= FETCHING:
            raise Fault(Reason.KEY_UNKNOWN)
        self._fetched_us.append(now_us)
        try:
            public = _checked(self._answer(url, until), self.pin, self.roots, now)
        except Fault as fault:
            self._keep(self._bad, url, (now_us, fault.reason))
            raise
        except Exception:  # whatever a fetcher raises, the certificate could not be had
            self._keep(self._bad, url, (now_us, Reason.KEY_UNKNOWN))
            raise Fault(Reason.KEY_UNKNOWN) from None
        self._keep(self._good, url, (now_us, public))
        return public

    def _answer(self, url: str, until: float) -> bytes:
        """What the fetcher gives in time. A name server cannot be told to hurry: a thread waits."""
        answers: list[bytes] = []

        def ask() -> None:
            with contextlib.suppress(Exception):  # whatever it raises, there is no answer
                answers.append(self.fetch(url))

        thread = threading.Thread(target=ask, name="callwatch-certificate", daemon=True)
        thread.start()
        thread.join(max(until - time.monotonic(), 0))
        if thread.is_alive():
            self._left.append(thread)
        return answers[0]

    @staticmethod
    def _keep(cache: OrderedDict[str, Any], url: str, value: tuple[int, Any]) -> None:
        cache[url] = value
        cache.move_to_end(url)
        while len(cache) > CACHED:
            cache.popitem(last=False)


def _checked(data: bytes, pin: Pin, roots: bytes | None, now: datetime) -> Any:
    """The public key of the first certificate, if date, name and chain are right."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    invalid = Fault(Reason.CERTIFICATE_INVALID)
    if not isinstance(data, bytes) or len(data) > MAX_BYTES:
        raise invalid
    try:
        chain = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise invalid from None
    leaf = chain[0]
    public = leaf.public_key()
    moment = now.astimezone(UTC)
    if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        raise invalid
    if not isinstance(public, RSAPublicKey) or public.key_size < MIN_RSA_BITS:
        raise invalid
    name = next((one for one in _names(leaf) if pin.names.fullmatch(one)), None)
    if name is None or len(chain) > MAX_CHAIN:
        raise invalid
    if pin.chain and not _leads_to_a_root(leaf, chain[1:], name, roots, moment):
        raise invalid
    return public


def _names(leaf: Any) -> list[str]:
    """The DNS names of a certificate; its common name counts where it has none."""
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(name) for name in found.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [str(one.value) for one in common]


def _leads_to_a_root(
    leaf: Any, between: Sequence[Any], name: str, roots: bytes | None, now: datetime
) -> bool:
    from cryptography import x509
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

    store = Store(x509.load_pem_x509_certificates(roots) if roots else _system_roots())
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(leaf, list(between))
    except VerificationError:
        return False
    return True


def _system_roots() -> list[Any]:
    import ssl

    from cryptography import x509

    found = []
    for one in ssl.create_default_context().get_ca_certs(binary_form=True):
        try:
            found.append(x509.load_der_x509_certificate(one))
        except ValueError:  # old roots that no reader takes any more
            continue
    return found
