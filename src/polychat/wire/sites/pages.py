"""Attributes of elements in a page, by which a chat widget passes its settings to its own script.

Tags are recognized as browsers do. A page may be hostile: the standard library's parser, in some of the supported Pythons,
raises on ``<![x`` and takes minutes for a megabyte of ``<!--``. These functions never raise, and take linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_NAME = re.compile(r"[a-zA-Z][^\s/>]*+")
_GAP = re.compile(r"[\s/]*+")
_ATTRIBUTE = re.compile(
    r"""([^\s/>][^\s/>=]*+) (?: \s*+ = \s*+ (?: "([^"]*+)" | '([^']*+)' | (?!["']) ([^\s>]*+) ) | (?!\s*+=) )""", re.VERBOSE
)
_RAW = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "textarea", "title")}
"""Elements whose content is text, and their ends."""


def elements(html: str, class_name: str | None = None, *, has: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The attributes of every element of that class which has the named ones, in the page's order, unescaped.

    Spaces around ``=``, and single, double or no quotes, make no difference. Without a class, elements of any kind.
    """
    return [
        attributes
        for attributes in _start_tags(html)
        if (class_name is None or class_name in attributes.get("class", "").split()) and all(name in attributes for name in has)
    ]


def _start_tags(html: str) -> Iterator[dict[str, str]]:
    """The attributes of each start tag outside comments and scripts; an element that is not closed extends to the end."""
    at = 0
    while (at := html.find("<", at)) >= 0:
        if html.startswith("<!--", at):
            at = _past(html, "-->", at + 2)  # <!--> is a complete comment
        elif html.startswith(("</", "<!", "<?"), at):
            at = _past(html, ">", at)
        elif (name := _NAME.match(html, at + 1)) is None:
            at += 1  # a plain character: 1 < 2
        else:
            attributes, at = _attributes(html, name.end())
            if attributes is not None:
                yield attributes
            if (raw := _RAW.get(name[0].lower())) is not None:
                end = raw.search(html, at)
                at = len(html) if end is None else end.start()


def _past(html: str, mark: str, at: int) -> int:
    place = html.find(mark, at)
    return len(html) if place < 0 else place + len(mark)


def _attributes(html: str, at: int) -> tuple[dict[str, str] | None, int]:
    """The attributes up to ``>`` and the position after it; none if the page ends before."""
    attributes: dict[str, str] = {}
    while (gap := _GAP.match(html, at)) is not None and (at := gap.end()) < len(html):
        if html[at] == ">":
            return attributes, at + 1
        attribute = _ATTRIBUTE.match(html, at)
        if attribute is None:
            break  # a quote that is never closed
        value = attribute[2] or attribute[3] or attribute[4] or ""
        attributes.setdefault(attribute[1].lower(), unescape(value))  # browsers take the first of two with the same name
        at = attribute.end()
    return None, len(html)
