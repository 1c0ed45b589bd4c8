# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""What every signature scheme takes and gives: request and keys in, a verdict and a reason out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ..vocabulary import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Key:
    """A shared secret, or a public key, under an opaque label.

    A retired key is known and no longer accepted: a callback signed by it is rejected as such.
    public says which of both it is where a scheme takes both (`rfc9421`): nothing is guessed
    from the bytes, or a public key could be taken for a secret that everybody knows.
    """

    label: str
    secret: bytes = field(repr=False)
    retired: bool = False
    public: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verifier found out; the fields are those of the event.

    signature_ok is None where the signature could not be checked. signature holds the decoded
    bytes of the signature that verified, else of the first well-formed one, for fingerprinting.
    duplicate is what an idempotency store said; None where none was asked.
    """

    verdict: Verdict
    reason: Reason | None = None
    signature_ok: bool | None = None
    key_id: str | None = None
    signed_at: datetime | None = None
    delivery_id: str | None = field(default=None, repr=False)
    signature: bytes | None = field(default=None, repr=False)
    duplicate: bool | None = None


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate that a client showed to the TLS end: by whom it was read does not matter.

    sha256 is the fingerprint of its DER form in hexadecimal; names are its alternative names (DNS
    names, URIs) as far as they are known.
    """

    sha256: str | None = None
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as its sender signed it.

    url is the one that the sender called, with scheme, host and query, as some schemes sign it;
    now is the time of receipt, with a zone. source_ip and certificate are for the checks around a
    signature, and are filled from what can be believed: the socket, or a trusted proxy.
    """

    method: str
    url: str = field(repr=False)  # a query may hold secrets
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    now: datetime
    source_ip: str | None = field(default=None, repr=False)
    certificate: ClientCertificate | None = field(default=None, repr=False)


class Verifier(Protocol):
    """Judges requests of one sender. Never raises, whatever a request holds."""

    def __call__(self, request: SignedRequest) -> Verification:
        """Whether the request was signed as it should be."""
        ...
