"""Fingerprints: the published vectors, and that nothing else gives the same one."""

import hashlib
import hmac
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.fingerprint import TEST_VECTORS, Label, fingerprint

PEPPER = bytes(range(32))
labels = st.sampled_from(get_args(Label))


@pytest.mark.parametrize(("pepper", "label", "data", "expected"), TEST_VECTORS)
def test_the_published_vectors_hold(
    pepper: bytes, label: Label, data: bytes, expected: str
) -> None:
    """The vectors are the first half of a plain HMAC-SHA256, computed another way."""
    plain = hmac.new(pepper, label.encode() + b"\x00" + data, hashlib.sha256).hexdigest()
    assert fingerprint(pepper, label, data) == expected == plain[:32]


@given(labels, st.binary(max_size=64), labels, st.binary(max_size=64))
def test_different_inputs_have_different_fingerprints(
    label: Label, data: bytes, other_label: Label, other_data: bytes
) -> None:
    """Label and data both count, and neither can be shifted into the other."""
    same = (label, data) == (other_label, other_data)
    one, other = fingerprint(PEPPER, label, data), fingerprint(PEPPER, other_label, other_data)
    assert (one == other) == same


def test_a_short_pepper_and_a_strange_label_are_refused() -> None:
    """A short pepper and an unknown label are errors; the pepper is not repeated."""
    with pytest.raises(ValueError, match="pepper: allowed are 16 bytes and more; given 5"):
        fingerprint(b"short", "body", b"")
    with pytest.raises(ValueError, match="label: allowed are delivery, signature, body, path"):
        fingerprint(PEPPER, "secret", b"")  # type: ignore[arg-type]
