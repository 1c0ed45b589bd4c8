"""Which texts compiled code is taught, and what a stranger's texts cost the others."""

from __future__ import annotations

from detectors.words import CLIENT, FROM, MOST_ENTRIES, NAME, Words


def meet(words: Words, text: str) -> bool:
    """See a text as the decoder does; tell whether it was added."""
    wanted = words.wants(NAME, (text,))
    if wanted:
        words.add(NAME, (text,), (len(text), 0, 0))
    return wanted


def test_what_is_known_is_not_wanted_again() -> None:
    """A text is wanted until it was added, for each kind and class by itself."""
    words = Words()
    assert [meet(words, "a") for _ in range(3)] == [True, False, False]
    assert words.wants(CLIENT, ("a", None, None))
    words.add(FROM, ("a",), (1, 1, 1), salt=3)
    assert [words.wants(FROM, ("a",), salt) for salt in (3, 4)] == [False, True]


def test_the_longest_texts_of_any_script_are_learned() -> None:
    """As long as the schema allows, of four bytes a character."""
    words = Words()
    client = tuple("\U0001f512" * length for length in (256, 128, 128))
    words.add(CLIENT, client, (7, 0, 0))
    assert words.get(CLIENT, client) == (7, 0, 0)
    assert not words.wants(CLIENT, client)


def test_texts_that_are_seen_once_do_not_drive_out_others() -> None:
    """Half of the memory is for whoever comes; the other half takes a second sight."""
    words = Words()
    assert meet(words, "known")
    added = [n for n in range(4 * MOST_ENTRIES) if meet(words, f"stranger {n}")]
    assert added == list(range(MOST_ENTRIES // 2 - 1))
    assert words.get(NAME, ("known",)) == (5, 0, 0)
    assert [meet(words, "later") for _ in range(3)] == [False, True, False]
    assert words.get(NAME, ("later",)) == (5, 0, 0)


def test_a_memory_that_is_full_takes_first_sights_again() -> None:
    """Texts seen twice fill the rest; then all is forgotten, and learned as at first."""
    words = Words()
    for n in range(MOST_ENTRIES):
        meet(words, f"known {n}")
        meet(words, f"known {n}")
    assert meet(words, "more") is False
    assert meet(words, "more")
    assert words.get(NAME, ("known 0",)) is None
    assert meet(words, "and more")
