"""The server under test: on both event loops, before an application that notes what it was asked."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from ...support.server_in_thread import LOOPS, App, Hosted, hosted


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def here(app: App, loop: str) -> Generator[Hosted]:
    with hosted(app, loop=loop) as running:
        yield running
