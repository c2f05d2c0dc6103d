"""Which requests a target takes: ``conditions`` of a route, a text for each target: ``tools prompt<=8000 region=eu``."""

from __future__ import annotations

from functools import lru_cache

from .traits import Traits


class Condition:
    """All of its terms have to hold. ``count`` is how many there are."""

    __slots__ = ("_terms", "count")

    def __init__(self, text: str) -> None:
        self._terms = tuple(text.split())
        self.count = len(self._terms)

    def unmet(self, traits: Traits) -> str:
        """The first term that does not hold for a request; empty where all do."""
        return next((term for term in self._terms if not _holds(term, traits)), "")


ANY = Condition("")


@lru_cache(maxsize=1024)
def condition(text: str) -> Condition:
    """The condition that ``text`` is; its form was checked when the file was read."""
    return Condition(text) if text.strip() else ANY


def _holds(term: str, traits: Traits) -> bool:
    if term.startswith("prompt<="):
        return traits.prompt_tokens <= int(term[8:])
    if term.startswith("prompt>"):
        return traits.prompt_tokens > int(term[7:])
    name, is_tag, value = term.partition("=")
    if is_tag:
        return traits.tags.get(name) == value
    return (term.lstrip("!") in traits.needs) != term.startswith("!")
