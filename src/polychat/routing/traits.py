"""What of a request counts when its target is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from .resolve import Target

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Traits:
    """Of a request of which nothing is known; subclasses look when they are asked."""

    is_choosy = False
    """Whether ``unfit`` is to be asked of each target."""

    def unfit(self, target: Target) -> str:
        """Why ``target`` is not asked for this while others may be; empty where nothing is against it."""
        return ""

    @property
    def affinity(self) -> int | None:
        """64 bits that stay the same for all requests of one conversation; ``None``: it is not known which this belongs to."""
        return None

    @property
    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has; 0 where that is not known."""
        return 0

    @cached_property
    def needs(self) -> frozenset[str]:
        """What a backend has to be able to do: words of ``config.vendor_spec.Capability``."""
        return frozenset()

    @property
    def tags(self) -> Mapping[str, str]:
        """What the client says of the request for routing, such as its region."""
        return _NO_TAGS


UNKNOWN = Traits()
