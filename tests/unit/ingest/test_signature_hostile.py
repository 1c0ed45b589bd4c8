"""Hostile input: no scheme ever raises, and every answer is a verdict with one reason."""

import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.signatures.base import SignedRequest, Verification
from ingest.signatures.schemes import SCHEMES, verifier_for
from ingest.signatures.structured import dictionary
from ingest.vocabulary import Verdict
from tests.unit.ingest.signers import NOW, SENDERS, URL, options_of

FOLDER = Path(__file__).parents[3] / "ingest" / "signatures"
VERIFIERS = {
    name: verifier_for(name, sender.keys, **options_of(name)) for name, sender in SENDERS.items()
}
NAMES = sorted({name for sender in SENDERS.values() for name in sender.request().headers})
VALUES = sorted(
    {value for sender in SENDERS.values() for value in sender.request().headers.values()}
)
JUNK = (
    st.text(max_size=40)
    | st.sampled_from(
        ["", " ", "t=", "v1=", "v0=", "sha256=", "v1,", "v1a,", "Bearer ", "a=(", "٣"]
    )
    | st.sampled_from(VALUES)
)
FIELDS = (
    "notificationItems", "NotificationRequestItem", "Signature", "Type", "id", "additionalData",
    "TopicArn", "SigningCertURL", "event", "data", "amount",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(FIELDS), inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip
NOT_TEXT: Any = st.none() | st.integers() | st.binary(max_size=8) | st.lists(st.text(), max_size=2)


def _whole(found: Verification) -> bool:
    """A verdict with one reason, or verified without any."""
    if found.verdict is Verdict.VERIFIED:
        return found.reason is None and found.signature_ok is True
    return found.verdict is Verdict.REJECTED and found.reason is not None


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(data=st.data())
def test_hostile_requests_get_a_reason(scheme: str, data: st.DataObject) -> None:
    """Whatever headers and bodies hold, of whatever type, the answer is a rejection."""
    headers: Any = data.draw(st.dictionaries(st.sampled_from(NAMES), JUNK | NOT_TEXT, max_size=6))
    body: Any = data.draw(st.binary(max_size=64) | JSON.map(lambda one: json.dumps(one).encode()))
    url = data.draw(st.text(max_size=30) | st.just(URL))
    found = VERIFIERS[scheme](
        SignedRequest(data.draw(st.text(max_size=5)), url, headers, body, NOW)
    )
    assert _whole(found)
    assert found.verdict is Verdict.REJECTED


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@given(data=st.data())
def test_a_damaged_request_gets_a_reason(scheme: str, data: st.DataObject) -> None:
    """A signed request with a header replaced, cut or lengthened is judged all the same."""
    request = SENDERS[scheme].request()
    headers: dict[str, Any] = dict(request.headers)
    for name in data.draw(st.lists(st.sampled_from(sorted(headers) or [""]), max_size=3)):
        value = str(headers.get(name, ""))
        # Some signatures are longer one time than another: what is drawn must not depend on that.
        at = data.draw(st.integers(0, 4096)) % (len(value) + 1)
        headers[name] = data.draw(
            st.sampled_from(
                [value[:at], value[at:], value + value, value[:at] + "\x00" + value[at:]]
            )
            | JUNK
        )
    body = request.body
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, 4096)) % (len(body) + 1)
        body = body[:at] + data.draw(st.binary(max_size=4)) + body[at:]
    assert _whole(VERIFIERS[scheme](dataclasses.replace(request, headers=headers, body=body)))


HEAVY = {
    "nested": b"[" * 200_000,
    "wide": b'{"notificationItems":[' + b"{}," * 100_000 + b"{}]}",
    "digits": b'{"id":' + b"9" * 500_000 + b"}",
    "fields": b"a=1&" * 200_000,
    "long": b'{"id":"' + b"x" * 3_000_000 + b'"}',
}


@pytest.mark.parametrize("kind", HEAVY)
@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_heavy_body_gets_a_reason(scheme: str, kind: str) -> None:
    """Deep, wide and long bodies are judged, whether they were signed or not."""
    signed = SENDERS[scheme].request(body=HEAVY[kind])
    assert _whole(VERIFIERS[scheme](signed))
    unsigned = VERIFIERS[scheme](dataclasses.replace(signed, body=HEAVY[kind], headers={}))
    assert _whole(unsigned)
    assert unsigned.verdict is Verdict.REJECTED


@given(st.text(alphabet='abz*=(";,)\\ ?10-:/+A.\t', max_size=60))
def test_structured_fields_are_bounded_and_written_back(text: str) -> None:
    """What can be read is written back in one form, which reads as the same."""
    try:
        found = dictionary(text)
    except Exception:
        return
    written = ", ".join(f"{name}={member}" for name, member in found.items())
    assert dictionary(written) == found


SECRETS = ("signature", "digest", "expected", "token", "secret", "mac", "hmac", "state", "computed")


def _compared(tree: ast.AST) -> list[str]:
    """Names of secret things that == or `in` compares, which takes longer the more is right."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
            continue
        for side in (node.left, *node.comparators):
            if isinstance(side, ast.Call) and ast.unparse(side.func) == "len":
                continue
            words = [one.id for one in ast.walk(side) if isinstance(one, ast.Name)]
            words += [one.attr for one in ast.walk(side) if isinstance(one, ast.Attribute)]
            named = [word for word in words if not word.isupper()]  # a constant is no secret
            found += [word for word in named if any(part in word for part in SECRETS)]
    return found


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_nothing_secret_is_compared_by_equality(file: Path) -> None:
    """Signatures, digests and tokens are compared by hmac.compare_digest alone."""
    assert _compared(ast.parse(file.read_text("utf-8"))) == []


def test_the_search_for_comparisons_finds_one() -> None:
    """The test above is able to fail."""
    assert _compared(ast.parse("expected == signature")) == ["expected", "signature"]
    assert _compared(ast.parse("claim.signature in wanted")) == ["signature"]
    assert _compared(ast.parse("len(signature) == 32")) == []


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_the_small_wheel_can_hold_it(file: Path) -> None:
    """Imports are relative, of the standard library, or of cryptography inside a function."""
    import sys

    tree = ast.parse(file.read_text("utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            package = name.partition(".")[0]
            lazy = package == "cryptography" and id(node) in inside
            assert lazy or package in sys.stdlib_module_names, name
