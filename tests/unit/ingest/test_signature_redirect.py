"""Redirect callbacks: exact address, state and code used once, no token where logs read it."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import SignatureError
from ingest.signatures.base import SignedRequest, Verification
from ingest.signatures.deliveries import MemoryStore
from ingest.signatures.redirect import Pending, Redirects
from ingest.vocabulary import Reason, Verdict
from tests.unit.ingest.signers import NOW

URI = "https://shop.example/callback"
OTHER = "https://shop.example/other?tenant=1"
ACCEPTED = Verification(Verdict.VERIFIED, duplicate=False)


def _redirects(**settings: Any) -> Redirects:
    return Redirects((URI, OTHER), MemoryStore(clock=lambda: 0.0), **settings)


def _back(pending: Pending, uri: str = URI, now: datetime = NOW, **fields: str) -> SignedRequest:
    query = urlencode({"code": "c1", "state": pending.state, **fields})
    return SignedRequest("GET", f"{uri}{'&' if '?' in uri else '?'}{query}", {}, b"", now)


def test_a_browser_that_comes_back_is_accepted_once() -> None:
    """Then state and code are used up: the same address again is a repeat."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    assert redirects.judge(_back(pending), pending) == ACCEPTED
    again = redirects.judge(_back(pending, code="c2"), pending)
    assert again == Verification(Verdict.REJECTED, Reason.STATE_REUSED, duplicate=True)
    second = redirects.begin(URI, NOW)
    assert redirects.judge(_back(second), second).reason is Reason.CODE_REUSED


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/callback/", "https://shop.example/callbac", "http://shop.example/callback",
        "https://shop.example.evil.example/callback", "https://shop.example:8443/callback",
        "https://shop.example/callback/../evil", "https://shop.example/Callback", "",
        "https://shop.example@evil.example/callback", "https://shop.example/%63allback",
        "https://shop.example/other?tenant=12", "https://shop.example/other", "x" * 9000,
    ],
)  # fmt: skip
def test_an_address_is_registered_to_the_letter(url: str) -> None:
    """No prefix, no other port, case, path or encoding is the same address."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    request = dataclasses.replace(_back(pending), url=f"{url}?code=c1&state={pending.state}")
    assert redirects.judge(request, pending).reason is Reason.REDIRECT_URI_MISMATCH


def test_the_answer_comes_to_the_address_that_was_asked_for() -> None:
    """A registered address with a query is one too, but not that of another flow."""
    redirects = _redirects()
    pending = redirects.begin(OTHER, NOW)
    assert redirects.judge(_back(pending), pending).reason is Reason.REDIRECT_URI_MISMATCH
    assert redirects.judge(_back(pending, OTHER), pending) == ACCEPTED


def test_state_binds_the_answer_to_the_browser() -> None:
    """Without state, with another's, twice, or in a session that began nothing it is refused."""
    redirects = _redirects()
    mine, others = redirects.begin(URI, NOW), redirects.begin(URI, NOW)
    assert mine.state != others.state
    assert redirects.judge(_back(mine, state=""), mine).reason is Reason.STATE_MISSING
    for request, pending in (
        (_back(others), mine),
        (_back(mine), None),
        (dataclasses.replace(_back(mine), url=_back(mine).url + "&state=x"), mine),
        (_back(mine, state="é"), mine),
        (_back(mine, state="x" * 5000), mine),
    ):
        assert redirects.judge(request, pending).reason is Reason.STATE_MISMATCH
    assert redirects.judge(_back(mine), mine) == ACCEPTED  # none of these used it up


def test_codes_get_old() -> None:
    """Ten minutes after it was made, and an hour after the browser was sent away."""
    redirects = _redirects()
    for past, issued, reason in (
        (3600, None, None),
        (3601, None, Reason.CODE_EXPIRED),
        (1000, 600, None),
        (1000, 601, Reason.CODE_EXPIRED),
    ):
        pending = redirects.begin(URI, NOW - timedelta(seconds=past))
        at = NOW - timedelta(seconds=issued) if issued is not None else None
        found = redirects.judge(_back(pending, code=f"c{past}{issued}"), pending, code_issued_at=at)
        assert found.reason is reason


