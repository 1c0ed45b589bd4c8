"""The compiled scan takes nothing that the model would not, and makes the same columns of it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from detectors import scan, scanner
from detectors.batch import Decoded, Decoder
from detectors.config import Config
from detectors.octets import PAD, words_of
from detectors.scan import NAMES
from detectors.words import CLIENT, LONGEST, MOST_BYTES, MOST_TEXTS, NAME, Words
from ingest.inventory import Inventory, Sender
from ingest.schema import FIELDS
from tests.property.test_decoder import BASE, CONFIG, model, objects
from tests.unit.detectors.streams import MONDAY, event

decimal, time_of = njit(scan.decimal), njit(scan.time_of)
EPOCH = datetime.fromisoformat("1970-01-01")
FULL = BASE | {
    "provider": "stripe", "reason": None, "signature_ok": True, "duplicate": False,
    "key_id": "k1", "signed_at": "2025-06-02T00:00:00.25Z", "event_type": "invoice.paid",
    "event_created_at": "2024-02-29T23:59:59.999999Z", "delivery_fp": "0" * 31 + "1",
    "signature_fp": "f" * 32, "body_fp": "0123456789abcdef" * 2, "path_fp": "8" * 32,
    "content_type": "application/json", "method": "POST", "status": 204, "duration_ms": 12.75,
    "attempt": 3, "asn": 4294967295, "country": "DE", "user_agent": "Agent/1.0 (+x)",
    "tls_fp": "t13d", "client_cert_fp": "ab:cd", "sample_rate": 0.1,
}  # fmt: skip
"""An event with every field that the scan reads."""
WIDE = FULL | {
    "receiver": "Käufe/1@a", "endpoint": "/заказы", "sender": "東京", "provider": "straße",
    "key_id": "ключ", "event_type": "bestellung.geändert", "user_agent": "Агент/1.0 (💥 ü)",
    "tls_fp": "é" * 64, "client_cert_fp": "\u00a0\u200b",
}  # fmt: skip
"""The same with texts beyond ASCII wherever they are looked up."""


def encode(made: dict[str, Any]) -> bytes:
    """Write an event as publishers do."""
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


def padded(text: bytes) -> Any:
    """Make a text that compiled code reads in words."""
    return words_of(np.frombuffer(text + bytes(PAD), np.uint8))


DECODERS = Decoder(CONFIG), Decoder(CONFIG)
"""With the scan and without it; what they have learned makes no difference either."""


def ways(values: list[bytes], config: Config = CONFIG) -> tuple[Decoded, Decoded, int]:
    """Decode with the scan and without it; also how many values the scan left to others."""
    taught, slow = DECODERS if config is CONFIG else (Decoder(config), Decoder(config))
    taught.values([encode(FULL), encode(BASE), *values])
    with pytest.MonkeyPatch.context() as patch:
        left: list[int] = []
        asked = scanner.Scanned.left

        def counted(self: scanner.Scanned) -> Any:
            for place in asked(self):
                left.append(place)
                yield place

        patch.setattr(scanner.Scanned, "left", counted)
        fast = taught.values(values)
        patch.setattr(scanner.Scanned, "left", lambda self: iter(range(len(self._spans))))
        return fast, slow.values(values), len(left)


def assert_equal(fast: Decoded, slow: Decoded) -> None:
    """Compare everything that a decoder makes of values."""
    assert fast.batch.columns.tobytes() == slow.batch.columns.tobytes()
    assert fast.batch.ids.tolist() == slow.batch.ids.tolist()
    assert fast.batch.index.tolist() == slow.batch.index.tolist()
    assert fast.rejected == slow.rejected


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(objects(), min_size=1, max_size=4))
def test_with_and_without_the_scan_the_columns_are_the_same(values: list[bytes]) -> None:
    """Events in any spelling, right or wrong: every column and every fault is the same."""
    fast, slow, _ = ways(values)
    assert_equal(fast, slow)


ODD_BYTES = b'"\\{}[]:, 0123456789.-+eEtfnullTZ\x00\x1f\x7f\x80\x9f\xc2\xffaF'


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A full event in its usual form with a few bytes replaced, left out or put in."""
    value = bytearray(encode(draw(st.sampled_from([FULL, WIDE]))))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value) - 1))
        new = draw(st.sampled_from(ODD_BYTES))
        how = draw(st.integers(0, 2))
        value[at : at + (how != 0)] = b"" if how == 1 else bytes([new])
    return bytes(value)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(mutations())
def test_a_changed_byte_is_seen(value: bytes) -> None:
    """Damage anywhere in an event: the scan takes it only where the model does, alike."""
    fast, slow, left = ways([value])
    assert_equal(fast, slow)
    if left == 0:
        assert model(value) is not None


