"""The pages of a running gateway that ``polychat top`` reads: ``/metrics``, and those below ``/admin``."""

from __future__ import annotations

from typing import Any

from msgspec import DecodeError, json

from ...errors import redact
from ...http.exchange import Exchange
from ...http.timeouts import Timeouts

_TIMEOUTS = Timeouts(connect=5.0, first=10.0, idle=10.0, total=20.0)
_LARGEST = 16 * 1024 * 1024
"""Bytes of a page."""
_WHY = {
    401: "the gateway does not accept the key: set POLYCHAT_ADMIN_KEY to one of its [gateway.admin] keys",
    404: "the gateway has no admin keys: add one to [gateway.admin] of its polychat.toml",
}
_NO_KEY = "no key was given: set POLYCHAT_ADMIN_KEY to one of the [gateway.admin] keys of the gateway"


class PageRefused(Exception):
    """The gateway answers, and does not give this page; the message says why."""


class GatewayPages:
    """Those of the gateway at ``url``; ``key`` is an admin key, or empty."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._has_key = bool(key)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def metrics(self) -> str:
        """In Prometheus' text format. Raises ``PageRefused``, ``PolychatError``."""
        return (await self._read("/metrics", "text/plain")).decode("utf-8", "replace")

    async def admin(self, path: str, listing: str) -> dict[str, Any]:
        """A page, which has a list of this name. Raises ``PageRefused``, ``PolychatError``."""
        body = await self._read(f"/admin/{path}", "application/json")
        try:
            value = json.decode(body)
        except (DecodeError, RecursionError):
            value = None
        if not isinstance(value, dict) or not isinstance(value.get(listing), list):
            raise PageRefused(f"/admin/{path.partition('?')[0]} is not of a gateway of polychat")
        return value

    async def _read(self, path: str, kind: str) -> bytes:
        headers = {"accept": kind, **self._headers}
        async with Exchange("GET", f"{self.url}{path}", headers, None, timeouts=_TIMEOUTS) as response:
            body = await response.read(_LARGEST)
            if response.status == 200:
                return body
            raise PageRefused(self._why(response.status, body))

    def _why(self, status: int, body: bytes) -> str:
        message = _message(body)
        if status == 404 and "no endpoint" not in message and message:
            return message
        if status == 401 and not self._has_key:
            return _NO_KEY
        return _WHY.get(status) or message or f"the gateway answers {status}"


def _message(body: bytes) -> str:
    """Of an error of ``/admin``; empty for another body."""
    try:
        match json.decode(body):
            case {"error": {"message": str(message)}}:
                return redact(message, 200)
    except (DecodeError, RecursionError):
        pass
    return ""
