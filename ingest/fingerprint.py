"""Keyed fingerprints: two equal values are recognised, and nobody learns the value.

Without the pepper nobody can test a guessed delivery id or signature against a fingerprint. All
receivers of a fleet share one pepper; a new one makes the replay memory start afresh.
"""

import hmac
from typing import Final, Literal, get_args

Label = Literal["delivery", "signature", "body", "path"]

FINGERPRINT_BYTES: Final = 16
MIN_PEPPER_BYTES: Final = 16

# pepper, label, data, fingerprint: published so that other languages can check themselves
TEST_VECTORS: Final[tuple[tuple[bytes, Label, bytes, str], ...]] = (
    (
        bytes(range(32)),
        "delivery",
        b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "60cfdb95752ab404772ddaefbf0e673c",
    ),
    (bytes(range(32)), "signature", bytes(range(32)), "71f3be92464077fe9783218415e4ccdf"),
    (bytes(range(32)), "body", b'{"type":"invoice.paid"}', "ccae02f16a2b8eca89122bd9f52f0ae9"),
    (bytes(range(32)), "body", b"", "37f51ecff1cfe6a0e8515bd17e96cbee"),
    (bytes(range(32)), "path", b"/hooks/stripe/../admin", "ceade1a17b5d4adeafd49a7c933d608f"),
)


def fingerprint(pepper: bytes, label: Label, data: bytes) -> str:
    """The first 16 bytes of HMAC-SHA256(pepper, label + 0x00 + data), as 32 hex digits.

    >>> fingerprint(bytes(range(32)), "body", b"")
    '37f51ecff1cfe6a0e8515bd17e96cbee'
    """
    if len(pepper) < MIN_PEPPER_BYTES:
        msg = f"pepper: allowed are {MIN_PEPPER_BYTES} bytes and more; given {len(pepper)}"
        raise ValueError(msg)
    if label not in get_args(Label):
        msg = f"label: allowed are {', '.join(get_args(Label))}; given {label!r}"
        raise ValueError(msg)
    digest = hmac.digest(pepper, label.encode() + b"\x00" + data, "sha256")
    return digest[:FINGERPRINT_BYTES].hex()
