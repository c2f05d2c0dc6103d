"""Connections that are kept between sessions: one connector for each event loop, closed with it."""

from __future__ import annotations

import aiohttp

from ..per_loop import PerLoop
from ..pool.keep_alive import SHORTEST


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=SHORTEST)


_connectors = PerLoop(_connector)
kept_connector = _connectors.get
"""The running loop's connector, which callers must not close."""
