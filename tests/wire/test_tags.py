"""Opaque parts in the places of another vendor's wire."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polychat.types import Opaque
from polychat.wire.tags import tagged, untagged

LETTERS = st.text(st.characters(exclude_categories=["Cs"]))


@given(LETTERS.filter(bool), LETTERS, st.none() | LETTERS | st.sampled_from(["r", "", "~r", "."]), st.booleans())
@example("gemini", "x", "r", False)
@example("gemini", "pc1.a.b", None, True)
@example("a.b~r", "", "%72", True)
def test_anothers_comes_back_as_it_was(vendor: str, data: str, item: str | None, redacted: bool) -> None:
    """Vendor, data, id and whether it is redacted survive a client that only knows another wire, whatever letters they hold."""
    opaque = Opaque(vendor, data, item, redacted)
    assert untagged(tagged(opaque, "\0native"), "\0native") == opaque


@given(LETTERS)
@example("pc1.gemini.x")
def test_the_natives_own_is_its_data(data: str) -> None:
    """It goes out as it is, but where it would look like a tag, and comes back as the native's."""
    text = tagged(Opaque("native", data), "native")
    assert text == data or data.startswith("pc1.")
    assert untagged(text, "native") == Opaque("native", data)


@pytest.mark.parametrize("text", ["", "pc1", "pc1.", "pc1..x", "pc1.gemini", "pc1.a~r~b~c.d", "PC1.gemini.x"])
def test_what_is_no_tag_is_the_natives(text: str) -> None:
    """A tag that is broken is nobody else's."""
    assert untagged(text, "native") == Opaque("native", text)
