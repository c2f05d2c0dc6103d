"""Connections that are kept between sessions: one connector for each event loop, closed with it."""

from __future__ import annotations

import aiohttp

from ..per_loop import PerLoop

IDLE = 4.0
"""Seconds after which an idle connection is closed. Common servers close theirs after 5 or more: ours must be first."""


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE)


_connectors = PerLoop(_connector)
kept_connector = _connectors.get
"""The running loop's connector, which callers must not close."""
