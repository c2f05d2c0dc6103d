"""Whatever value a caller gives for whatever keyword: it is sent, or it is ``BadInput`` that names the keyword."""

from __future__ import annotations

import asyncio
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

import polychat
from polychat.backends.registry import Registry
from polychat.calls.call import UnknownOption
from polychat.calls.info import CallInfo
from polychat.calls.request import ASKING, KEYWORDS, request_of
from polychat.errors import BackendError, BadInput, NotReady, PolychatError, UnknownTarget
from polychat.wire.contract import names

from ..support.running_gateway import configured, good, row

HALF = "caf\udce9"


def deep() -> Any:
    nested: Any = []
    for _ in range(3000):
        nested = [nested]
    return nested


def endless() -> Any:
    value: dict[str, Any] = {}
    value["itself"] = value
    return value


ODD: dict[str, Callable[[], Any]] = {
    "half an emoji": lambda: HALF,
    "half an emoji in an object": lambda: {"a": HALF},
    "half an emoji as a name": lambda: {HALF: 1},
    "no number": lambda: float("nan"),
    "infinity in a list": lambda: [float("-inf")],
    "a number of 400 digits": lambda: 10**400,
    "a number of 5,000 digits": lambda: -(10**5000),
    "bytes": lambda: b"x\xff",
    "a set": lambda: {1},
    "an object of Python": object,
    "a class": lambda: int,
    "a function": lambda: print,
    "a part of a function": lambda: functools.partial(print),
    "a generator": lambda: (letter for letter in "ab"),
    "a complex number": lambda: 1j,
    "a path": lambda: pathlib.Path("not/there"),
    "a secret": lambda: pydantic.SecretStr("k"),
    "a name that is no text": lambda: {1: 2},
    "lists in lists": deep,
    "an object in itself": endless,
    "a number": lambda: 5,
    "a flag": lambda: True,
    "an empty text": lambda: "",
    "a text of several lines": lambda: "a\r\nb: c\0",
    "an empty object": dict,
    "a list of one": lambda: [1],
}


def checked(error: PolychatError, keyword: str) -> None:
    """An error says which keyword it is about, in letters that can be printed."""
    assert str(error).encode()
    # Some values are no nonsense, and others may say that nobody is there.
    assert isinstance(error, BadInput | UnknownTarget | NotReady | BackendError), (keyword, error)
    assert len(str(error)) < 3000, keyword


@pytest.mark.parametrize("wire", names())
def test_every_field_with_any_value(wire: str) -> None:
    """The request is written on this wire, or refused: no error of Python's own, and no check without an end."""
    backend = Registry(configured({"house": row(wire, "http://127.0.0.1:1")})).find("house")
    for keyword in KEYWORDS:
        for name, value in ODD.items():
            try:
                request, _ = request_of("hi", "small", {keyword: value()})
                backend.rehearse(request, CallInfo("allow"))
            except PolychatError as error:
                checked(error, keyword)
            except Exception as error:
                raise AssertionError(f"{keyword}: {name}") from error


@pytest.mark.filterwarnings(f"ignore::{UnknownOption.__module__}.{UnknownOption.__name__}")
@pytest.mark.parametrize("way", ["ask", "completion", "embed"])
async def test_every_option_with_any_value(serve: Any, way: str) -> None:
    """What says how a request is sent, and the words themselves, are read as strictly."""
    server, client = await serve(good), polychat.Client()

    async def call_with(keyword: str, name: str, value: Any) -> None:
        arguments: dict[str, Any] = {"prompt": "hi", "model": "openai/m", "api_key": "k", "base_url": f"{server.url}/v1"}
        arguments |= {"timeout": 1.0, keyword: value}
        prompt = arguments.pop("prompt")
        try:
            if way == "ask":
                await polychat.ask(prompt, **arguments)
            elif way == "embed":
                await polychat.embed(prompt, **arguments)
            else:
                turns = [{"role": "user", "content": prompt}]
                await client.chat.completions.create(messages=turns, **arguments)
        except PolychatError as error:
            checked(error, keyword)
        except Exception as error:
            raise AssertionError(f"{keyword}: {name}") from error

    keywords = ["prompt", "model", *(keyword.name for keyword in ASKING if keyword.name != "on_loss" or way != "embed")]
    if way == "ask":
        keywords.append("system")
    async with asyncio.TaskGroup() as group:
        for keyword in keywords:
            for name, value in ODD.items():
                group.create_task(call_with(keyword, name, value()))
