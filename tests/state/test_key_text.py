"""Keys: what their text says without a store, and what of it may be seen."""

from __future__ import annotations

import re
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import BadInput, redact
from polychat.state.key_text import LONGEST, PATTERN, digest_of, is_key, mistake_in, new_key, public_id_of

KEY = new_key()
TEXT = KEY.text.encode()


def test_two_keys_share_nothing_and_scanners_find_both() -> None:
    """A new key has the form that scanners look for, alone and within other text, and its public id is in it."""
    other = new_key()
    assert {KEY.public_id, *KEY.text.split("-")[1:]} & {other.public_id, *other.text.split("-")[1:]} == set()
    assert re.findall(PATTERN, f"curl -H 'Authorization: Bearer {KEY.text}' # or {other.text}") == [KEY.text, other.text]
    assert public_id_of(TEXT) == KEY.public_id == KEY.text.split("-")[1]
    assert (len(KEY.text), mistake_in(TEXT), is_key(TEXT), len(digest_of(TEXT))) == (LONGEST, "", True, 32)


@given(st.integers(3, LONGEST - 1), st.sampled_from(digits + ascii_letters + "-_ \u00e9"))
def test_one_wrong_character_is_detected(place: int, letter: str) -> None:
    """Wherever one character differs, the key is known as mistyped without a store; the error does not repeat it."""
    wrong = (KEY.text[:place] + letter + KEY.text[place + 1 :]).encode()
    if wrong == TEXT:
        return
    assert mistake_in(wrong)
    with pytest.raises(BadInput) as caught:
        public_id_of(wrong)
    assert KEY.text[20:50] not in str(caught.value)


@given(st.integers(4, LONGEST - 2))
def test_a_part_or_two_swapped_characters_are_detected(place: int) -> None:
    """A key that was cut off, copied twice over, or typed with two neighbours swapped is not one."""
    swapped = TEXT[:place] + TEXT[place + 1 : place + 2] + TEXT[place : place + 1] + TEXT[place + 2 :]
    assert swapped == TEXT or mistake_in(swapped)
    assert "copy it completely" in mistake_in(TEXT[:place])
    assert "copy it completely" in mistake_in(TEXT + TEXT[:place])


def test_the_secret_is_not_shown() -> None:
    """Neither by ``repr`` nor in foreign text that an error shows; the public id stays, so that a log names the key."""
    secret = KEY.text.split("-")[2]
    assert secret not in repr(KEY)
    for foreign in (f"wrong key {KEY.text}!", f"no such key: '{KEY.text}'", f"x={KEY.text[:-3]}", KEY.text[:40]):
        shown = redact(foreign)
        assert (secret[:8] in shown, KEY.public_id in shown) == (False, True), shown
