"""The examples of the documents that polychat began from, word for word but for the imports, against the five services."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from polychat.gateway.sites import Sites, echo
from polychat.providers import Aichat, ChatgptDuo, ChatGptt, GPTalk, Opchatgpts, ProviderModelMixin
from polychat.types import Messages

from ..support.sites_application import running

logger = logging.getLogger(__name__)


@pytest.fixture(autouse=True)
async def _services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncGenerator[None, None]:
    """The five names lead to the five services on loopback; this user's browser has been on the one that wants cookies."""
    jar = tmp_path / "cookies.txt"
    jar.write_text("127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc\n")
    jar.chmod(0o600)
    monkeypatch.setenv("POLYCHAT_COOKIES", str(jar))
    async with running(Sites(echo)) as url:
        for provider in (ChatgptDuo, Opchatgpts, ChatGptt, GPTalk):
            monkeypatch.setattr(provider, "url", f"{url}/{provider.__name__.lower()}")
        monkeypatch.setattr(Aichat, "url", f"{url}/aichat/chat")
        monkeypatch.setattr(ChatGptt, "api_endpoint", f"{url}/chatgptt/wp-admin/admin-ajax.php")
        yield


async def test_chatgptduo(capsys: Any) -> None:
    """The example prints the answer."""
    messages = [
        {"role": "user", "content": "Привет, как дела?"},
    ]
    response = await ChatgptDuo.create_async(model="gpt-3.5-turbo", messages=messages)
    print(response)
    assert capsys.readouterr().out == "echo: Привет, как дела?\n"
    assert isinstance(ChatgptDuo.get_sources(), list)


async def test_aichat(capsys: Any) -> None:
    """Positional arguments and the example's keywords; the answer is printed."""
    model = "gpt-3.5-turbo"
    messages: list[dict[str, str]] = [{"role": "user", "content": "Hello, how are you?"}]
    proxy = None
    kwargs: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9}

    try:
        response = await Aichat.create_async(model, messages, proxy, **kwargs)
        print(f"Response: {response}")
    except Exception as ex:
        print(f"Error: {ex}")
    assert capsys.readouterr().out == "Response: echo: Hello, how are you?\n"


async def test_aichat_with_a_proxy_and_cookies(capsys: Any) -> None:
    """The example's proxy does not exist: its error is printed, as the example has it."""
    model = "gpt-3.5-turbo"
    messages: list[dict[str, str]] = [{"role": "user", "content": "Translate to french: Hello, how are you?"}]
    proxy = "http://127.0.0.1:1"
    cookies = {"cookie_name": "cookie_value"}
    kwargs: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "cookies": cookies}

    try:
        response = await Aichat.create_async(model, messages, proxy, **kwargs)
        print(f"Response: {response}")
    except Exception as ex:
        print(f"Error: {ex}")
    assert capsys.readouterr().out.startswith("Error: cannot connect through the proxy")


async def test_opchatgpts(capsys: Any) -> None:
    """Pieces of text, printed as they come."""
    messages = [{"role": "user", "content": "Hello, world!"}]
    async for message in Opchatgpts.create_async_generator(model="gpt-3.5-turbo", messages=messages):
        print(message)
    assert "".join(capsys.readouterr().out.split("\n")) == "echo: Hello, world!"


async def test_opchatgpts_and_its_errors(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy that is none the example's ``except RuntimeError`` takes the error."""
    messages = [{"role": "user", "content": "Hello, world!"}]
    caught = None
    try:
        async for message in Opchatgpts.create_async_generator(
            model="gpt-3.5-turbo", messages=messages, proxy="http://127.0.0.1:1"
        ):
            print(message)
    except RuntimeError as ex:
        caught = ex
        logger.error("Ошибка при получении ответа от Opchatgpts: %s", ex, exc_info=True)
    assert caught is not None
    assert capsys.readouterr().out == ""


async def test_chatgptt(capsys: Any) -> None:
    """An instance of the provider works as the class does."""
    provider = ChatGptt()
    async for response in provider.create_async_generator(model="gpt-4", messages=[{"role": "user", "content": "Привет!"}]):
        print(response)
    assert "".join(capsys.readouterr().out.split("\n")) == "echo: Привет!"


async def test_the_mixin(capsys: Any) -> None:
    """A class of one's own over the mixin."""

    class MyProvider(ProviderModelMixin):
        """Пример использования ProviderModelMixin."""

        default_model = "gpt-3.5-turbo"
        models = ["gpt-3.5-turbo", "gpt-4"]

        async def get_response(self, model: str, prompt: str) -> None:
            """Пример метода, использующего get_model."""
            model = self.get_model(model)
            print(f"Используется модель: {model}")

    await MyProvider().get_response("gpt-4", "Привет!")
    await MyProvider().get_response("gpt-5", "Привет!")
    assert capsys.readouterr().out == "Используется модель: gpt-4\nИспользуется модель: gpt-3.5-turbo\n"


async def test_gptalk(capsys: Any) -> None:
    """Pieces of text, after a login of its own."""
    messages: Messages = [{"role": "user", "content": "Привет, как дела?"}]
    async for message in GPTalk.create_async_generator(model="gpt-3.5-turbo", messages=messages):
        print(message)
    assert "".join(capsys.readouterr().out.split("\n")) == "echo: Привет, как дела?"
    assert GPTalk.used_times == 1
    assert GPTalk._auth is not None
