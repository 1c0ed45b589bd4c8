"""Rows of a table written as events, each in one go, from what its columns' texts stand for.

A column of a table is an array with one value for each row, or one value alone where all rows have
the same: so what is absent takes no memory. All are read-only, so that there is one compilation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.batch import MOST_WEIGHT
from detectors.compile import lean
from detectors.event import EVENT, PROVED_BY_ORDER, REASONS, VERDICTS, VERIFIED
from models.kernel import kernel

WORDS: Final = (
    "receiver", "endpoint", "kind", "sender", "verdict", "address", "believed", "reason", "key_id",
    "event_type", "country", "client", "who", "registered", "in_range",
)  # fmt: skip
"""Columns of an event that go by words; two of them stand for two columns each."""
(
    _RECEIVER, _ENDPOINT, _KIND, _SENDER, _VERDICT, _ADDRESS, _BELIEVED, _REASON, _KEY_ID,
    _EVENT_TYPE, _COUNTRY, _CLIENT, _WHO, _REGISTERED, _IN_RANGE,
) = range(len(WORDS))  # fmt: skip
NUMBERS: Final = (
    "received_at", "signed_at", "event_created_at", "body_bytes", "status", "attempt", "asn",
    "signature_ok", "duplicate", "delivery_fp", "signature_fp", "path_fp",
)  # fmt: skip
(
    _TIME, _SIGNED_AT, _CREATED_AT, _BODY_BYTES, _STATUS, _ATTEMPT, _ASN,
    _SIGNATURE_OK, _DUPLICATE, _DELIVERY, _SIGNATURE, _PATH,
) = range(len(NUMBERS))  # fmt: skip
_FLAGS: Final = 3
"""-1, 0 and 1: what a signature may have been."""
_REASON_CODES: Final = len(REASONS) + 1
_MOST_WEIGHT: Final = MOST_WEIGHT
_IS_VERIFIED: Final = int(VERIFIED)
_ASN_BITS: Final = 0x7FFFFFFF
_BLANK: Final = np.zeros(1, EVENT)
_BY_ORDER: Final = np.zeros(_REASON_CODES, np.bool_)
_BY_ORDER[[code for name, code in REASONS.items() if name in PROVED_BY_ORDER]] = True
VERDICT_CODES: Final = len(VERDICTS) * _REASON_CODES * _FLAGS


class Word(NamedTuple):
    """What one or more columns of a table stand for."""

    codes: NDArray[np.int32]
    """For each row, a row of ``values``."""
    values: NDArray[np.int64]
    """Shape (texts, columns of an event)."""

    @staticmethod
    def of(*values: int) -> Word:
        """Return what stands for the same in every row."""
        return Word(np.zeros(1, np.int32), np.array([values], np.int64))

    @property
    def is_alike(self) -> bool:
        """Whether all rows have the same."""
        return len(self.codes) == 1


def code_of(verdict: int, reason: int, signature_ok: int) -> int:
    """Return the number of a combination, below ``VERDICT_CODES``."""
    return (verdict * _REASON_CODES + reason) * _FLAGS + signature_ok + 1


_code_of = kernel(code_of)


@kernel
def _at(e: int, column: Any) -> int:
    """Return where a row's value is."""
    return e if len(column) > 1 else 0


@kernel
def _meant(word: Any, e: int, values: Any, column: int) -> int:
    return int(values[int(word[_at(e, word)]), column])


@kernel
def _number(column: Any, e: int) -> int:
    return int(column[_at(e, column)])


