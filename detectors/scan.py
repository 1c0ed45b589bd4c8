"""Reads events in their usual form straight into columns, compiled: the first of three ways.

What it takes is one flat JSON object of known names, each once, without an escape, in printable
ASCII, with UTC times, plain decimal numbers, and texts that were seen before. Everything else is
left to the second way (``detectors.batch``), which also teaches it new texts. It never decides that
an event is wrong: it only steps aside. A test with hostile input holds it to the model.

Numbers with a fraction are mantissa / 10^k with both exact in 64 bits, so the quotient is the
nearest float there is (Clinger 1990, "How to read floating point numbers accurately").
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.compile import cached
from detectors.event import REJECTED, SECOND, VERIFIED
from detectors.words import CLIENT, CODES, FROM, NAME, RECEIVER, WHO, find
from ingest.schema import MAX_EVENT_BYTES
from models.kernel import kernel

NAMES: Final = (
    "schema", "id", "received_at", "receiver", "endpoint", "kind", "sender", "verdict",
    "body_bytes", "source_ip", "source_ip_from", "provider", "reason", "signature_ok", "duplicate",
    "key_id", "signed_at", "event_type", "event_created_at", "delivery_fp", "signature_fp",
    "body_fp", "path_fp", "content_type", "method", "status", "duration_ms", "attempt", "asn",
    "country", "user_agent", "tls_fp", "client_cert_fp", "sample_rate", "ext",
)  # fmt: skip
"""The names of the event, needed ones first."""
NEEDED: Final = 11
(
    SCHEMA, ID, RECEIVED_AT, RECEIVER_, ENDPOINT, KIND_, SENDER, VERDICT_,
    BODY_BYTES, SOURCE_IP, SOURCE_IP_FROM, PROVIDER, REASON_, SIGNATURE_OK, DUPLICATE,
    KEY_ID, SIGNED_AT, EVENT_TYPE, EVENT_CREATED_AT, DELIVERY_FP, SIGNATURE_FP,
    BODY_FP, PATH_FP, CONTENT_TYPE, METHOD, STATUS, DURATION_MS, ATTEMPT, ASN,
    COUNTRY, USER_AGENT, TLS_FP, CLIENT_CERT_FP, SAMPLE_RATE, EXT,
) = range(35)  # fmt: skip
IN_CODES = (KIND_, VERDICT_, REASON_, SOURCE_IP_FROM)
IN_WHO = (SENDER, PROVIDER, ENDPOINT)
IN_FROM = (SOURCE_IP,)
IN_CLIENT = (USER_AGENT, TLS_FP, CLIENT_CERT_FP)
"""Texts that are looked up together."""
ABSENT, TEXT, NUMBER, TRUE, FALSE = range(5)
"""What stands under a name; null is as good as absent."""
LIMITS: Final = {
    CONTENT_TYPE: 256, METHOD: 32, USER_AGENT: 256, TLS_FP: 128, CLIENT_CERT_FP: 128,
    SENDER: 128, PROVIDER: 64, ENDPOINT: 256, RECEIVER_: 128, EVENT_TYPE: 128, KEY_ID: 64,
    KIND_: 32, VERDICT_: 32, REASON_: 64, SOURCE_IP: 64, SOURCE_IP_FROM: 32, COUNTRY: 2,
}  # fmt: skip
"""Bytes of a text. Texts that are copied must have one: what is left out is read in place."""
MOST_BYTES: Final = 64
"""Of texts without a limit of their own: times, ids and fingerprints."""
MOST_BODY: Final = 1 << 40
MOST_DIGITS: Final = 15  # of a mantissa: exact in a float, as 10^22 is
BAD: Final = -(1 << 62)
QUOTE, SLASH, SPACE, TILDE = 0x22, 0x5C, 0x20, 0x7E
COMMA, COLON, OPEN, CLOSE, MINUS, POINT = 0x2C, 0x3A, 0x7B, 0x7D, 0x2D, 0x2E
ZERO, NINE, NULL, T = 0x30, 0x39, 0x6E, 0x74

_TEXTS = [name.encode() for name in NAMES]
_PLACES = 1 << 9


def _place_of(length: int, first: int, last: int, middle: int) -> int:
    return (length * 37 + first * 11 + last * 5 + middle) & (_PLACES - 1)


def _key_tables() -> tuple[NDArray[np.int8], NDArray[np.uint8], NDArray[np.int32]]:
    """Return which name may stand at a place, the bytes of all names, and where each begins."""
    which = np.full(_PLACES, -1, np.int8)
    for n, text in enumerate(_TEXTS):
        at = _place_of(len(text), text[0], text[-1], text[len(text) // 2])
        assert which[at] < 0, "two names share a place: choose other factors"
        which[at] = n
    starts = np.cumsum([0, *(len(text) for text in _TEXTS)]).astype(np.int32)
    return which, np.frombuffer(b"".join(_TEXTS), np.uint8).copy(), starts


KEY_WHICH, KEY_BYTES, KEY_STARTS = _key_tables()
KEY_LIMITS = np.array([LIMITS.get(n, MOST_BYTES) for n in range(len(NAMES))], np.int32)
KEY_TYPES = np.full(len(NAMES), TEXT, np.int8)
KEY_TYPES[[SCHEMA, BODY_BYTES, STATUS, DURATION_MS, ATTEMPT, ASN, SAMPLE_RATE]] = NUMBER
KEY_TYPES[[SIGNATURE_OK, DUPLICATE]] = TRUE
KEY_TYPES[EXT] = ABSENT
ALL_NEEDED = (1 << NEEDED) - 1
HEX = np.full(256, -1, np.int8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    HEX[_digit] = _value
DASHES = (8, 13, 18, 23)
PLAIN = np.zeros(256, np.int8)
PLAIN[SPACE : TILDE + 1] = 1
PLAIN[[QUOTE, SLASH]] = 0
"""Bytes that stand for themselves in a text."""


@kernel
def key_at(text: Any, start: int, end: int) -> int:
    """Return which name stands there; -1 where it is none of the event's."""
    length = end - start
    if length < 2:
        return -1
    place = length * 37 + int(text[start]) * 11 + int(text[end - 1]) * 5
    which = int(KEY_WHICH[(place + int(text[start + length // 2])) & (_PLACES - 1)])
    if which < 0:
        return -1
    first = int(KEY_STARTS[which])
    if int(KEY_STARTS[which + 1]) - first != length:
        return -1
    for i in range(length):
        if int(text[start + i]) != int(KEY_BYTES[first + i]):
            return -1
    return which


@kernel
def text_end(text: Any, at: int, end: int) -> int:
    """Return where a text ends that begins at ``at``; -1 where it is not plain ASCII."""
    while at < end and int(PLAIN[int(text[at])]) > 0:
        at += 1
    if at < end and int(text[at]) == QUOTE:
        return at
    return -1


@kernel
def literal_end(text: Any, at: int, end: int) -> int:
    """Return where the word ``true``, ``false`` or ``null`` ends; -1 where there is none."""
    first = int(text[at])
    if at + 4 <= end and first == 0x74:
        if int(text[at + 1]) == 0x72 and int(text[at + 2]) == 0x75 and int(text[at + 3]) == 0x65:
            return at + 4
        return -1
    if at + 4 <= end and first == 0x6E:
        if int(text[at + 1]) == 0x75 and int(text[at + 2]) == 0x6C and int(text[at + 3]) == 0x6C:
            return at + 4
        return -1
    if at + 5 <= end and first == 0x66 and int(text[at + 1]) == 0x61:
        if int(text[at + 2]) == 0x6C and int(text[at + 3]) == 0x73 and int(text[at + 4]) == 0x65:
            return at + 5
        return -1
    return -1


@kernel
def number_end(text: Any, at: int, end: int) -> int:
    """Return where a number of digits, with a fraction or without, ends; -1 for other forms."""
    first = at
    while at < end and ZERO <= int(text[at]) <= NINE:
        at += 1
    if at == first or (at - first > 1 and int(text[first]) == ZERO):
        return -1
    if at < end and int(text[at]) == POINT:
        at += 1
        fraction = at
        while at < end and ZERO <= int(text[at]) <= NINE:
            at += 1
        if at == fraction:
            return -1
    return at


@kernel
def tokens(  # noqa: C901 -- in one piece: calls with arrays cost as much as the work
    text: Any, start: int, end: int, what: Any, begins: Any, ends: Any
) -> bool:
    """Note where each value stands; return False where the object is not in its usual form.

    Every value is of its type then, no text is empty or too long, and nothing needed is missing.
    """
    for n in range(len(what)):
        what[n] = ABSENT
    if end - start < 2 or end - start > MAX_EVENT_BYTES or int(text[start]) != OPEN:
        return False
    seen, given = 0, 0
    at = start
    b = COMMA
    while b == COMMA:
        at += 1
        while at < end and int(text[at]) == SPACE:
            at += 1
        if at >= end or int(text[at]) != QUOTE:
            return False
        close = text_end(text, at + 1, end)
        if close < 0:
            return False
        which = key_at(text, at + 1, close)
        if which < 0 or seen >> which & 1 != 0:
            return False
        seen |= 1 << which
        at = close + 1
        while at < end and int(text[at]) == SPACE:
            at += 1
        if at >= end or int(text[at]) != COLON:
            return False
        at += 1
        while at < end and int(text[at]) == SPACE:
            at += 1
        if at >= end:
            return False
        b = int(text[at])
        wanted = int(KEY_TYPES[which])
        if b == QUOTE:
            close = text_end(text, at + 1, end)
            length = close - at - 1
            if wanted != TEXT or length <= 0 or length > int(KEY_LIMITS[which]):
                return False
            what[which] = TEXT
            begins[which] = at + 1
            ends[which] = close
            given |= 1 << which
            at = close + 1
        elif ZERO <= b <= NINE:
            close = number_end(text, at, end)
            if wanted != NUMBER or close < 0:
                return False
            what[which] = NUMBER
            begins[which] = at
            ends[which] = close
            given |= 1 << which
            at = close
        else:
            if which == SAMPLE_RATE or (b != NULL and wanted != TRUE):
                return False  # alone among those that may be absent, it may not be null
            if b != NULL:
                what[which] = TRUE if b == T else FALSE
            at = literal_end(text, at, end)
            if at < 0:
                return False
        while at < end and int(text[at]) == SPACE:
            at += 1
        if at >= end:
            return False
        b = int(text[at])
    return b == CLOSE and at + 1 == end and given & ALL_NEEDED == ALL_NEEDED


@kernel
def whole(text: Any, start: int, end: int, most: int) -> int:
    """Return a whole number; BAD where it is none or too large."""
    if end - start > MOST_DIGITS:
        return BAD
    value = 0
    for i in range(start, end):
        b = int(text[i])
        if b == POINT:
            return BAD
        value = 10 * value + b - ZERO
    if value > most:
        return BAD
    return value


@kernel
def decimal(text: Any, start: int, end: int) -> float:
    """Return a number with or without a fraction; -1.0 where it has too many digits."""
    if end - start > MOST_DIGITS + 1:
        return -1.0
    value, scale, fraction = 0, 1, False
    for i in range(start, end):
        b = int(text[i])
        if b == POINT:
            fraction = True
            continue
        value = 10 * value + b - ZERO
        if fraction:
            scale *= 10
    if value >= 10**MOST_DIGITS:
        return -1.0
    return float(value) / float(scale)


@kernel
def digits(text: Any, at: int, count: int) -> int:
    """Return so many digits as a number; BAD where they are not all digits."""
    value = 0
    for i in range(at, at + count):
        b = int(text[i])
        if b < ZERO or b > NINE:
            return BAD
        value = 10 * value + b - ZERO
    return value


@kernel
def days_of(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 (proleptic Gregorian; Howard Hinnant, chrono algorithms)."""
    if month <= 2:
        year -= 1
    era = year // 400
    of_era = year - 400 * era
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 146_097 * era + 365 * of_era + of_era // 4 - of_era // 100 + of_year - 719_468


@kernel
def days_in(year: int, month: int) -> int:
    """Return how many days a month has."""
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month in (4, 6, 9, 11) else 31


@kernel
def time_of(text: Any, start: int, end: int) -> int:
    """Return a UTC time with at most six decimals in microseconds; BAD for other forms."""
    length = end - start
    if length < 20 or length > 27 or int(text[end - 1]) != 0x5A:
        return BAD
    if int(text[start + 4]) != MINUS or int(text[start + 7]) != MINUS:
        return BAD
    if int(text[start + 10]) != 0x54:
        return BAD
    if int(text[start + 13]) != COLON or int(text[start + 16]) != COLON:
        return BAD
    year, month = digits(text, start, 4), digits(text, start + 5, 2)
    day = digits(text, start + 8, 2)
    if year < 1 or month < 1 or month > 12 or day < 1 or day > days_in(year, month):
        return BAD
    hour, minute = digits(text, start + 11, 2), digits(text, start + 14, 2)
    second = digits(text, start + 17, 2)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return BAD
    micro = 0
    if length > 20:
        places = length - 21
        if int(text[start + 19]) != POINT or places == 0:
            return BAD
        micro = digits(text, start + 20, places)
        if micro < 0:
            return BAD
        for _ in range(6 - places):
            micro *= 10
    seconds = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds * SECOND + micro


@kernel
def hex_of(text: Any, at: int, count: int) -> int:
    """Return so many lower-case hexadecimal digits as a number; BAD where they are not that."""
    value = 0
    for i in range(at, at + count):
        digit = int(HEX[int(text[i])])
        if digit < 0:
            return BAD
        value = value << 4 | digit
    return value


@kernel
def signed(high: int, low: int) -> int:
    """Return two 32-bit numbers as one signed 64-bit number."""
    if high >= 1 << 31:
        high -= 1 << 32
    return high * (1 << 32) + low


@kernel
def fingerprint(text: Any, start: int, end: int) -> int:
    """Return the first 64 bits of 32 hexadecimal digits, never 0; BAD where they are not that."""
    if end - start != 32:
        return BAD
    for at in (start + 16, start + 24):
        if hex_of(text, at, 8) < 0:
            return BAD
    high, low = hex_of(text, start, 8), hex_of(text, start + 8, 8)
    if high < 0 or low < 0:
        return BAD
    key = signed(high, low)
    if key == BAD:
        return BAD  # one in 2^64: let the second way read it
    return 1 if key == 0 else key


@kernel
def halves_of(text: Any, start: int, end: int, halves: Any) -> bool:
    """Note both halves of a UUID as signed numbers; return False where it is not in usual form."""
    if end - start != 36:
        return False
    for place in DASHES:
        if int(text[start + place]) != MINUS:
            return False
    a, d = hex_of(text, start, 8), hex_of(text, start + 28, 8)
    b, c = hex_of(text, start + 9, 4), hex_of(text, start + 14, 4)
    e, f = hex_of(text, start + 19, 4), hex_of(text, start + 24, 4)
    if min(a, b, c, d, e, f) < 0:
        return False
    halves[0] = signed(a, b << 16 | c)
    halves[1] = signed(e << 16 | f, d)
    return True


@kernel
def number_of(n: int, least: int, most: int, text: Any, what: Any, begins: Any, ends: Any) -> int:
    """Return the whole number under a name, 0 where it is absent; BAD where it does not fit."""
    if int(what[n]) == ABSENT:
        return 0
    value = whole(text, int(begins[n]), int(ends[n]), most)
    return value if value >= least else BAD


@kernel
def moment_of(n: int, text: Any, what: Any, begins: Any, ends: Any) -> int:
    """Return the time under a name, 0 where it is absent; BAD where it has another form."""
    if int(what[n]) == ABSENT:
        return 0
    return time_of(text, int(begins[n]), int(ends[n]))


@kernel
def read_numbers(text: Any, what: Any, begins: Any, ends: Any, event: Any) -> bool:
    """Fill numbers and flags; return False where one is not as it should be."""
    size = number_of(BODY_BYTES, 0, MOST_BODY, text, what, begins, ends)
    status = number_of(STATUS, 100, 599, text, what, begins, ends)
    attempt = number_of(ATTEMPT, 1, 1_000_000, text, what, begins, ends)
    asn = number_of(ASN, 0, 0xFFFFFFFF, text, what, begins, ends)
    if min(size, status, attempt, asn) == BAD:
        return False
    event["body_bytes"] = size
    event["status"] = status
    event["attempt"] = attempt
    event["asn"] = asn & 0x7FFFFFFF
    event["duration_ms"] = -1.0
    if int(what[DURATION_MS]) == NUMBER:
        event["duration_ms"] = decimal(text, int(begins[DURATION_MS]), int(ends[DURATION_MS]))
        if float(event["duration_ms"]) < 0.0:
            return False
    event["weight"] = 1.0
    if int(what[SAMPLE_RATE]) == NUMBER:
        rate = decimal(text, int(begins[SAMPLE_RATE]), int(ends[SAMPLE_RATE]))
        if rate <= 0.0 or rate > 1.0:
            return False
        event["weight"] = min(1.0 / rate, 1e6)
    event["signature_ok"] = flag(int(what[SIGNATURE_OK]))
    event["duplicate"] = flag(int(what[DUPLICATE]))
    return whole(text, int(begins[SCHEMA]), int(ends[SCHEMA]), 1) == 1


@kernel
def read_times(text: Any, what: Any, begins: Any, ends: Any, event: Any) -> bool:
    """Fill times and country; return False where one is not as it should be."""
    t = moment_of(RECEIVED_AT, text, what, begins, ends)
    signed_at = moment_of(SIGNED_AT, text, what, begins, ends)
    created = moment_of(EVENT_CREATED_AT, text, what, begins, ends)
    if min(t, signed_at, created) == BAD:
        return False
    event["t"] = t
    event["signed_at"] = signed_at
    event["created_at"] = created
    if int(what[COUNTRY]) == TEXT:
        at = int(begins[COUNTRY])
        a, b = int(text[at]), int(text[at + 1])
        if int(ends[COUNTRY]) - at != 2 or not (65 <= a <= 90 and 65 <= b <= 90):
            return False
        event["country"] = 26 * a + b - 1754  # AA = 1
    return True


@kernel
def flag(what: int) -> int:
    """Return 1 for true, 0 for false, -1 for nothing."""
    if what == TRUE:
        return 1
    return 0 if what == FALSE else -1


@kernel
def joined(first: Any, text: Any, what: Any, begins: Any, ends: Any, scratch: Any, at: int) -> int:
    """Put several texts into the scratch, a zero behind each, what is absent as empty."""
    for n in first:
        if int(what[n]) == TEXT:
            for i in range(int(begins[n]), int(ends[n])):
                scratch[at] = text[i]
                at += 1
        scratch[at] = 0
        at += 1
    return at


@kernel
def read_words(
    text: Any, what: Any, begins: Any, ends: Any, event: Any, scratch: Any, seed: int, slots: Any,
    entries: Any, arena: Any, nothing: int,
) -> bool:  # fmt: skip
    """Fill what texts stand for; return False where one was not seen before."""
    length = joined(IN_CODES, text, what, begins, ends, scratch, 0)
    p = find(CODES, scratch, 0, length, seed, slots, entries, arena)
    if p < 0:
        return False
    codes = int(entries[p]["values"][0])
    event["kind"] = codes & 0xFF
    event["verdict"] = codes >> 8 & 0xFF
    event["reason"] = codes >> 16 & 0xFF
    event["believed"] = codes >> 24
    length = int(ends[RECEIVER_]) - int(begins[RECEIVER_])
    p = find(RECEIVER, text, int(begins[RECEIVER_]), length, seed, slots, entries, arena)
    if p < 0:
        return False
    event["receiver"] = int(entries[p]["values"][0])
    event["service"] = int(entries[p]["values"][1])
    event["event_type"] = nothing
    for n in (EVENT_TYPE, KEY_ID):
        if int(what[n]) == TEXT:
            length = int(ends[n]) - int(begins[n])
            p = find(NAME, text, int(begins[n]), length, seed, slots, entries, arena)
            if p < 0:
                return False
            if n == KEY_ID:
                event["key_id"] = int(entries[p]["values"][0])
            else:
                event["event_type"] = int(entries[p]["values"][0])
    length = joined(IN_WHO, text, what, begins, ends, scratch, 0)
    p = find(WHO, scratch, 0, length, seed, slots, entries, arena)
    if p < 0:
        return False
    event["sender"] = int(entries[p]["values"][0])
    event["endpoint"] = int(entries[p]["values"][1])
    who = int(entries[p]["values"][2]) >> 8
    event["who"] = who
    event["registered"] = int(entries[p]["values"][2]) & 0xFF
    for i in range(4):
        scratch[i] = (who >> (8 * i)) & 0xFF
    length = joined(IN_FROM, text, what, begins, ends, scratch, 4)
    p = find(FROM, scratch, 0, length, seed, slots, entries, arena)
    if p < 0:
        return False
    event["address"] = int(entries[p]["values"][0])
    event["source"] = int(entries[p]["values"][1])
    event["in_range"] = int(entries[p]["values"][2])
    if int(what[USER_AGENT]) + int(what[TLS_FP]) + int(what[CLIENT_CERT_FP]) == ABSENT:
        return True
    length = joined(IN_CLIENT, text, what, begins, ends, scratch, 0)
    p = find(CLIENT, scratch, 0, length, seed, slots, entries, arena)
    if p < 0:
        return False
    event["client"] = int(entries[p]["values"][0])
    return True


@kernel
def read_proofs(text: Any, what: Any, begins: Any, ends: Any, event: Any, by_order: Any) -> bool:
    """Fill fingerprints, and check verdict against reason and signature."""
    delivery, signature = 0, 0
    if int(what[DELIVERY_FP]) == TEXT:
        delivery = fingerprint(text, int(begins[DELIVERY_FP]), int(ends[DELIVERY_FP]))
    if int(what[SIGNATURE_FP]) == TEXT:
        signature = fingerprint(text, int(begins[SIGNATURE_FP]), int(ends[SIGNATURE_FP]))
    body = 0
    if int(what[BODY_FP]) == TEXT:
        body = fingerprint(text, int(begins[BODY_FP]), int(ends[BODY_FP]))
    path = int(event["endpoint"])
    if int(what[PATH_FP]) == TEXT:
        path = fingerprint(text, int(begins[PATH_FP]), int(ends[PATH_FP]))
    if delivery == BAD or signature == BAD or body == BAD or path == BAD:
        return False
    event["path"] = path
    verdict, reason = int(event["verdict"]), int(event["reason"])
    checked = int(event["signature_ok"])
    if (verdict == REJECTED) != (reason != 0) or (verdict == VERIFIED and checked == 0):
        return False
    proved = verdict == VERIFIED or checked == 1
    if checked < 0 and int(by_order[reason]) > 0:
        proved = True
    if proved:
        event["unit"] = signature if signature != 0 else delivery
        event["delivery"] = delivery if delivery != 0 else signature
    event["claimed"] = delivery if delivery != 0 else signature
    event["signed"] = 1 if signature != 0 else 0
    return True


@cached
def scan(
    text: Any, spans: Any, first: int, columns: Any, halves: Any, taken: Any, tokens_: Any,
    scratch: Any, seed: int, slots: Any, entries: Any, arena: Any, nothing: int, by_order: Any,
) -> int:  # fmt: skip
    """Fill the columns of events from ``first`` on; return the first that is not taken.

    ``tokens_`` is room for what stands under each name: what, and where it begins and ends.
    """
    what, begins, ends = tokens_[0], tokens_[1], tokens_[2]
    for e in range(first, len(spans)):
        start, end = int(spans[e, 0]), int(spans[e, 1])
        if not tokens(text, start, end, what, begins, ends):
            return e
        event = columns[e]
        if not read_numbers(text, what, begins, ends, event):
            return e
        if not read_times(text, what, begins, ends, event):
            return e
        if not halves_of(text, int(begins[ID]), int(ends[ID]), halves[e]):
            return e
        if not read_words(
            text, what, begins, ends, event, scratch, seed, slots, entries, arena, nothing
        ):
            return e
        if not read_proofs(text, what, begins, ends, event, by_order):
            return e
        taken[e] = 1
    return len(spans)
