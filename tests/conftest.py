"""What every test has: a server to script, and a wall round loopback."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from polychat import config

from .support.scripted_server import Handler, Server, serving

if TYPE_CHECKING:
    from .support.database_servers import PostgreSQL

settings.register_profile("tests", deadline=None)  # no test is timed
settings.load_profile("tests")
_walled = False


def _loopback(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return str(host).endswith(".localhost")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _walled or event not in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        return
    address = args[1] if event != "socket.getaddrinfo" else args
    if isinstance(address, tuple) and not _loopback(address[0]):
        raise PermissionError(f"a test reached for {address[0]!r}: only loopback is open to tests")


sys.addaudithook(_audit)
# A shell starts what runs beside it (`make test &`) with interrupts ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take a minute begin first: the last one would run alone, with the other processes idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _only_loopback(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No test reaches beyond loopback, nor reads this user's own configuration and keys."""
    global _walled
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-configuration"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "no-state"))
    monkeypatch.delenv("POLYCHAT_COOKIES", raising=False)
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL", "OLLAMA_HOST"))]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "browser_cookie3", None)  # as if it were not installed: no test opens a person's browsers
    _walled = True
    yield
    _walled = False


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``own_config(text)`` writes the person's own polychat.toml, which everybody reads, and gives its path."""
    folder = tmp_path / "own-configuration/polychat"

    def write(text: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
        file = folder / config.FILE
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
async def serve() -> Any:
    """``await serve(handler, tls=None)`` starts a scripted server for this test and gives its ``Server``."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, tls: Any = None) -> Server:
            return await stack.enter_async_context(serving(handler, tls))

        yield start


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    from .support.database_servers import postgresql  # with SQLAlchemy, which most tests do without

    with postgresql() as server:
        yield server