@lean
def _write(
    events: Any, ok: Any, blank: Any, codes: Any, values: Any, numbers: Any, duration: Any,
    rate: Any, accepted: Any, by_order: Any,
) -> None:  # fmt: skip
    """Write every row that is plainly valid, and mark those whose verdict contradicts itself."""
    for e in range(len(events)):
        events[e] = blank[0]
        if not ok[e]:
            continue
        verdict = _meant(codes[_VERDICT], e, values[_VERDICT], 0)
        reason = _meant(codes[_REASON], e, values[_REASON], 0)
        signature_ok = _number(numbers[_SIGNATURE_OK], e)
        if not accepted[_code_of(verdict, reason, signature_ok)]:
            ok[e] = False
            continue
        event = events[e]
        event["verdict"] = verdict
        event["reason"] = reason
        event["signature_ok"] = signature_ok
        event["t"] = _number(numbers[_TIME], e)
        event["signed_at"] = _number(numbers[_SIGNED_AT], e)
        event["created_at"] = _number(numbers[_CREATED_AT], e)
        event["body_bytes"] = _number(numbers[_BODY_BYTES], e)
        event["status"] = _number(numbers[_STATUS], e)
        event["attempt"] = _number(numbers[_ATTEMPT], e)
        event["asn"] = _number(numbers[_ASN], e) & _ASN_BITS
        event["duplicate"] = _number(numbers[_DUPLICATE], e)
        event["duration_ms"] = float(duration[_at(e, duration)])
        sampled = float(rate[_at(e, rate)])
        event["weight"] = min(1.0 / sampled, _MOST_WEIGHT)
        event["receiver"] = _meant(codes[_RECEIVER], e, values[_RECEIVER], 0)
        event["service"] = _meant(codes[_RECEIVER], e, values[_RECEIVER], 1)
        endpoint = _meant(codes[_ENDPOINT], e, values[_ENDPOINT], 0)
        event["endpoint"] = endpoint
        event["kind"] = _meant(codes[_KIND], e, values[_KIND], 0)
        event["sender"] = _meant(codes[_SENDER], e, values[_SENDER], 0)
        event["address"] = _meant(codes[_ADDRESS], e, values[_ADDRESS], 0)
        event["source"] = _meant(codes[_ADDRESS], e, values[_ADDRESS], 1)
        event["believed"] = _meant(codes[_BELIEVED], e, values[_BELIEVED], 0)
        event["key_id"] = _meant(codes[_KEY_ID], e, values[_KEY_ID], 0)
        event["event_type"] = _meant(codes[_EVENT_TYPE], e, values[_EVENT_TYPE], 0)
        event["country"] = _meant(codes[_COUNTRY], e, values[_COUNTRY], 0)
        event["client"] = _meant(codes[_CLIENT], e, values[_CLIENT], 0)
        event["who"] = _meant(codes[_WHO], e, values[_WHO], 0)
        event["registered"] = _meant(codes[_REGISTERED], e, values[_REGISTERED], 0)
        event["in_range"] = _meant(codes[_IN_RANGE], e, values[_IN_RANGE], 0)
        delivery = _number(numbers[_DELIVERY], e)
        signature = _number(numbers[_SIGNATURE], e)
        path = _number(numbers[_PATH], e)
        claimed = delivery if delivery != 0 else signature
        event["claimed"] = claimed
        event["signed"] = 1 if signature != 0 else 0
        event["path"] = path if path != 0 else endpoint
        if verdict == _IS_VERIFIED or signature_ok == 1 or (by_order[reason] and signature_ok < 0):
            event["unit"] = signature if signature != 0 else delivery
            event["delivery"] = claimed


def write(
    events: NDArray[Any],
    ok: NDArray[np.bool_],
    words: Mapping[str, Word],
    numbers: Mapping[str, NDArray[np.int64]],
    duration: NDArray[np.float64],
    rate: NDArray[np.float64],
    accepted: NDArray[np.bool_],
) -> None:
    """Write the rows that are plainly valid as events; the others are left blank.

    Args:
        events: What is written, whatever stood there.
        ok: Which rows are plainly valid; those whose verdict is not ``accepted`` are unmarked.
        words: Of each of ``WORDS`` what it stands for.
        numbers: Of each of ``NUMBERS``, microseconds where it is a time, keys where it is a
            fingerprint, 0 where there is none; flags have -1 there.
        duration: Milliseconds, -1 where there is none.
        rate: Shares of calls of which events are told, more than 0.
        accepted: By ``code_of`` a verdict, its reason and its signature.
    """
    _write(
        events, ok, _BLANK, _shown([words[name].codes for name in WORDS]),
        _shown([words[name].values for name in WORDS]), _shown([numbers[n] for n in NUMBERS]),
        *_shown([duration, rate]), accepted, _BY_ORDER,
    )  # fmt: skip


def _shown(arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """Return the same arrays as one kind of array: in one piece, and not to be written to."""
    views = tuple(np.ascontiguousarray(array).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views
