"""One entry in MIDDLEWARE watches a Django project, over WSGI and ASGI, sync and async views."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings

from ingest.fingerprint import fingerprint
from ingest.receivers import verdict
from ingest.receivers.settings import SettingsError
from ingest.signatures.base import SignedRequest, Verification
from ingest.vocabulary import Verdict
from tests.unit.receivers.apps import Work, accept, django_urls
from tests.unit.receivers.conftest import PEPPER, Stream

BODY = b'{"type":"invoice.paid"}'
ENTRY = "ingest.receivers.django.CallwatchMiddleware"
Ask = Callable[..., Any]

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="test", USE_TZ=True)
    django.setup()


@pytest.fixture(params=["wsgi", "asgi"])
def post(
    request: pytest.FixtureRequest, stream: Stream, ask_wsgi: Ask, ask_asgi: Ask
) -> Iterator[Ask]:
    """Posts to a project with the middleware and the given settings."""

    def send(work: Work = accept, path: str = "/hooks/acme", **given: Any) -> int:
        found = {"publisher": stream.publisher, **given}
        with override_settings(ROOT_URLCONF=django_urls(work), MIDDLEWARE=[ENTRY], CALLWATCH=found):
            ask = ask_wsgi if request.param == "wsgi" else ask_asgi
            handler = WSGIHandler() if request.param == "wsgi" else ASGIHandler()
            status: int = ask(handler, path, content=BODY).status_code
            return status

    yield send
    asyncio.set_event_loop(None)


@pytest.mark.parametrize("view", ["hooks", "awaited", "left"])
def test_a_view_is_watched(post: Ask, stream: Stream, view: str) -> None:
    """Sync and async views, and those that read the request as a file."""
    assert post(path=f"/{view}/acme") == 204
    event = stream.event()
    assert (event.endpoint, event.sender, event.status) == (f"/{view}/<str:sender>", "acme", 204)
    assert (event.body_bytes, event.body_fp) == (len(BODY), fingerprint(PEPPER, "body", BODY))
    assert (event.method, event.source_ip) == ("POST", "192.0.2.7")
    assert event.verdict == ("verified" if view == "left" else "unverified")


def test_a_view_says_its_verdict(post: Ask, stream: Stream) -> None:
    """By `verdict`, in a view that Django runs in a thread of its own as well."""
    post(lambda _: 401 if verdict("rejected", "signature_invalid") else 500)
    assert (stream.event().reason, stream.event().status) == ("signature_invalid", 401)
    post(lambda _: 204 if verdict("verified", key_id="k1") else 500, "/awaited/acme")
    assert (stream.event().verdict, stream.event().key_id) == ("verified", "k1")


def test_a_verifier_of_the_settings_judges(post: Ask, stream: Stream) -> None:
    """It gets the whole request, and `endpoints` name what is watched."""
    seen: list[SignedRequest] = []

    def verifier(request: SignedRequest) -> Verification:
        seen.append(request)
        return Verification(Verdict.VERIFIED)

    post(path="/hooks/acme?x=1", verifier=verifier, endpoints=["/hooks/{sender}"])
    assert (stream.event().verdict, stream.event().endpoint) == ("verified", "/hooks/{sender}")
    assert (seen[0].body, seen[0].url) == (BODY, "http://test/hooks/acme?x=1")
    post(path="/left/acme", endpoints=["/hooks/{sender}"])
    assert stream.publisher.stats().offered == 1


def test_a_view_that_fails_is_an_event(post: Ask, stream: Stream) -> None:
    """Django answers 500, and the event says so."""

    def fail(body: bytes) -> int:
        raise RuntimeError

    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=False, LOGGING_CONFIG=None):
        assert post(fail) == 500
    assert stream.event().status == 500


def test_settings_that_are_wrong_are_told_at_start(post: Ask) -> None:
    """An unknown option in CALLWATCH is an error where the project starts."""
    with pytest.raises(SettingsError, match="no such option: endpoint;"):
        post(endpoint=["/hooks"])
