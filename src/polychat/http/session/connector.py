"""Connections kept between sessions: one connector an event loop, closed with it."""

from __future__ import annotations

import aiohttp

from ..per_loop import PerLoop

IDLE = 4.0
"""Seconds a connection may lie idle and still be used. Common servers close theirs after 5 or more: ours is gone before."""


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)


_connectors = PerLoop(_connector)
kept_connector = _connectors.get
"""The running loop's connector. It is not the caller's to close."""
