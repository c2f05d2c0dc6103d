"""How the pool finds the address of a host."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from polychat.http.pool.connecting import connect

from ...support.patience import PATIENCE

NAME = "house.test"


class Names:
    """A name service that has several answers ready, and gives each when it is told to."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        """The addresses of each lookup in turn, none if the name is not known."""
        self.lookups = 0
        self.open = threading.Event()

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> Any:
        self.lookups += 1
        assert self.open.wait(PATIENCE)
        if not (addresses := self.answers.pop(0)):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.open.set()


@pytest.fixture
async def port() -> AsyncGenerator[int]:
    """Of a server on loopback."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=socket.create_server(("127.0.0.1", 0)))
    yield server.sockets[0].getsockname()[1]
    server.close()


async def connected(*waiting: asyncio.Task[Any]) -> list[Any]:
    """What became of them; those that are open are closed."""
    done = await asyncio.gather(*waiting, return_exceptions=True)
    for each in done:
        if not isinstance(each, BaseException):
            each.transport.abort()
    return [type(each).__name__ for each in done]


async def begun(names: Names, port: int, count: int) -> list[asyncio.Task[Any]]:
    """Tasks that wait for one lookup."""
    names.open.clear()
    before = names.lookups
    tasks = [asyncio.create_task(connect(NAME, port, None)) for _ in range(count)]
    async with asyncio.timeout(PATIENCE):
        while names.lookups == before:
            await asyncio.sleep(0)
    return tasks


async def test_an_address_is_not_looked_up(names: Names, port: int) -> None:
    """It is connected at once, without a thread."""
    assert await connected(asyncio.create_task(connect("127.0.0.1", port, None))) == ["PoolConnection"]
    assert names.lookups == 0


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])
async def test_who_needs_a_name_at_the_same_time_waits_for_one_lookup(names: Names, port: int, addresses: list[str]) -> None:
    """Also when the first that needed it is cancelled; the next after them looks again. Of several addresses one connects."""
    names.answers = [addresses, addresses]
    first, *others = await begun(names, port, 4)
    first.cancel()
    await asyncio.wait([first])
    names.open.set()
    assert await connected(first, *others) == ["CancelledError", *["PoolConnection"] * 3]
    assert names.lookups == 1
    assert await connected(asyncio.create_task(connect(NAME, port, None))) == ["PoolConnection"]
    assert names.lookups == 2


@pytest.mark.parametrize(
    ("address", "connected_to"),
    [(("fe80::1", 80, 0, 4), "fe80::1%4"), (("fe80::1%eth0", 80, 0, 4), "fe80::1%eth0"), (("::1", 80, 0, 0), "::1")],
)
async def test_the_interface_of_a_link_local_address_is_kept(
    monkeypatch: pytest.MonkeyPatch, address: tuple[Any, ...], connected_to: str
) -> None:
    """Without it the system refuses to connect: names of the local network may have no other address."""
    used: list[str] = []

    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", address)]

    async def create_connection(_: Any, host: str, *__: Any, **___: Any) -> None:
        used.append(host)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    (await connect(NAME, 80, None)).timer.close()
    assert used == [connected_to]


async def test_a_name_that_is_not_known_is_looked_up_again(names: Names, port: int) -> None:
    """Each that waited gets the error, and nobody after them."""
    names.answers = [[], ["127.0.0.1"]]
    waiting = await begun(names, port, 2)
    names.open.set()
    assert await connected(*waiting) == ["gaierror", "gaierror"]
    assert await connected(asyncio.create_task(connect(NAME, port, None))) == ["PoolConnection"]


async def test_a_lookup_that_nobody_waits_for_may_fail(names: Names, port: int) -> None:
    """Its error is no error of the loop's."""
    names.answers = [[]]
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    (only,) = await begun(names, port, 1)
    (lookup,) = asyncio.all_tasks() - {only, asyncio.current_task()}
    only.cancel()
    names.open.set()
    await asyncio.wait([only, lookup])
    del lookup, only
    gc.collect()  # the error and the lookup refer to each other
    assert told == []
