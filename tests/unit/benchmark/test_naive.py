"""The naive detectors that ours are held against: each does what its name says, once an hour."""

import numpy as np
import pytest

from detectors.event import EVENT, HOUR, MINUTE, REJECTED, SECOND, VERIFIED
from tests.bench.naive import (
    ExactAddress,
    FixedThreshold,
    River,
    SameSignature,
    ZScore,
    fresh,
    merged,
)

START = 490_000 * HOUR


def events(times, **columns):
    """Return events of one sender; what is not given is as usual."""
    made = np.zeros(len(times), EVENT)
    made["t"], made["sender"], made["address"] = times, 7, 8
    made["verdict"], made["body_bytes"] = VERIFIED, 1000
    made["unit"] = np.arange(1, len(made) + 1)
    for name, values in columns.items():
        made[name] = values
    return made


def said(naive, made):
    """Return the places at which it says something, and about what."""
    return [(one.event, one.detector) for one in merged(naive.walk(made), {})]


def test_a_threshold_counts_refusals_and_calls():
    """The tenth refusal in ten minutes is remarkable, and so is the thousandth call of an hour."""
    refused = events(START + np.arange(12) * 30 * SECOND, verdict=REJECTED)
    assert said(FixedThreshold(), refused) == [(9, "signature-failure-spike")]
    slow = events(START + np.arange(12) * 2 * MINUTE, verdict=REJECTED)
    assert said(FixedThreshold(), slow) == []
    many = events(START + np.arange(1100) * SECOND)
    assert said(FixedThreshold(), many) == [(999, "payload-volume")]


def test_an_address_and_a_signature_are_news_once():
    """A new address is a spoof, a known signature a replay; both without knowing any provider."""
    addresses = events(START + np.arange(4) * 2 * HOUR, address=[1, 1, 2, 1])
    assert said(ExactAddress(), addresses) == [(0, "spoofed-source"), (2, "spoofed-source")]
    units = events(START + np.arange(4) * 2 * HOUR, unit=[1, 2, 1, 0])
    assert said(SameSignature(), units) == [(2, "replay-burst")]


@pytest.mark.parametrize("naive", [ZScore, River])
def test_a_huge_body_is_far_from_the_mean(naive):
    """After a few hundred usual bodies one of a megabyte stands out."""
    sizes = np.random.Generator(np.random.PCG64(1)).uniform(900, 1100, 400)
    sizes[300] = 1_000_000
    made = events(START + np.arange(400) * MINUTE, body_bytes=sizes)
    assert (300, "payload-volume") in said(naive(), made)


def test_what_is_said_again_within_the_hour_is_one_opinion():
    """The hour begins anew with each repetition, as an incident that goes on."""
    made = events(START + np.arange(200) * MINUTE, unit=1)
    assert said(SameSignature(), made) == [(1, "replay-burst")]


def test_every_naive_detector_says_what_it_looks_at():
    """Only then can it be asked for that alone."""
    assert all(one.covers and one.name for one in fresh())
