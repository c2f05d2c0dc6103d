"""The bytes of request bodies that one process holds, and their limit."""

from __future__ import annotations


class BodyMemoryFull(Exception):  # without one there is no body
    """With this body, the bodies of all current requests exceed ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the request bodies in progress have reached the limit of {limit:,} bytes (gateway.limits.body_total): retry later"
        )
        self.limit = limit


class Bodies:
    """The bodies of all current requests in one process."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0
        """Bytes."""


class Share:
    """One request's part of ``bodies``, from its first byte until ``release``."""

    __slots__ = ("_bodies", "_limit", "size")

    def __init__(self, bodies: Bodies, limit: int, size: int = 0) -> None:
        """``size``: bytes that are counted already."""
        self._bodies, self._limit, self.size = bodies, limit, size

    def take(self, size: int) -> None:
        """Add this many bytes, which may be negative. Raises ``BodyMemoryFull``; earlier bytes stay until ``release``."""
        self.size += size
        self._bodies.held += size
        if size > 0 and self._bodies.held > self._limit:
            raise BodyMemoryFull(self._limit)

    def release(self) -> None:
        """The request is over."""
        self._bodies.held -= self.size
        self.size = 0
