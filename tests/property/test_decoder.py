"""The decoder and the model agree on every value, however hostile."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import from_rfc3339
from detectors.batch import Decoded, Decoder
from detectors.config import Config
from detectors.core import Core
from detectors.event import KINDS, REASONS, VERDICTS
from detectors.keys import name_key
from ingest.errors import EventError
from ingest.prefix import source_prefix
from ingest.schema import CallbackEvent, dump_event, parse_event
from tests.unit.detectors.streams import MONDAY, event

CONFIG = Config()
BASE = event(MONDAY)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "a", "é", "a\u202eb", "\x00", "\x7f", "\ud800", "a" * 300, "ﬀ", "💥",
         "(unknown)",
         "a\tb", "stripe", "\u00a0", "DE", "de", "ÄÖ", "GET", "0" * 32, "F" * 32, "f" * 32]
    ),
)  # fmt: skip
TIMES = st.sampled_from(
    ["2025-06-02T00:00:00Z", "2025-06-02T00:00:00.1Z", "2025-06-02T00:00:00.123456789Z",
     "2025-06-02T02:00:00+02:00", "2025-06-02T00:00:00-00:00", "2025-06-02t00:00:00z",
     "2025-06-02 00:00:00Z", "2025-06-02T00:00:00", "2025-06-02T23:59:60Z", "2025-06-02T24:00:00Z",
     "2025-06-02T00:00:00+00:00", "2025-06-02T00:00:00.5+00:00", "2025-06-02T00:00:00-00:00",
     "2025-06-02T00:00:00.123456+00:00", "2025-06-02T00:00:00.1234567+00:00", "2025-06-02+00:00",
     "2025-06-02T00:00:00+00:01", "2025-06-02T00:00:00Z+00:00", "0001-01-01T00:00:00Z",
     "0001-01-01T00:00:00+01:00", "0000-01-01T00:00:00Z",
     "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-01:00", "2025-02-30T00:00:00Z",
     "2024-02-29T00:00:00Z", "2025-06-02T00:00:00.Z", "2025-06-02T00:00Z", "20250602T000000Z",
     "２０２５-06-02T00:00:00Z", "1969-12-31T23:59:59.999999Z", "2025-06-02T00:00:00.1234567Z"]
)  # fmt: skip
ADDRESSES = st.sampled_from(
    ["192.0.2.1", "::1", "2001:db8::1", "2001:DB8::1", "2001:0db8:0:0:0:0:0:1", "::ffff:192.0.2.1",
     "::ffff:c000:201", "fe80::1%eth0", "192.0.2.01", "192.0.2", "3221225985", "0x7f.1", "::",
     "1.2.3.4/32", "[::1]", "64:ff9b::192.0.2.1", "2002:c000:201::", " 192.0.2.1", "１92.0.2.1"]
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 1, 1.0, -0.0, 1e400, 2**40, 2**40 + 1, 5e-324, 1e308, 100, 599, 600]),
)
ODD = st.one_of(
    st.none(), st.booleans(), NUMBERS, TEXTS, TIMES, ADDRESSES,
    st.lists(st.integers(0, 1), max_size=2), st.dictionaries(TEXTS, NUMBERS, max_size=2),
)  # fmt: skip
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "schema": st.sampled_from([0, 1, 2, 2**80, True, 1.0, "1"]),
    "id": st.sampled_from(
        [BASE["id"], BASE["id"].upper(), "{" + BASE["id"] + "}", BASE["id"].replace("-", ""),
         "0" * 8 + "-0000-0000-0000-" + "0" * 12, "urn:uuid:" + BASE["id"]]
    ),
    "received_at": TIMES, "signed_at": TIMES, "event_created_at": TIMES,
    "source_ip": ADDRESSES,
    "kind": st.sampled_from(["webhook", "redirect", "WEBHOOK"]),
    "verdict": st.sampled_from(["verified", "rejected", "unverified"]),
    "reason": st.sampled_from([None, *map(str, REASONS), "nonsense"]),
    "source_ip_from": st.sampled_from(["socket", "trusted_proxy", "untrusted_header", "x"]),
    "country": TEXTS, "asn": NUMBERS, "status": NUMBERS, "attempt": NUMBERS, "body_bytes": NUMBERS,
    "sample_rate": NUMBERS, "duration_ms": NUMBERS,
    "signature_ok": st.sampled_from([None, True, False, 0]),
    "duplicate": st.sampled_from([None, True, False, "true"]),
    "ext": st.one_of(st.none(), st.dictionaries(TEXTS, st.one_of(TEXTS, NUMBERS), max_size=9)),
    "body_fp": TEXTS, "path_fp": TEXTS, "delivery_fp": TEXTS, "signature_fp": TEXTS,
    "sender": TEXTS, "receiver": TEXTS, "endpoint": TEXTS, "provider": TEXTS, "key_id": TEXTS,
    "event_type": TEXTS, "user_agent": TEXTS, "tls_fp": TEXTS, "client_cert_fp": TEXTS,
    "content_type": TEXTS, "method": TEXTS,
    "unheard_of": ODD,
}  # fmt: skip


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An event with a few fields changed, left out or added, as JSON in some spelling."""
    made: dict[str, Any] = dict(BASE)
    for name in draw(st.lists(st.sampled_from(sorted(LIKELY)), max_size=4)):
        made[name] = draw(st.one_of(LIKELY[name], LIKELY[name], ODD))
    for name in draw(st.lists(st.sampled_from(sorted(BASE)), max_size=1)):
        if draw(st.integers(0, 3)) == 0:
            made.pop(name, None)
    text = json.dumps(
        made, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    if draw(st.integers(0, 6)) == 0:  # the same key twice
        name = draw(st.sampled_from(sorted(LIKELY)))
        twice = json.dumps({name: draw(LIKELY[name])})[1:-1]
        text = (
            text[:-1] + "," + twice + "}" if draw(st.booleans()) else "{" + twice + "," + text[1:]
        )
    value = text.encode("utf-8", "surrogatepass")
    return draw(st.sampled_from([value, b" " + value + b"\n", b"\xef\xbb\xbf" + value, value[:-1]])
                if draw(st.integers(0, 9)) == 0 else st.just(value))  # fmt: skip


def model(value: bytes) -> CallbackEvent | None:
    """What the model says."""
    try:
        return parse_event(value)
    except EventError:
        return None


def parts(decoded: Decoded) -> list[int]:
    """The places of all values, from whichever part they ended in."""
    rejected = [fault.index for fault in decoded.rejected]
    reports = [one.place for one in decoded.reports]
    return sorted(
        [*decoded.batch.index.tolist(), *rejected, *reports, *(n for n, _ in decoded.controls)]
    )


@settings(max_examples=400, deadline=None, derandomize=True)
@given(objects())
def test_the_decoder_accepts_what_the_model_accepts(value: bytes) -> None:
    """Accepted by one is accepted by the other, with the columns that the model's event has."""
    decoded = Decoder(CONFIG).values([value])
    expected = model(value)
    assert parts(decoded) == [0]
    if expected is None:
        assert len(decoded.batch) == 0
        return
    assert len(decoded.batch) == 1, decoded.rejected
    row = decoded.batch.columns[0]
    assert int(row["t"]) == expected.received_at_us
    assert int(row["verdict"]) == VERDICTS[expected.verdict]
    assert int(row["kind"]) == KINDS[expected.kind]
    assert int(row["reason"]) == (REASONS[expected.reason] if expected.reason else 0)
    assert int(row["body_bytes"]) == expected.body_bytes
    assert int(row["sender"]) == (
        0 if expected.sender == "(unknown)" else name_key(expected.sender)
    )
    assert int(row["source"]) == name_key(source_prefix(expected.source_ip))
    assert int(row["status"]) == (expected.status or 0)
    assert float(row["weight"]) == min(1 / expected.sample_rate, 1e6)
    assert decoded.batch.event(0) == expected
    assert decoded.batch.sender(0) == expected.sender
    assert decoded.newer_schema == int(expected.schema_version > 1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(objects())
def test_both_ways_lead_to_the_same_columns(value: bytes) -> None:
    """The spelling of an event, canonical or not, makes no difference to its columns."""
    expected = model(value)
    if expected is None:
        return
    canonical = dump_event(expected.model_copy(update={"schema_version": 1}))
    roundabout = b'{"ext":{},' + canonical[1:] if expected.ext is None else canonical
    ways = [Decoder(CONFIG).values([way]).batch for way in (value, canonical, roundabout)]
    assert all(way.columns.tobytes() == ways[0].columns.tobytes() for way in ways)
    assert all(way.ids.tolist() == ways[0].ids.tolist() for way in ways)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.binary(max_size=40), objects()), max_size=5))