def test_usual_events_are_taken() -> None:
    """Events whose texts are known need no other way, with and without blanks between."""
    turned = dict(reversed(FULL.items()))
    made = [encode(FULL), encode(BASE), json.dumps(FULL).encode(), encode(turned)]
    made += [encode(FULL | {name: None}) for name in sorted(set(NAMES) - {*BASE, "sample_rate"})]
    fast, slow, left = ways(made)
    assert left == 0
    assert len(fast.batch) == len(made)
    assert_equal(fast, slow)


def test_texts_of_any_script_are_taken() -> None:
    """Texts beyond ASCII are known once they were seen, alone and together."""
    made = [encode(WIDE), *(encode(FULL | {name: WIDE[name]}) for name in sorted(WIDE))]
    fast, slow, left = ways(made)
    assert left == 0
    assert len(fast.batch) == len(made)
    assert_equal(fast, slow)


@pytest.mark.parametrize("name", sorted(name for name in NAMES if WIDE.get(name) == FULL.get(name)))
def test_texts_that_are_not_looked_up_are_ascii(name: str) -> None:
    """A byte beyond ASCII anywhere else is left to others, and wrong bytes are wrong."""
    value = encode(FULL | {name: "TAKE OUT"})
    made = [value.replace(b"TAKE OUT", byte) for byte in (b"\xc3\xa9", b"\xff", b"\xc2\x80")]
    fast, slow, left = ways(made)
    assert left == len(made)
    assert_equal(fast, slow)


@pytest.mark.parametrize("name", sorted(name for name in NAMES if WIDE.get(name) != FULL.get(name)))
def test_wrong_bytes_in_texts_are_never_known(name: str) -> None:
    """What is no UTF-8, a control character or too long is left to others each time."""
    value = encode(FULL | {name: "TAKE OUT"})
    made = [
        value.replace(b"TAKE OUT", text)
        for text in (b"a\xff", b"\xc2\x80", b"\x7f\xc3\xa9", b"\xed\xa0\x80", "é".encode() * 257)
    ]
    fast, slow, left = ways(made * 2)
    assert left == 2 * len(made)
    assert len(fast.batch) == 0
    assert_equal(fast, slow)


@pytest.mark.parametrize("text", ["Agént", "a/b", "\u200b", "💥", 'a"b\\'])
def test_escaped_texts_need_no_model(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text with escapes means what it means without them, and the model is not asked."""
    monkeypatch.setattr("detectors.batch.parse_event", None)
    plain = encode(FULL | {"user_agent": text, "method": text})
    escaped = "".join(f"\\u{n:04x}" for n in memoryview(text.encode("utf-16-le")).cast("H"))
    other = encode(FULL | {"user_agent": "TAKE", "method": "TAKE"})
    made = [plain, other.replace(b"TAKE", escaped.encode())]
    columns = Decoder(CONFIG).values(made).batch.columns
    assert columns[0].tobytes() == columns[1].tobytes()


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00", r"\ud800\u0041", r"\udc00\ud800"])
def test_half_a_character_is_no_text(text: str) -> None:
    """Surrogates that stand alone are what the model says of them, wherever they stand."""
    made = [
        encode(FULL | {name: "TAKE"}).replace(b"TAKE", text.encode())
        for name in ("user_agent", "content_type", "method", "sender")
    ]
    assert [model(value) for value in made] == [None] * len(made)
    assert len(Decoder(CONFIG).values(made).batch) == 0


def test_only_the_text_that_is_new_is_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an event whose other texts are known, one text is added; of known texts, none."""
    added: list[tuple[int, tuple[str | None, ...]]] = []
    asked = Words.add

    def counted(self: Words, kind: int, texts: Any, *more: Any, **named: Any) -> None:
        added.append((kind, tuple(texts)))
        asked(self, kind, texts, *more, **named)

    decoder = Decoder(CONFIG)
    decoder.values([encode(FULL)])
    monkeypatch.setattr(Words, "add", counted)
    decoder.values([encode(FULL | {"key_id": "other"}), encode(FULL | {"user_agent": "a\\b"})] * 2)
    assert added == [(NAME, ("other",)), (CLIENT, ("a\\b", FULL["tls_fp"], FULL["client_cert_fp"]))]


NUMBERS = {
    "status": [100, 599, 99, 600, 0], "attempt": [1, 1_000_000, 0, 1_000_001],
    "asn": [0, 1, 2**31, 2**32 - 1, 2**32], "body_bytes": [0, 2**40, 2**40 + 1],
    "sample_rate": [1, 1.0, 0.5, 1e-9, 0.000001, 0, 1.0000001, 0.1, 0.3333333333333333],
    "duration_ms": [0, 0.1, 0.30000000000000004, 123456789012.345, 1e15, 1e22, 5e-324, 99999.99999],
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_read_to_the_last_bit(name: str) -> None:
    """Least, greatest and awkward numbers give what the model gives."""
    fast, slow, _ = ways([encode(FULL | {name: number}) for number in NUMBERS[name]])
    assert_equal(fast, slow)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.decimals(0, 10**14, allow_nan=False, places=6) | st.decimals(0, 1, places=15))
def test_a_fraction_is_the_nearest_float(number: Any) -> None:
    """A plain decimal number becomes the float that Python reads."""
    text = format(number, "f").encode()
    found = decimal(padded(text), 0, len(text))
    assert found in (-1.0, float(text))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.datetimes() | st.datetimes(EPOCH, EPOCH + timedelta(days=2))))
