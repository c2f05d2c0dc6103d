"""A running gateway whose keys are in a store of its process, and an administrator of it at noon."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.gateway.admission.accounting import Accounting
from polychat.gateway.admission.people_keys import PeopleKeys
from polychat.state.key_admin import KeyAdmin
from polychat.state.memory import MemoryStore
from polychat.state.store import StoreUnavailable

from .running_gateway import Answer, Running, Watched, asking, configured, gateway, row

NOON = 1_800_014_400.0
PATH, BODY = asking("openai-chat")


class Away(MemoryStore):
    """A store that cannot be reached while it is ``away``, and counts the looks for keys."""

    away = False
    looks = 0

    def key_by_digest(self, digest: bytes) -> Any:
        self.looks += 1
        self._check()
        return super().key_by_digest(digest)

    def last_change(self) -> int:
        self._check()
        return super().last_change()

    def changes(self, after: int) -> Any:
        self._check()
        return super().changes(after)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("the database cannot be used")


class House:
    """A running gateway, its store, and an administrator of it at noon."""

    def __init__(self, here: Running, store: Away, people: PeopleKeys) -> None:
        self.here, self.store, self.people = here, store, people
        self.now = NOON

    @property
    def admin(self) -> KeyAdmin:
        return KeyAdmin(self.store, "test", self.now)

    async def ask(self, key: str, path: str = PATH, body: Any = BODY, **headers: str) -> Answer:
        carried = {"authorization": f"Bearer {key}"} if key else {}
        return await self.here.ask(path, body, headers={**carried, **headers})


@asynccontextmanager
async def house(monkeypatch: pytest.MonkeyPatch, url: str, **settings: Any) -> AsyncGenerator[House]:
    """Its thread does not run: a test calls ``refresh`` itself."""
    store = Away()
    monkeypatch.setattr(PeopleKeys, "start", lambda self: None)

    def accounting(self: Watched, configured: Any) -> None:
        self.accounting = Accounting(configured, store)
        self.people = self.accounting.people

    monkeypatch.setattr(Watched, "_keep_keys", accounting)
    async with gateway(configured({"house": row("openai-chat", url)}, **settings)) as here:
        assert here.app.accounting is not None
        assert here.app.people is not None
        made = House(here, store, here.app.people)
        here.app.accounting.clock = lambda: made.now
        yield made
