"""What every provider gets for its one method, and what old ones keep."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat import errors
from polychat.events import Event, Finish, Text
from polychat.providers import AsyncGeneratorProvider, AsyncProvider, ProviderModelMixin, UnknownOption, resolve
from polychat.types import AsyncResult, Messages

HELLO = [{"role": "user", "content": "hello"}]


class Counted(AsyncGeneratorProvider):
    """Three pieces, then whatever ``end`` says."""

    url = "https://counted.example"

    @classmethod
    async def reply(
        cls, model: Any, messages: Messages, call: Any, *, end: Any = None, seen: Any = None
    ) -> AsyncGenerator[list[Event], None]:
        if seen is not None:
            seen.append(call)
        yield [Text("a"), Text("b")]
        yield [Text("c"), end or Finish("complete")]


class Old(AsyncGeneratorProvider):
    """A provider of the contract's generator kind, written elsewhere."""

    @classmethod
    async def create_async_generator(cls, model: Any, messages: Messages, proxy: Any = None, **kwargs: Any) -> AsyncResult:
        yield f"{model} "
        yield f"{proxy} {kwargs}"


class Older(AsyncProvider):
    """A provider of the contract's one-piece kind, written elsewhere."""

    @classmethod
    async def create_async(cls, model: Any, messages: Messages, proxy: Any = None, **kwargs: Any) -> str:
        return f"{model} {proxy} {kwargs}"


async def test_one_method_gives_the_whole_contract() -> None:
    """``reply`` alone makes the generator, the joined text and the plain generator, on the class and on an instance."""
    for provider in (Counted, Counted()):
        assert [piece async for piece in provider.create_async_generator("m", HELLO)] == ["a", "b", "c"]
        assert await provider.create_async("m", HELLO) == "abc"
        assert list(provider.create_completion("m", HELLO)) == ["a", "b", "c"]


@pytest.mark.parametrize(("provider", "text"), [(Old, "m p {'k': 1}"), (Older, "m p {'k': 1}")])
async def test_providers_written_elsewhere_work(provider: Any, text: str) -> None:
    """A class with only the contract's method has the other ones too, and its keywords arrive as they were given."""
    assert "".join([piece async for piece in provider.create_async_generator("m", HELLO, "p", k=1)]) == text
    assert await provider.create_async("m", HELLO, proxy="p", k=1) == text
    assert "".join(provider.create_completion("m", HELLO, "p", k=1)) == text
    events = [event async for batch in provider.events("m", HELLO, "p", k=1) for event in batch]
    assert "".join(event.text for event in events[:-1]) == text
    assert events[-1] == Finish("complete")


async def test_a_provider_without_any_method_reports_that() -> None:
    """Neither of the three: an error that names the class, and no endless recursion."""
    empty = type("Empty", (AsyncProvider,), {})
    for attempt in (empty.create_async("m", HELLO), empty.events("m", HELLO).__anext__()):
        with pytest.raises(NotImplementedError, match="Empty"):
            await attempt


async def test_a_cut_reply_gives_what_came_and_then_raises() -> None:
    """``Truncated`` comes after the pieces, with their text and the provider's name."""
    got = []
    with pytest.raises(errors.Truncated) as caught:
        async for piece in Counted.create_async_generator("m", HELLO, end=Finish("truncated", error=errors.Truncated("cut"))):
            got.append(piece)
    assert (got, caught.value.text, caught.value.provider) == (["a", "b", "c"], "abc", "Counted")


async def test_keywords_of_the_contract_arrive() -> None:
    """proxy, timeout, base_url, cookies and headers reach the provider as one value."""
    seen: list[Any] = []
    now = asyncio.get_running_loop().time()
    options = {"base_url": "http://h/x/", "timeout": 5, "cookies": {"a": "b"}, "headers": {"X": "y"}, "seen": seen}
    await Counted.create_async("m", HELLO, "http://p", **options)
    call = seen[0]
    assert (call.proxy, call.base_url, call.timeout, call.cookies, call.headers) == (
        "http://p",
        "http://h/x",
        5,
        {"a": "b"},
        {"X": "y"},
    )
    assert now + 5 <= call.deadline <= asyncio.get_running_loop().time() + 5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", 0),
        ("timeout", "5"),
        ("timeout", True),
        ("base_url", "example.com"),
        ("base_url", "ftp://x"),
        ("cookies", "a=b"),
        ("headers", {"a": 1}),
    ],
)
async def test_a_keyword_that_cannot_be_is_named(option: str, value: Any) -> None:
    """The error names the field and nothing is asked."""
    with pytest.raises(errors.BadInput) as caught:
        await Counted.create_async("m", HELLO, **{option: value})
    assert (caught.value.field, caught.value.provider) == (option, "Counted")


async def test_an_unknown_keyword_is_named_once_a_process() -> None:
    """Old code passes keywords we do not know: it works, with one warning."""
    with pytest.warns(UnknownOption, match="'auth'"):
        assert await Counted.create_async("m", HELLO, auth=1) == "abc"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await Counted.create_async("m", HELLO, auth=1) == "abc"


