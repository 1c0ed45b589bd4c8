# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What is checked around a signature, in one fixed order; the first that fails is the reason.

method, size, source, client certificate, content type | the signature | repeat, content. What
costs little and needs no trust comes first; what the content says is looked at last, once it is
known who wrote it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from ..errors import SignatureError, shown
from ..prefix import normal_ip
from ..vocabulary import Reason, Verdict
from .base import SignedRequest, Verification, Verifier
from .client_cert import CertificateCheck
from .deliveries import Deliveries, MemoryStore
from .judging import rejected
from .reading import Fault, header, parsed

MAX_BODY: Final = 1_048_576
Schema = Callable[[Any], object]
Network = IPv4Network | IPv6Network


def guarded(
    verifier: Verifier | None,
    *,
    methods: Collection[str] | None = ("POST",),
    max_body: int | None = MAX_BODY,
    networks: Sequence[str] | None = None,
    certificate: CertificateCheck | None = None,
    content_types: Collection[str] | None = None,
    deliveries: Deliveries | None = None,
    schema: Schema | None = None,
) -> "Guarded":
    """A verifier with checks around it; None is no check.

    verifier: the signature; None where the client certificate alone says who calls.
    networks: addresses in CIDR form that may call. content_types: without parameters.
    schema: takes the JSON value of the body, and raises or returns False for what it is not.
    """
    if verifier is None and certificate is None:
        msg = "verifier: allowed is none only where a client certificate is asked for"
        raise SignatureError(msg)
    return Guarded(
        verifier=verifier,
        methods=frozenset(one.upper() for one in methods) if methods is not None else None,
        max_body=_size(max_body),
        networks=_networks(networks) if networks is not None else None,
        certificate=certificate,
        content_types=frozenset(one.lower() for one in content_types)
        if content_types is not None
        else None,
        deliveries=deliveries,
        schema=schema,
    )


@dataclass(frozen=True, slots=True, repr=False)
class Guarded:
    """A verifier with checks around it. Never raises, whatever a request holds."""

    verifier: Verifier | None
    methods: frozenset[str] | None
    max_body: int | None
    networks: tuple[Network, ...] | None
    certificate: CertificateCheck | None
    content_types: frozenset[str] | None
    deliveries: Deliveries | None
    schema: Schema | None

    @property
    def may_block(self) -> bool:
        """Whether a call may wait for a network: for a certificate, or a store not in memory."""
        if self.deliveries is not None and not isinstance(self.deliveries.store, MemoryStore):
            return True
        return bool(getattr(self.verifier, "may_block", False))

    def __call__(self, request: SignedRequest) -> Verification:
        """The verdict over a request, with the first reason against it."""
        try:
            return self._judge(request)
        except Fault as fault:
            return rejected(fault.reason)
        except Exception:  # anything unforeseen in what a stranger sent
            return rejected(Reason.OTHER)

    def _judge(self, request: SignedRequest) -> Verification:
        if (reason := self._before(request)) is not None:
            return rejected(reason)
        label = self.certificate(request.certificate) if self.certificate is not None else None
        if self.certificate is not None and label is None:
            return rejected(Reason.CERTIFICATE_INVALID)
        if not self._is_of_a_type(request):
            return rejected(Reason.CONTENT_TYPE_UNSUPPORTED)
        if self.verifier is None:
            found = Verification(Verdict.VERIFIED, key_id=label)
        else:
            found = self.verifier(request)
        return self._after(request, found) if found.verdict is Verdict.VERIFIED else found

    def _before(self, request: SignedRequest) -> Reason | None:
        if self.methods is not None and request.method.upper() not in self.methods:
            return Reason.METHOD_NOT_ALLOWED
        if self.max_body is not None and len(request.body) > self.max_body:
            return Reason.BODY_TOO_LARGE
        if self.networks is not None and not _is_within(request.source_ip, self.networks):
            return Reason.IP_DENIED
        return None

    def _is_of_a_type(self, request: SignedRequest) -> bool:
        if self.content_types is None or (not request.body and request.method.upper() == "GET"):
            return True
        try:
            given = header(request, "content-type")
        except Fault:
            return False
        return given.partition(";")[0].strip().lower() in self.content_types

    def _after(self, request: SignedRequest, found: Verification) -> Verification:
        if self.deliveries is not None:
            found = replace(found, duplicate=self.deliveries.known(found))
            if found.duplicate and self.deliveries.refuse:
                return replace(found, verdict=Verdict.REJECTED, reason=Reason.DUPLICATE_DELIVERY)
        if self.schema is not None and not _fits(self.schema, request.body):
            if self.deliveries is not None and not found.duplicate:
                self.deliveries.forget(found)  # nothing was done with it
            return replace(found, verdict=Verdict.REJECTED, reason=Reason.SCHEMA_INVALID)
        return found


def _fits(schema: Schema, body: bytes) -> bool:
    try:
        return schema(parsed(body)) is not False
    except Exception:  # whatever a schema raises says that the content is none of its kind
        return False


def _is_within(source: str | None, networks: Sequence[Network]) -> bool:
    if source is None:  # nobody knows where it came from: not from one of them, then
        return False
    try:
        address = normal_ip(source)
    except ValueError:
        return False
    return any(address.version == one.version and address in one for one in networks)


def _networks(given: Sequence[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for text in [given] if isinstance(given, str) else given:
        try:
            found.append(ip_network(text))
        except ValueError:
            msg = f"networks: allowed are networks such as 192.0.2.0/24; given {shown(text)}"
            raise SignatureError(msg) from None
    if not found:
        msg = "networks: allowed are one and more; given 0"
        raise SignatureError(msg)
    return tuple(found)


def _size(given: int | None) -> int | None:
    if given is not None and given < 0:
        msg = f"max_body: allowed are 0 bytes and more; given {given}"
        raise SignatureError(msg)
    return given
