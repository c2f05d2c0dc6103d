"""How many bytes of requests' bodies one process holds, and how many it may."""

from __future__ import annotations


class NoRoom(Exception):  # what has none is the body
    """The bodies of all requests under way are ``limit`` bytes with this one."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the request bodies in progress have reached the limit of {limit:,} bytes (gateway.limits.body_total): retry later"
        )
        self.limit = limit


class Bodies:
    """Of all requests under way in one process."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0
        """Bytes."""


class Share:
    """One request's part of ``bodies``, from its first byte until ``release``."""

    __slots__ = ("_bodies", "_limit", "size")

    def __init__(self, bodies: Bodies, limit: int) -> None:
        self._bodies, self._limit = bodies, limit
        self.size = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more, or fewer. Raises ``NoRoom``; what was taken before stays until ``release``."""
        self.size += size
        self._bodies.held += size
        if size > 0 and self._bodies.held > self._limit:
            raise NoRoom(self._limit)

    def release(self) -> None:
        """The request is over."""
        self._bodies.held -= self.size
        self.size = 0