def test_times_are_those_of_the_calendar(moments: list[datetime]) -> None:
    """Any time from 1970 to 9999 becomes its microseconds, whatever was read before."""
    memo = np.zeros(3, np.uint64)
    for moment, zone in product(moments, ("Z", "+00:00")):
        text = (moment.isoformat() + zone).encode()
        found = time_of(padded(text), 0, len(text), memo)
        told = (moment - EPOCH) // timedelta(microseconds=1)
        assert found == (scan.BAD if told < 0 else told)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from("0123456789:-+TZ. /a\x00\xff"), min_size=20, max_size=32),
    st.sampled_from(["2026-02-28T23:59:59.123456Z", "2026-02-28T23:59:59.123456+00:00"]),
    st.data(),
)
def test_what_is_no_time_is_left_to_others(letters: list[str], right: str, data: Any) -> None:
    """One wrong byte anywhere, and a time is not taken for another."""
    text = list(right)
    for at in data.draw(st.sets(st.integers(0, len(text) - 1), max_size=2)):
        text[at] = letters[at % len(letters)]
    wrong = "".join(text).encode("latin-1")
    found = time_of(padded(wrong), 0, len(wrong), np.zeros(3, np.uint64))
    try:
        said = re.sub(r"(Z|\+00:00)\Z", "", wrong.decode("ascii"))
        told = datetime.strptime(said, "%Y-%m-%dT%H:%M:%S.%f")  # noqa: DTZ007
    except ValueError:
        assert found == scan.BAD
    else:
        assert found in (scan.BAD, (told - EPOCH) // timedelta(microseconds=1))


def test_the_scan_knows_every_field_of_the_event() -> None:
    """A new field of the event is a name that the scan must know."""
    assert set(FIELDS) == set(NAMES)


def test_every_text_that_is_looked_up_is_bounded() -> None:
    """The longest texts together are shorter than what is remembered as one, and few enough."""
    for together in (scan.IN_CODES, scan.IN_WHO, scan.IN_FROM, scan.IN_CLIENT):
        assert all(n in scan.LIMITS for n in together)
        assert sum(scan.LIMITS[n] + 1 for n in together) <= LONGEST
        assert len(together) <= MOST_TEXTS


def test_events_at_the_end_of_a_buffer_are_taken() -> None:
    """The last event of a buffer is read as the others are, and nothing behind it."""
    values = [encode(FULL), encode(BASE)]
    _, _, left = ways(values)
    assert left == 0
    _, _, left = ways([encode(BASE)])
    assert left == 0


def test_parameters_that_depend_on_the_time_are_left_to_others() -> None:
    """Plans and registered endpoints are the same with and without the scan."""
    config = Config(inventory=Inventory(senders={"s": Sender("s", "stripe", endpoints=("/a",))}))
    values = [
        encode(event(MONDAY + n, sender="s", endpoint=f"/{e}")) for n, e in enumerate("ab" * 3)
    ]
    fast, slow, _ = ways(values, config)
    assert_equal(fast, slow)
    assert len(set(fast.batch.columns["registered"].tolist())) > 1


def test_texts_that_were_found_last_are_forgotten_with_all_others() -> None:
    """Where other texts have taken their places, what they stood for is not found again."""
    values = [encode(event(MONDAY + n, sender="s", key_id=f"k{n % 2}")) for n in range(6)]
    decoder = Decoder(Config())
    before = decoder.values(values).batch.columns["key_id"].tolist()
    words = decoder._scanner.words
    assert (words.recent >= 0).any()
    for n in range(MOST_BYTES // LONGEST + 99):
        words.add(NAME, [str(n) + "x" * (LONGEST - 10)], (n, 0, 0))
    assert (words.recent == -1).all()
    assert decoder.values(values).batch.columns["key_id"].tolist() == before


def test_random_names_fill_a_bounded_memory() -> None:
    """More texts than there is room for: all is forgotten, what comes next is found again."""
    words = Words()
    for n in range(70_000):
        words.add(NAME, [str(n)], (n, 0, 0))
    found = [n for n in range(70_000) if words.get(NAME, [str(n)]) is not None]
    assert 0 < len(found) <= 1 << 16
    assert all(words.get(NAME, [str(n)]) == (n, 0, 0) for n in found)
    assert 69_999 in found
    for n in range(MOST_BYTES // LONGEST + 10):
        words.add(NAME, [str(n) + "x" * (LONGEST - 10)], (n, 0, 0))
    assert words.get(NAME, [str(n) + "x" * (LONGEST - 10)]) == (n, 0, 0)