class Endless(AsyncGeneratorProvider):
    """Pieces without end; says when it was closed."""

    closed = threading.Event()
    given = 0

    @classmethod
    async def reply(cls, model: Any, messages: Messages, call: Any) -> AsyncGenerator[list[Event], None]:
        try:
            while True:
                cls.given += 1
                yield [Text("x")]
                await asyncio.sleep(0)
        finally:
            cls.closed.set()


async def test_create_completion_beside_a_running_loop() -> None:
    """With a loop running here the ask goes on in a thread of its own, which is gone afterwards."""
    threads = set(threading.enumerate())
    pieces = Endless.create_completion("m", HELLO)
    assert [next(pieces), next(pieces)] == ["x", "x"]
    assert any(thread.name == "polychat-completion" for thread in set(threading.enumerate()) - threads)
    pieces.close()
    assert list(Counted.create_completion("m", HELLO)) == ["a", "b", "c"]
    assert set(threading.enumerate()) == threads


def test_leaving_create_completion_ends_the_ask() -> None:
    """A generator that is closed early, or dropped, cancels its ask and leaves no thread."""
    for leave in ("close", "drop"):
        Endless.closed.clear()
        threads = set(threading.enumerate())
        pieces = Endless.create_completion("m", HELLO)
        assert next(pieces) == "x"
        if leave == "close":
            pieces.close()
        else:
            del pieces
            gc.collect()
        assert Endless.closed.wait(10)
        assert set(threading.enumerate()) == threads


def test_a_slow_reader_holds_the_ask_up() -> None:
    """Pieces nobody takes do not pile up: the ask waits for its reader."""
    Endless.given = 0
    pieces = Endless.create_completion("m", HELLO)
    for _ in range(200):
        next(pieces)
    pieces.close()
    assert 200 <= Endless.given <= 200 + 66


def test_an_error_crosses_from_the_thread() -> None:
    """What the ask raises is raised to the plain caller, after the pieces before it."""
    pieces = Counted.create_completion("m", HELLO, end=Finish("failed", error=errors.ReplyFailed("no")))
    assert [next(pieces) for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(errors.ReplyFailed, match="no"):
        next(pieces)


def test_the_mixin_of_the_seed() -> None:
    """A class with the mixin alone picks a known model or the default, on the class and on an instance."""

    class Mine(ProviderModelMixin):
        default_model = "gpt-3.5-turbo"
        models = ["gpt-3.5-turbo", "gpt-4"]

    assert [Mine().get_model(name) for name in ("gpt-4", "nope", "", None)] == ["gpt-4", *["gpt-3.5-turbo"] * 3]


@pytest.mark.parametrize(
    ("target", "name", "model"),
    [
        ("ChatGptt/gpt-4o", "ChatGptt", "gpt-4o"),
        ("chatgptt:gpt-4o", "ChatGptt", "gpt-4o"),
        ("GPTALK", "GPTalk", None),
        ("local//a/b.gguf", "Local", "/a/b.gguf"),
        ("local/c:\\m.gguf", "Local", "c:\\m.gguf"),
        ("Aichat/", "Aichat", None),
    ],
)
def test_a_target_is_cut_at_its_first_slash_or_colon(target: str, name: str, model: str | None) -> None:
    """``provider/model``, ``provider:model``, a provider alone; the provider in any case."""
    provider, model_name = resolve(target)
    assert (provider.__name__, model_name) == (name, model)


def test_an_unknown_provider_names_the_nearest() -> None:
    """A slip of the finger gets the right name back."""
    with pytest.raises(errors.UnknownTarget, match="did you mean openai") as caught:
        resolve("opnai/gpt-4")
    assert "openai" in caught.value.near


@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGINT)"])
def test_a_process_may_end_amid_create_completion(leave: str) -> None:
    """A generator that is still open when the process ends holds nothing up."""
    code = f"""
import asyncio, os, signal, sys
from polychat.events import Text
from polychat.providers import AsyncGeneratorProvider
class Endless(AsyncGeneratorProvider):
    @classmethod
    async def reply(cls, model, messages, call):
        while True:
            yield [Text("x")]
            await asyncio.sleep(0)
pieces = Endless.create_completion("m", [])
assert next(pieces) == "x"
{leave}
"""
    ran = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True, check=False)
    assert ran.returncode in (3, 130, -signal.SIGINT)


class Quoting(AsyncGeneratorProvider):
    """Its reader puts what the service says into an error of its own."""

    url = "https://quoting.example"

    @classmethod
    async def reply(cls, model: Any, messages: Messages, call: Any) -> AsyncGenerator[list[Event], None]:
        yield [Text("It says: ")]
        raise errors.BadReply(f"not understood: {call.cookies['session']}")


async def test_an_error_of_its_own_shows_no_credential() -> None:
    """Whatever a class writes into it, a caller's cookie stays out."""
    with pytest.raises(errors.BadReply, match="not understood") as caught:
        async for _ in Quoting.events(None, HELLO, cookies={"session": "canary-4f9A71bX"}):
            pass
    assert "canary" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
