"""The chats that a gateway begins without a task, as a test sees them."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.gateway.app import Gateway
from polychat.gateway.chat.fast_path import FastChat
from polychat.http.server.cycle import FastPath, RequestCycle


class NotedFastPath:
    """The fast path of a gateway; ``chats`` gets each chat that it begins."""

    def __init__(self, fast_path: FastPath, chats: list[FastChat], *, opening: bool) -> None:
        self._fast_path, self._chats, self._opening = fast_path, chats, opening

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        is_taken = self._fast_path.begin(cycle, body)
        chat: Any = cycle.fast_run
        if isinstance(chat, FastChat) and (self._opening or chat._connection.opening is None):
            self._chats.append(chat)
        return is_taken


def noted_fast_chats(monkeypatch: pytest.MonkeyPatch, *, opening: bool = False) -> list[FastChat]:
    """Will have each chat, from now on, whose request is sent without a task on an open connection.

    ``opening``: on a new one too.
    """
    chats: list[FastChat] = []
    find = Gateway.fast_path

    def noted(self: Gateway, scope: Any) -> FastPath | None:
        found = find(self, scope)
        return found and NotedFastPath(found, chats, opening=opening)

    monkeypatch.setattr(Gateway, "fast_path", noted)
    return chats
