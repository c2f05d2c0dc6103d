"""Elements of pages, as browsers tell them."""

from __future__ import annotations

from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.wire.sites.pages import elements


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<div class='a' x='1'>", {"x": "1"}),
        ('<p CLASS="b a\tc" X = "1">', {"x": "1"}),
        ("<i class=a x=1/>", {"x": "1/"}),
        ("<i class=a x/>", {"x": ""}),
        ("<i class=a\n\tx\n=\n'1'\n/>", {"x": "1"}),
        ("<i class=a x=1 x=2>", {"x": "1"}),
        ("<i class=a x=don't>", {"x": "don't"}),
        ("<i class=a x='&quot;&#039;&amp;'>", {"x": "\"'&"}),
        ("<i class=a x='<b class=a y=1>'>", {"x": "<b class=a y=1>"}),
        ("1 < 2 <i class=a x= >", {"x": ""}),
        ("<![if IE]><i class=a><![endif]>", {}),
        ("<![x[<i class=b>]]><i class=a>", {}),
        ("<!DOCTYPE html><?xml?></ p><i class=a>", {}),
        ("<!--><i class=a>", {}),
    ],
)
def test_an_element_in_every_hand(html: str, expected: dict[str, str]) -> None:
    """Quotes, spaces, capitals, entities and the text before: the same attributes."""
    (attributes,) = elements(html, "a")
    assert {name: value for name, value in attributes.items() if name != "class"} == expected


@pytest.mark.parametrize(
    "html",
    [
        "<!-- <i class=a> -->",
        "<script>'<i class=a>'</script>",
        "<SCRIPT>'</scripts><i class=a>'</SCRIPT >",
        "<title><i class=a></title>",
        "<textarea><i class=a></textarea>",
        "<script><i class=a>",
        "<!-- <i class=a>",
        "<i class=a",
        "<i class=a x='>",
        "<i class=aa>",
        "<i x='class=a'>",
        "&lt;i class=a>",
        "</i class=a>",
    ],
)
def test_what_is_no_element_is_not_found(html: str) -> None:
    """Comments, scripts, text, ends, and tags that never close."""
    assert elements(html, "a") == []


def test_elements_come_in_order_and_by_what_they_have() -> None:
    """Of one class or of any, and only with the attributes asked for."""
    html = "<i class=a x=1><b class=c x=2><i class=a y=3><i class=a x=4>"
    assert [element["x"] for element in elements(html, "a", has=("x",))] == ["1", "4"]
    assert [element["x"] for element in elements(html, has=("x",))] == ["1", "2", "4"]


@given(st.text(), st.text())
def test_any_value_arrives_as_it_was(value: str, before: str) -> None:
    """Escaped into either quotes, behind any text."""
    for quote in "'\"":
        html = f"<p>{escape(before)}</p><i class=a x={quote}{escape(value)}{quote}>"
        (element,) = elements(html, "a")
        assert element["x"] == value


@given(st.text(st.sampled_from("<>!-/='\"& \nacx?[]sript"), max_size=60))
def test_nothing_raises(html: str) -> None:
    """Whatever the page holds."""
    assert all("class" in element for element in elements(html, "a"))


@pytest.mark.parametrize(
    "piece", ["<!--", "<", "<a ", "<a x='", "<![CDATA[", "</", "<a x=\"'>", "<script>", "<script></scrip", "<a x  ="]
)
def test_a_page_made_to_be_slow_is_not(piece: str) -> None:
    """A megabyte that takes minutes where each sign is looked for to the end again."""
    assert elements(piece * (1_000_000 // len(piece)), "b") == []
