"""Attributes of elements in a page: what a chat widget tells its own script."""

from __future__ import annotations

from html.parser import HTMLParser


class _Elements(HTMLParser):
    def __init__(self, class_name: str | None, has: tuple[str, ...]) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[dict[str, str]] = []
        self._class_name = class_name
        self._has = has

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes: dict[str, str] = {}
        for name, value in attrs:
            attributes.setdefault(name, value or "")  # of two attributes of one name a browser takes the first
        named = self._class_name is None or self._class_name in attributes.get("class", "").split()
        if named and all(name in attributes for name in self._has):
            self.found.append(attributes)

    handle_startendtag = handle_starttag


def elements(html: str, class_name: str | None = None, *, has: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The attributes of every element of that class which has the named ones, in the page's order, unescaped.

    Spaces round ``=``, single, double and no quotes are all the same. Without a class, elements of any kind.
    """
    parser = _Elements(class_name, has)
    parser.feed(html)
    parser.close()
    return parser.found