@pytest.mark.parametrize("name", ["access_token", "id_token", "refresh_token", "Access_Token"])
def test_a_token_in_the_address_is_refused(name: str) -> None:
    """It stands in logs and in what the next site is told; in a posted form it does not."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    found = redirects.judge(_back(pending, **{name: "CANARY"}), pending)
    assert found == Verification(Verdict.REJECTED, Reason.TOKEN_IN_QUERY)
    posted = redirects.begin(URI, NOW)
    form = urlencode({"code": "c9", "state": posted.state, name: "CANARY"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert redirects.judge(SignedRequest("POST", URI, headers, form, NOW), posted) == ACCEPTED
    mixed = SignedRequest("POST", f"{URI}?state={posted.state}", headers, form, NOW)
    assert redirects.judge(mixed, posted).reason is Reason.STATE_MISMATCH


def test_an_error_of_the_provider_needs_its_state_too() -> None:
    """`error=access_denied` without a code is a callback like others; HEAD uses nothing up."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    url = f"{URI}?error=access_denied&state={pending.state}"
    head = SignedRequest("HEAD", url, {}, b"", NOW)
    assert redirects.judge(head, pending).reason is Reason.METHOD_NOT_ALLOWED
    assert redirects.judge(dataclasses.replace(head, method="GET"), pending) == ACCEPTED
    again = redirects.begin(URI, NOW)
    twice = dataclasses.replace(_back(again), url=_back(again).url + "&code=c3")
    assert redirects.judge(twice, again).reason is Reason.OTHER


def test_behind_a_proxy_the_public_address_counts() -> None:
    """The receiver sees http and an inner name; what browsers call is told."""
    redirects = _redirects(origin="https://shop.example")
    pending = redirects.begin(URI, NOW)
    inner = _back(pending, "http://10.0.0.7:8080/callback")
    verify = redirects.verifier(lambda _: pending)
    assert verify(inner) == ACCEPTED
    broken = redirects.verifier(lambda _: {}["session"])  # type: ignore[arg-type]
    assert broken(inner).reason is Reason.STATE_MISMATCH


class Away:
    """A store that cannot be reached."""

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> object:
        raise OSError(name)


def test_a_store_that_is_away_turns_nobody_away() -> None:
    """The state of the session still has to match."""
    redirects = Redirects([URI], Away())
    pending = redirects.begin(URI, NOW)
    assert redirects.judge(_back(pending), pending) == ACCEPTED
    assert redirects.judge(_back(pending, state="x"), pending).reason is Reason.STATE_MISMATCH


@pytest.mark.parametrize(
    "uri",
    [
        "http://shop.example/cb",
        "https://*.shop.example/cb",
        "https://a.example/#x",
        "cb",
        "https://",
    ],
)
def test_an_address_that_cannot_be_registered_is_an_error(uri: str) -> None:
    """Plain http (but for this machine), wildcards and fragments are none."""
    with pytest.raises(SignatureError, match="redirect: allowed are https"):
        Redirects([uri], MemoryStore())
    assert Redirects(["http://localhost:8000/cb", "http://127.0.0.1/"], MemoryStore()).allowed
    with pytest.raises(SignatureError, match="is not registered"):
        _redirects().begin("https://evil.example/", NOW)
    for wrong in ((), URI):
        with pytest.raises(SignatureError, match="redirect: allowed is a list"):
            Redirects(wrong, MemoryStore())


@given(st.text(max_size=40), st.binary(max_size=20), st.sampled_from(["GET", "POST", "", "é"]))
def test_strange_answers_get_a_reason(tail: str, body: bytes, method: str) -> None:
    """Whatever stands behind the address, nothing raises and nothing is accepted."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = SignedRequest(method, f"{URI}?{tail}", headers, body, NOW)
    found = redirects.judge(request, pending)
    assert found.verdict is Verdict.REJECTED
    assert found.reason is not None


def test_nothing_shows_a_state_or_a_code() -> None:
    """Neither what a session keeps nor a verdict prints them."""
    redirects = _redirects()
    pending = redirects.begin(URI, NOW)
    request = _back(pending, code="CANARY")
    shown = f"{pending} {pending!r} {redirects!r} {request!r} {redirects.judge(request, pending)!r}"
    assert pending.state not in shown
    assert "CANARY" not in shown
