"""Reads events in their usual form straight into columns, compiled: the first of three ways.

What it takes is one flat JSON object of known names, each once, without an escape, in printable
ASCII, with UTC times, plain decimal numbers, and texts that were seen before. Those that are looked
up may be of any script: they are what was seen, byte by byte, or left. Everything else is left to
the second way (``detectors.batch``), which also teaches it new texts. It never decides that
an event is wrong: it only steps aside. A test with hostile input holds it to the model.

Numbers with a fraction are mantissa / 10^k with both exact in 64 bits, so the quotient is the
nearest float there is (Clinger 1990, "How to read floating point numbers accurately").
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.compile import lean
from detectors.event import REJECTED, SECOND, VERIFIED
from detectors.octets import (
    BYTES,
    LOW_HALF,
    MASKS,
    PAD,
    QUOTE,
    byte_at,
    clock_in,
    hex_in,
    number_in,
    text_end,
    wide_text_end,
    words_of,
)
from detectors.words import (
    CLIENT,
    CODES,
    FROM,
    NAME,
    OF_CLIENT,
    OF_CODES,
    OF_KEY,
    OF_RECEIVER,
    OF_TYPE,
    RECEIVER,
    WHO,
    entry_ahead,
    find_again,
    find_from,
    place_of,
    text_ahead,
)
from ingest.schema import MAX_EVENT_BYTES
from models.kernel import kernel
from models.lanes import (
    LANES,
    digits_at,
    first_bit,
    hexes_at,
    others_between,
    specials_at,
    word_at,
)
from models.prefetch import LINE, prefetch

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
IN_CODES = np.array([KIND_, VERDICT_, REASON_, SOURCE_IP_FROM])
IN_RECEIVER, IN_TYPE, IN_KEY = np.array([RECEIVER_]), np.array([EVENT_TYPE]), np.array([KEY_ID])
IN_WHO = np.array([SENDER, PROVIDER, ENDPOINT])
IN_FROM = np.array([SOURCE_IP])
IN_CLIENT = np.array([USER_AGENT, TLS_FP, CLIENT_CERT_FP])
"""Texts that are looked up together."""
ABSENT, TEXT, NUMBER, TRUE, FALSE = range(5)
"""What stands under a name; null is as good as absent."""
LIMITS: Final = {
    CONTENT_TYPE: 256, METHOD: 32, USER_AGENT: 256, TLS_FP: 128, CLIENT_CERT_FP: 128,
    SENDER: 128, PROVIDER: 64, ENDPOINT: 256, RECEIVER_: 128, EVENT_TYPE: 128, KEY_ID: 64,
    KIND_: 32, VERDICT_: 32, REASON_: 64, SOURCE_IP: 64, SOURCE_IP_FROM: 32, COUNTRY: 2,
}  # fmt: skip
"""Bytes of a text. Texts that are copied must have one: what is left out is read in place."""
USUAL_BYTES: Final = 1024
"""Of an event, at most: so many are asked for before it is read."""
MOST_BYTES: Final = 64
"""Of texts without a limit of their own: times, ids and fingerprints."""
FINGERPRINT_BYTES, ID_BYTES = 32, 36
MOST_BODY: Final = 1 << 40
MOST_DIGITS: Final = 15  # of a mantissa: exact in a float, as 10^22 is
BAD: Final = -(1 << 62)
NOTHING = np.uint64(0)
HALF = np.uint64(32)
SPACE: Final = 0x20
NO_OFFSET = np.uint64(int.from_bytes(b"+00:00", "little"))
NO_OFFSET_BYTES = np.uint64((1 << 48) - 1)
COMMA, COLON, OPEN, CLOSE, MINUS, POINT = 0x2C, 0x3A, 0x7B, 0x7D, 0x2D, 0x2E
FIRST_YEAR: Final = 1970  # what was before is left to others: no day is below 0
ZERO, NINE, NULL, T = 0x30, 0x39, 0x6E, 0x74

_TEXTS = [name.encode() for name in NAMES]
_PLACES = 1 << 9
_SHIFT = np.uint64(64 - 9)
_FACTOR, _OTHER = np.uint64(0x9E3779B97F4A7C15), np.uint64(7)
_ALL = (1 << 64) - 1


def _key_places() -> NDArray[np.int8]:
    """Return which name may stand at a place of the table of names."""
    which = np.full(_PLACES, -1, np.int8)
    for n, text in enumerate(_TEXTS):
        assert 2 <= len(text) <= 2 * BYTES
        low, high = (int.from_bytes(part, "little") for part in (text[:BYTES], text[BYTES:]))
        mixed = (low + high * int(_OTHER)) & _ALL
        at = ((mixed * int(_FACTOR)) & _ALL) >> int(_SHIFT)
        assert which[at] < 0, "two names share a place: choose another factor"
        which[at] = n
    return which


KEY_WHICH = _key_places()
KEYS = words_of(
    np.frombuffer(
        b"".join((b'"%s":' % text).ljust(LANES, b"\0") for text in _TEXTS) + bytes(PAD), np.uint8
    )
)
"""Each name as it usually stands, with quotation marks and colon, ``LANES`` bytes apart."""
KEY_LENGTHS = np.array([len(text) for text in _TEXTS], np.int32)
KEY_FLAGS = (np.int64(1) << (KEY_LENGTHS.astype(np.int64) + 3)) - 1
"""By name, a bit for each byte of it as it stands in ``KEYS``."""
NAME_FLAGS = KEY_FLAGS >> 1
"""The same without the colon."""
KEY_LIMITS = np.array([LIMITS.get(n, MOST_BYTES) for n in range(len(NAMES))], np.int32)
KEY_SIZES = np.zeros(len(NAMES), np.int32)
KEY_SIZES[[DELIVERY_FP, SIGNATURE_FP, BODY_FP, PATH_FP]] = FINGERPRINT_BYTES
KEY_SIZES[ID] = ID_BYTES
"""Bytes of a text that always has as many, and of which each is looked at when it is read."""
KEY_TYPES = np.full(len(NAMES), TEXT, np.int8)
KEY_TYPES[[SCHEMA, BODY_BYTES, STATUS, DURATION_MS, ATTEMPT, ASN, SAMPLE_RATE]] = NUMBER
KEY_TYPES[[SIGNATURE_OK, DUPLICATE]] = TRUE
KEY_TYPES[EXT] = ABSENT
KEY_WIDE = np.zeros(len(NAMES), np.bool_)
KEY_WIDE[np.concatenate([IN_RECEIVER, IN_TYPE, IN_KEY, IN_WHO, IN_CLIENT])] = True
"""Which texts may be beyond ASCII: an event is taken only where they were seen before."""
ALL_NEEDED = (1 << NEEDED) - 1
DASHES = (8, 13, 18, 23)
ALL_LANES: Final = (1 << LANES) - 1
HEXES: Final = ALL_LANES & ~sum(1 << place for place in DASHES)
HEXES_TO_END: Final = ALL_LANES & ~sum(1 << place - (ID_BYTES - LANES) for place in DASHES)
"""Flags of the digits of an id, in its first and in its last bytes."""


@kernel
def key_at(text: Any, at: int, keys: Any) -> int:
    """Return which name stands there, behind its quotation mark; -1 where it is none of these."""
    flags = specials_at(text, at + 1)
    if flags == 0:
        return -1
    length = first_bit(flags)
    if length > 2 * BYTES:
        return -1
    low, high = word_at(text, at + 1) & MASKS[min(length, BYTES)], NOTHING
    if length > BYTES:
        high = word_at(text, at + 1 + BYTES) & MASKS[length - BYTES]
    which = int(KEY_WHICH[np.int64(((low + high * _OTHER) * _FACTOR) >> _SHIFT)])
    if which < 0 or others_between(text, at, keys, which * LANES) & NAME_FLAGS[which] != 0:
        return -1
    return which


@kernel
def literal_end(text: Any, at: int, end: int) -> int:
    """Return where the word ``true``, ``false`` or ``null`` ends; -1 where there is none."""
    first = byte_at(text, at)
    if at + 4 <= end and first == 0x74:
        if (
            byte_at(text, at + 1) == 0x72
            and byte_at(text, at + 2) == 0x75
            and byte_at(text, at + 3) == 0x65
        ):
            return at + 4
        return -1
    if at + 4 <= end and first == 0x6E:
        if (
            byte_at(text, at + 1) == 0x75
            and byte_at(text, at + 2) == 0x6C
            and byte_at(text, at + 3) == 0x6C
        ):
            return at + 4
        return -1
    if at + 5 <= end and first == 0x66 and byte_at(text, at + 1) == 0x61:
        if (
            byte_at(text, at + 2) == 0x6C
            and byte_at(text, at + 3) == 0x73
            and byte_at(text, at + 4) == 0x65
        ):
            return at + 5
        return -1
    return -1


@kernel
def number_end(text: Any, at: int, end: int) -> int:
    """Return where a number of digits, with a fraction or without, ends; -1 for other forms."""
    first = at
    others = ~digits_at(text, at) & ALL_LANES
    if others == 0:
        return -1
    at += first_bit(others)
    if at == first or (at - first > 1 and byte_at(text, first) == ZERO):
        return -1
    if at < end and byte_at(text, at) == POINT:
        fraction = at + 1
        others = ~digits_at(text, fraction) & ALL_LANES
        if others == 0 or others & 1 != 0:
            return -1
        at = fraction + first_bit(others)
    return min(at, end)


@kernel
def look_through(  # noqa: C901 -- in one piece: calls with arrays cost as much as the work
    text: Any, start: int, end: int, tokens: Any, after: Any, keys: Any
) -> bool:
    """Note where each value stands; return False where the object is not in its usual form.

    Every value is of its type then, no text is empty or too long, and nothing needed is missing.
    What must be so many hexadecimal digits is not looked at here: whoever reads them sees all.
    Events of one publisher have their names in the same order: ``after`` remembers by each name
    which came next.
    """
    for n in range(len(NAMES)):
        tokens[n]["begin"] = start
        tokens[n]["length"] = 0
        tokens[n]["what"] = ABSENT
    if end - start < 2 or end - start > MAX_EVENT_BYTES or byte_at(text, start) != OPEN:
        return False
    seen, given, last = 0, 0, len(NAMES)
    at = start
    b = COMMA
    while b == COMMA:
        at += 1
        which = int(after[last])
        if others_between(text, at, keys, which * LANES) & KEY_FLAGS[which] == 0:
            at += int(KEY_LENGTHS[which]) + 3
        else:
            while at < end and byte_at(text, at) == SPACE:
                at += 1
            if at >= end or byte_at(text, at) != QUOTE:
                return False
            which = key_at(text, at, keys)
            if which < 0:
                return False
            after[last] = which
            at += int(KEY_LENGTHS[which]) + 2
            while at < end and byte_at(text, at) == SPACE:
                at += 1
            if at >= end or byte_at(text, at) != COLON:
                return False
            at += 1
        last = which
        if seen >> which & 1 != 0:
            return False
        seen |= 1 << which
        while at < end and byte_at(text, at) == SPACE:
            at += 1
        if at >= end:
            return False
        b = byte_at(text, at)
        wanted = int(KEY_TYPES[which])
        if b == QUOTE:
            close = at + 1 + int(KEY_SIZES[which])
            if close == at + 1:
                close = text_end(text, at + 1, end)
                if close < 0 and KEY_WIDE[which]:
                    close = wide_text_end(text, at + 1, end)
            elif close >= end or byte_at(text, close) != QUOTE:
                return False
            length = close - at - 1
            if wanted != TEXT or length <= 0 or length > int(KEY_LIMITS[which]):
                return False
            tokens[which]["what"] = TEXT
            tokens[which]["begin"] = at + 1
            tokens[which]["length"] = length
            given |= 1 << which
            at = close + 1
        elif ZERO <= b <= NINE:
            close = number_end(text, at, end)
            if wanted != NUMBER or close < 0:
                return False
            tokens[which]["what"] = NUMBER
            tokens[which]["begin"] = at
            tokens[which]["length"] = close - at
            given |= 1 << which
            at = close
        else:
            if which == SAMPLE_RATE or (b != NULL and wanted != TRUE):
                return False  # alone among those that may be absent, it may not be null
            if b != NULL:
                tokens[which]["what"] = TRUE if b == T else FALSE
            at = literal_end(text, at, end)
            if at < 0:
                return False
        while at < end and byte_at(text, at) == SPACE:
            at += 1
        if at >= end:
            return False
        b = byte_at(text, at)
    return b == CLOSE and at + 1 == end and given & ALL_NEEDED == ALL_NEEDED


@kernel
def whole(text: Any, start: int, end: int, most: int) -> int:
    """Return a whole number; BAD where it is none or too large."""
    if end - start > MOST_DIGITS:
        return BAD
    if end - start <= BYTES:
        if digits_at(text, start) & ((1 << (end - start)) - 1) != (1 << (end - start)) - 1:
            return BAD
        value = number_in(word_at(text, start), end - start)
        return value if value <= most else BAD
    value = 0
    for i in range(start, end):
        b = byte_at(text, i)
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
        b = byte_at(text, i)
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
        b = byte_at(text, i)
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
def day_of(text: Any, at: int, memo: Any) -> int:
    """Return the day of a date ``YYYY-MM-DD``; BAD for other forms. The last one is remembered."""
    low, high = word_at(text, at), word_at(text, at + 2)
    if memo[0] == low and memo[1] == high:
        return int(np.int64(memo[2]))
    if byte_at(text, at + 4) != MINUS or byte_at(text, at + 7) != MINUS:
        return BAD
    year, month, day = digits(text, at, 4), digits(text, at + 5, 2), digits(text, at + 8, 2)
    if year < FIRST_YEAR or month < 1 or month > 12 or day < 1 or day > days_in(year, month):
        return BAD
    memo[0], memo[1] = low, high
    memo[2] = np.uint64(days_of(year, month, day))
    return days_of(year, month, day)


@kernel
def time_of(text: Any, start: int, end: int, memo: Any) -> int:
    """Return a UTC time with at most six decimals in microseconds; BAD for other forms.

    It ends with ``Z``, or with ``+00:00`` as Python's ``isoformat`` writes it.
    """
    length = end - start - 1
    if length < 19 or length > 31:
        return BAD
    if byte_at(text, end - 1) != 0x5A:
        if word_at(text, end - 6) & NO_OFFSET_BYTES != NO_OFFSET:
            return BAD
        length -= 5
    if length > 26 or length < 19:
        return BAD
    if byte_at(text, start + 10) != 0x54:
        return BAD
    days, seconds = day_of(text, start, memo), clock_in(word_at(text, start + 11))
    if days == BAD or seconds < 0:
        return BAD
    micro = 0
    if length > 19:
        places = length - 20
        if byte_at(text, start + 19) != POINT or places == 0:
            return BAD
        micro = digits(text, start + 20, places)
        if micro < 0:
            return BAD
        for _ in range(6 - places):
            micro *= 10
    return (days * 86_400 + seconds) * SECOND + micro


@kernel
def signed(high: int, low: int) -> int:
    """Return two 32-bit numbers as one signed 64-bit number."""
    if high >= 1 << 31:
        high -= 1 << 32
    return high * (1 << 32) + low


@kernel
def fingerprint(text: Any, start: int, end: int) -> int:
    """Return the first 64 bits of 32 hexadecimal digits, never 0; BAD where they are not that."""
    if end - start != FINGERPRINT_BYTES:
        return BAD
    if hexes_at(text, start) != ALL_LANES:
        return BAD
    high, low = hex_in(word_at(text, start)), hex_in(word_at(text, start + BYTES))
    key = signed(high, low)
    if key == BAD:
        return BAD  # one in 2^64: let the second way read it
    return 1 if key == 0 else key


@kernel
def halves_of(text: Any, start: int, end: int, halves: Any) -> bool:
    """Note both halves of a UUID as signed numbers; return False where it is not in usual form."""
    if end - start != ID_BYTES:
        return False
    if hexes_at(text, start) != HEXES or hexes_at(text, end - LANES) != HEXES_TO_END:
        return False
    for place in DASHES:
        if byte_at(text, start + place) != MINUS:
            return False
    second = word_at(text, start + 9) & LOW_HALF | word_at(text, start + 14) << HALF
    third = word_at(text, start + 19) & LOW_HALF | word_at(text, start + 24) << HALF
    a, b = hex_in(word_at(text, start)), hex_in(second)
    c, d = hex_in(third), hex_in(word_at(text, start + 28))
    halves[0] = signed(a, b)
    halves[1] = signed(c, d)
    return True


@kernel
def begin_of(tokens: Any, n: int) -> int:
    """Return where a value begins."""
    return int(tokens[n]["begin"])


@kernel
def end_of(tokens: Any, n: int) -> int:
    """Return where a value ends."""
    return int(tokens[n]["begin"]) + int(tokens[n]["length"])


@kernel
def number_of(n: int, least: int, most: int, text: Any, tokens: Any) -> int:
    """Return the whole number under a name, 0 where it is absent; BAD where it does not fit."""
    if int(tokens[n]["what"]) == ABSENT:
        return 0
    value = whole(text, begin_of(tokens, n), end_of(tokens, n), most)
    return value if value >= least else BAD


@kernel
def moment_of(n: int, text: Any, tokens: Any, memo: Any) -> int:
    """Return the time under a name, 0 where it is absent; BAD where it has another form."""
    if int(tokens[n]["what"]) == ABSENT:
        return 0
    return time_of(text, begin_of(tokens, n), end_of(tokens, n), memo)


@kernel
def read_numbers(text: Any, tokens: Any, event: Any) -> bool:
    """Fill numbers and flags; return False where one is not as it should be."""
    size = number_of(BODY_BYTES, 0, MOST_BODY, text, tokens)
    status = number_of(STATUS, 100, 599, text, tokens)
    attempt = number_of(ATTEMPT, 1, 1_000_000, text, tokens)
    asn = number_of(ASN, 0, 0xFFFFFFFF, text, tokens)
    if min(size, status, attempt, asn) == BAD:
        return False
    event["body_bytes"] = size
    event["status"] = status
    event["attempt"] = attempt
    event["asn"] = asn & 0x7FFFFFFF
    event["duration_ms"] = -1.0
    if int(tokens[DURATION_MS]["what"]) == NUMBER:
        event["duration_ms"] = decimal(
            text, begin_of(tokens, DURATION_MS), end_of(tokens, DURATION_MS)
        )
        if float(event["duration_ms"]) < 0.0:
            return False
    event["weight"] = 1.0
    if int(tokens[SAMPLE_RATE]["what"]) == NUMBER:
        rate = decimal(text, begin_of(tokens, SAMPLE_RATE), end_of(tokens, SAMPLE_RATE))
        if rate <= 0.0 or rate > 1.0:
            return False
        event["weight"] = min(1.0 / rate, 1e6)
    event["signature_ok"] = flag(int(tokens[SIGNATURE_OK]["what"]))
    event["duplicate"] = flag(int(tokens[DUPLICATE]["what"]))
    return whole(text, begin_of(tokens, SCHEMA), end_of(tokens, SCHEMA), 1) == 1


@kernel
def read_times(text: Any, tokens: Any, event: Any, memo: Any) -> bool:
    """Fill times and country; return False where one is not as it should be."""
    t = moment_of(RECEIVED_AT, text, tokens, memo)
    signed_at = moment_of(SIGNED_AT, text, tokens, memo)
    created = moment_of(EVENT_CREATED_AT, text, tokens, memo)
    if min(t, signed_at, created) == BAD:
        return False
    event["t"] = t
    event["signed_at"] = signed_at
    event["created_at"] = created
    if int(tokens[COUNTRY]["what"]) == TEXT:
        at = begin_of(tokens, COUNTRY)
        a, b = byte_at(text, at), byte_at(text, at + 1)
        if end_of(tokens, COUNTRY) - at != 2 or not (65 <= a <= 90 and 65 <= b <= 90):
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
def read_codes(
    text: Any, tokens: Any, event: Any, seed: int, slots: Any, entries: Any, arena: Any,
    recent: Any,
) -> bool:  # fmt: skip
    """Fill codes and receiver; return False where a text was not seen before."""
    p = find_again(OF_CODES, CODES, IN_CODES, text, tokens, seed, slots, entries, arena, recent)
    if p < 0:
        return False
    codes = int(entries[p]["values"][0])
    event["kind"] = codes & 0xFF
    event["verdict"] = codes >> 8 & 0xFF
    event["reason"] = codes >> 16 & 0xFF
    event["believed"] = codes >> 24
    p = find_again(
        OF_RECEIVER, RECEIVER, IN_RECEIVER, text, tokens, seed, slots, entries, arena, recent
    )
    if p < 0:
        return False
    event["receiver"] = int(entries[p]["values"][0])
    event["service"] = int(entries[p]["values"][1])
    return True


@kernel
def read_names(
    text: Any, tokens: Any, event: Any, seed: int, slots: Any, entries: Any, arena: Any,
    recent: Any, nothing: int,
) -> bool:  # fmt: skip
    """Fill type, key and client; return False where a text was not seen before."""
    event["event_type"] = nothing
    if int(tokens[EVENT_TYPE]["what"]) == TEXT:
        p = find_again(OF_TYPE, NAME, IN_TYPE, text, tokens, seed, slots, entries, arena, recent)
        if p < 0:
            return False
        event["event_type"] = int(entries[p]["values"][0])
    if int(tokens[KEY_ID]["what"]) == TEXT:
        p = find_again(OF_KEY, NAME, IN_KEY, text, tokens, seed, slots, entries, arena, recent)
        if p < 0:
            return False
        event["key_id"] = int(entries[p]["values"][0])
    length = int(tokens[USER_AGENT]["length"]) + int(tokens[TLS_FP]["length"])
    if length + int(tokens[CLIENT_CERT_FP]["length"]) == 0:
        return True
    p = find_again(OF_CLIENT, CLIENT, IN_CLIENT, text, tokens, seed, slots, entries, arena, recent)
    if p < 0:
        return False
    event["client"] = int(entries[p]["values"][0])
    return True


@kernel
def read_who(
    at: int, text: Any, tokens: Any, event: Any, slots: Any, entries: Any, arena: Any
) -> bool:
    """Fill sender, endpoint and class; return False where their texts were not seen before."""
    p = find_from(at, WHO, 0, IN_WHO, text, tokens, slots, entries, arena)
    if p < 0:
        return False
    event["sender"] = int(entries[p]["values"][0])
    event["endpoint"] = int(entries[p]["values"][1])
    event["who"] = int(entries[p]["values"][2]) >> 8
    event["registered"] = int(entries[p]["values"][2]) & 0xFF
    return True


@kernel
def read_source(
    at: int, text: Any, tokens: Any, event: Any, slots: Any, entries: Any, arena: Any
) -> bool:
    """Fill the source; return False where its text was not seen before."""
    p = find_from(at, FROM, int(event["who"]), IN_FROM, text, tokens, slots, entries, arena)
    if p < 0:
        return False
    event["address"] = int(entries[p]["values"][0])
    event["source"] = int(entries[p]["values"][1])
    event["in_range"] = int(entries[p]["values"][2])
    return True


@kernel
def read_proofs(text: Any, tokens: Any, event: Any, by_order: Any) -> bool:
    """Fill fingerprints, and check verdict against reason and signature."""
    delivery, signature = 0, 0
    if int(tokens[DELIVERY_FP]["what"]) == TEXT:
        delivery = fingerprint(text, begin_of(tokens, DELIVERY_FP), end_of(tokens, DELIVERY_FP))
    if int(tokens[SIGNATURE_FP]["what"]) == TEXT:
        signature = fingerprint(text, begin_of(tokens, SIGNATURE_FP), end_of(tokens, SIGNATURE_FP))
    body = 0
    if int(tokens[BODY_FP]["what"]) == TEXT:
        body = fingerprint(text, begin_of(tokens, BODY_FP), end_of(tokens, BODY_FP))
    path = int(event["endpoint"])
    if int(tokens[PATH_FP]["what"]) == TEXT:
        path = fingerprint(text, begin_of(tokens, PATH_FP), end_of(tokens, PATH_FP))
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


@lean
def scan(
    text: Any, spans: Any, first: int, columns: Any, halves: Any, taken: Any, tokens: Any,
    after: Any, keys: Any, memo: Any, seed: int, slots: Any, entries: Any, arena: Any,
    recent: Any, nothing: int, by_order: Any,
) -> int:  # fmt: skip
    """Fill the columns of events from ``first`` on; return the first that is not taken.

    ``tokens`` is room for what stands under each name, ``after`` and ``memo`` for what is
    remembered from one event to the next; ``keys`` are ``KEYS``. ``PAD`` bytes must stand behind
    the last event. What texts stand for is asked for some work before it is needed: memory answers
    meanwhile.
    """
    for e in range(first, len(spans)):
        start, end = int(spans[e, 0]), int(spans[e, 1])
        for ahead in range(end, end + min(end - start, USUAL_BYTES), LINE):
            prefetch(text, ahead)  # the next one is about as long
        if not look_through(text, start, end, tokens, after, keys):
            return e
        at = place_of(WHO, 0, IN_WHO, text, tokens, seed, slots)
        event = columns[e]
        if not read_numbers(text, tokens, event):
            return e
        if not read_times(text, tokens, event, memo):
            return e
        if not halves_of(text, begin_of(tokens, ID), end_of(tokens, ID), halves[e]):
            return e
        entry_ahead(at, slots, entries)
        if not read_codes(text, tokens, event, seed, slots, entries, arena, recent):
            return e
        text_ahead(at, slots, entries, arena)
        if not read_names(text, tokens, event, seed, slots, entries, arena, recent, nothing):
            return e
        if not read_who(at, text, tokens, event, slots, entries, arena):
            return e
        at = place_of(FROM, int(event["who"]), IN_FROM, text, tokens, seed, slots)
        if not read_proofs(text, tokens, event, by_order):
            return e
        if not read_source(at, text, tokens, event, slots, entries, arena):
            return e
        taken[e] = 1
    return len(spans)
