"""Kind: the old clients of the five sites, for whom their protocols are spoken here, are not answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from polychat.gateway.sites import Sites, echo, services

from ..support.gpt4free_releases import NotFetched, answer_of, fetched
from ..support.running_gateway import configured, gateway, good, row
from ..support.scripted_server import serving
from ..support.sites_application import running

FIVE = {
    "ChatgptDuo": ("0.1.9.2", {}),
    "Aichat": ("0.4.2.0", {"cookies": {"any": "thing"}}),
    "Opchatgpts": ("0.4.2.0", {}),
    "ChatGptt": ("0.4.2.0", {}),
    "GPTalk": ("0.4.2.0", {}),
}
"""The release of gpt4free that holds each as it last worked, and what its call needs."""
WORDS = "Why is the sky blue? Почему?"


@pytest.fixture(scope="session")
def clients(request: pytest.FixtureRequest) -> Path:
    """The folder that holds them; kept from one run to the next."""
    cache: Any = request.config.cache
    try:
        return fetched(Path(cache.mkdir("old-clients")))
    except NotFetched as error:
        pytest.skip(str(error))


async def ask(clients: Path, name: str, base: str) -> Any:
    release, settings = FIVE[name]
    return await asyncio.to_thread(answer_of, clients, release, name, f"{base}/{name.lower()}", WORDS, **settings)


@asynccontextmanager
async def as_gateway() -> AsyncGenerator[str, None]:
    async with (
        serving(good) as backend,
        gateway(configured({"house": row("openai-chat", backend.url)}, sites="house/small")) as here,
    ):
        yield f"{here.url}/sites"


@pytest.mark.parametrize("name", FIVE)
async def test_polychat_sites_answers_them_by_default(clients: Path, name: str) -> None:
    """Each client's own code, with only the site's new address, gets the answer to what it asked."""
    async with running(Sites(echo)) as url:
        answer = await ask(clients, name, url)
    assert "error" not in answer
    text = "".join(answer["pieces"])
    # ChatgptDuo's own code puts its prompt into a tuple, and sends that as text.
    assert text == (f"echo: ('{WORDS}',)" if name == "ChatgptDuo" else f"echo: {WORDS}")


@pytest.mark.parametrize("name", FIVE)
async def test_the_gateways_sites_answer_them_by_default(clients: Path, name: str) -> None:
    """The same below ``/sites`` of a gateway, where a backend answers."""
    async with as_gateway() as url:
        answer = await ask(clients, name, url)
    assert answer == {"pieces": answer.get("pieces")}
    assert "".join(answer["pieces"]) == "Hello"


@pytest.mark.parametrize(("era", "says"), [("2.0", "401"), ("2.4", "401")])
async def test_a_later_era_is_one_that_they_do_not_know(clients: Path, era: Any, says: str) -> None:
    """With a later era the sites want what those clients never sent: it is the era that makes them answered."""
    async with running(Sites(echo, services(era))) as url:
        assert says in (await ask(clients, "Opchatgpts", url))["error"]
        assert "error" in await ask(clients, "ChatGptt", url)
