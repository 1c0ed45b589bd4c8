# ruff: noqa: TID252 - relative, because this folder is also a package of its own
"""Schemes without a signature: a shared token in a header (GitLab, CloudEvents over HTTP).

The token proves who calls, and nothing about the body. It is the same in every call and a secret,
so it is never handed on for a fingerprint.
"""

from typing import Final

from ..vocabulary import Reason
from .base import SignedRequest
from .judging import Claim, by_token
from .reading import Fault, bounded, header, joined, needed
from .scheme import Scheme, reads

MAX_TOKEN: Final = 4096


def _claim(token: str, delivery_id: str | None) -> Claim:
    if len(token) > MAX_TOKEN:
        raise Fault
    return Claim((token.encode(),), (), delivery_id=delivery_id, secret=True)


def _gitlab(request: SignedRequest) -> Claim:
    named = header(request, "idempotency-key") or header(request, "x-gitlab-event-uuid")
    return _claim(needed(request, "x-gitlab-token"), bounded(named))


def _cloudevents(request: SignedRequest) -> Claim:
    """The bearer token of the header alone: one in a query ends up in logs."""
    given = needed(request, "authorization")
    kind, _, token = given.partition(" ")
    if kind.lower() != "bearer":
        raise Fault(Reason.SIGNATURE_MISSING)
    if not token.strip():
        raise Fault
    source, named = header(request, "ce-source"), header(request, "ce-id")
    return _claim(token.strip(), joined([source, named]))


SCHEMES: Final = (
    Scheme(
        name="gitlab-token",
        header="X-Gitlab-Token: token",
        algorithm="shared token",
        signs="nothing",
        delivery="Idempotency-Key, else X-Gitlab-Event-UUID (not signed)",
        source="gitlab-org/gitlab issue 19367",
        build=reads(_gitlab, by_token),
    ),
    Scheme(
        name="cloudevents",
        header="Authorization: Bearer token",
        algorithm="shared token",
        signs="nothing",
        delivery="ce-source and ce-id (not signed)",
        source="cloudevents http-webhook.md",
        build=reads(_cloudevents, by_token),
    ),
)