def test_every_value_ends_in_exactly_one_part(values: list[bytes]) -> None:
    """Garbage among events: nothing is lost, nothing is taken twice, order is kept."""
    decoder = Decoder(CONFIG)
    decoded = decoder.values(values)
    assert parts(decoded) == list(range(len(values)))
    alone = [Decoder(CONFIG).values([value]) for value in values]
    columns = [one.batch.columns for one in alone if len(one.batch)]
    assert decoded.batch.columns.tobytes() == b"".join(part.tobytes() for part in columns)


DEEP = 10_000
NESTED = b"[" * 7000 + b"]" * 7000
HOSTILE = {
    "5 MB of text": (json.dumps(BASE | {"sender": "a" * 5_000_000}).encode(), "too_large"),
    "5 MB of garbage": (b"\x00" * 5_000_000, "too_large"),
    "deep lists": (b"[" * DEEP, "not_json"),
    "deep balanced lists": (b"[" * 8000 + b"]" * 8000, "not_json"),
    "deep objects": (b'{"a":' * 3000, "not_json"),
    "deep ext": (json.dumps(BASE).encode()[:-1] + b',"ext":{"a":' + NESTED + b"}}",
                 "not_json"),
    "deep unknown field of a newer schema": (
        json.dumps(BASE | {"schema": 2}).encode()[:-1] + b',"n":' + NESTED + b"}",
        "not_json"),
    "deep report": (b'{"schema":1,"report":' + NESTED + b"}", "not_json"),
    "deep control": (b'{"schema":1,"control":' + NESTED + b"}", "not_json"),
    "nothing": (b"", "not_json"),
    "a number": (b"1", "not_object"),
    "a list": (b"[]", "not_object"),
    "NaN": (json.dumps(BASE | {"duration_ms": float("nan")}).encode(), "schema_invalid"),
    "Infinity": (json.dumps(BASE | {"duration_ms": float("inf")}).encode(), "schema_invalid"),
    "a huge number": (json.dumps(BASE).encode()[:-1] + b',"duration_ms":1e999}', "schema_invalid"),
    "a huge integer": (
        json.dumps(BASE).encode()[:-1] + b',"asn":' + b"9" * 5000 + b"}", "not_json"),
    "a bool for an int": (json.dumps(BASE | {"body_bytes": True}).encode(), "schema_invalid"),
    "a float for an int": (json.dumps(BASE | {"body_bytes": 5.0}).encode(), "schema_invalid"),
    "text for an int": (json.dumps(BASE | {"body_bytes": "5"}).encode(), "schema_invalid"),
    "an unknown field": (json.dumps(BASE | {"nonsense": 1}).encode(), "schema_invalid"),
    "UTF-16": (json.dumps(BASE).encode("utf-16"), "not_json"),
    "a lone surrogate": (json.dumps(BASE | {"sender": "\ud800"}).encode(), "not_json"),
    "a report without a body": (b'{"schema":1,"report":null}', "schema_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_are_rejected_by_name(name: str) -> None:
    """Each is rejected with its code and one line, and the events around it are scored."""
    value, code = HOSTILE[name]
    core = Core(CONFIG)
    around = [json.dumps(event(MONDAY + n)).encode() for n in range(2)]
    outcome = core.feed_log([around[0], value, around[1]], [7, 8, 9], [MONDAY] * 3)
    assert [(r.offset, r.code) for r in outcome.rejected] == [(8, code)]
    assert "\n" not in outcome.rejected[0].message
    assert len(outcome.rejected[0].message) < 500
    assert core.counters["scored"] == 2
    assert core.counters[f"rejected.{code}"] == 1


def test_mapped_addresses_are_the_addresses_that_they_map() -> None:
    """An IPv4-mapped IPv6 address has the network of the IPv4 one."""
    made = [event(MONDAY, source_ip=ip) for ip in ("192.0.2.1", "::ffff:192.0.2.1")]
    columns = Decoder(CONFIG).values([json.dumps(m).encode() for m in made]).batch.columns
    assert columns["source"][0] == columns["source"][1]


def test_ids_that_look_alike_are_different_records() -> None:
    """Ids made of counters in both halves are not taken for one record."""
    ids = [f"{n:08x}-0000-4000-8000-{n:012x}" for n in range(1, 2000)]
    ids += [f"00000000-0000-{n:04x}-0000-00000000{n:04x}" for n in range(1, 2000)]
    values = [json.dumps(BASE | {"id": made}).encode() for made in ids]
    keys = Decoder(CONFIG).values(values).batch.ids
    assert len(np.unique(keys)) == len(ids)


def test_a_decoder_remembers_no_more_than_it_says() -> None:
    """Random names and addresses pass by without being kept for ever."""
    decoder = Decoder(CONFIG)
    for start in range(3):
        decoder.values([
            json.dumps(BASE | {"sender": f"s{start}-{n}", "source_ip": f"2001:db8::{n:x}"}).encode()
            for n in range(100)
        ])  # fmt: skip
    memories = [m for m in vars(decoder).values() if isinstance(m, dict | set)]
    assert memories
    assert all(len(memory) <= 1 << 16 for memory in memories)


def test_times_are_truncated_to_microseconds() -> None:
    """Nanoseconds are cut off, offsets are taken away."""
    made = event(MONDAY, received_at="2025-06-02T02:00:00.123456999+02:00")
    columns = Decoder(CONFIG).values([json.dumps(made).encode()]).batch.columns
    assert int(columns["t"][0]) == from_rfc3339("2025-06-02T00:00:00.123456Z")
