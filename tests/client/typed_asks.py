"""What a type checker knows of asks: mypy reads this file with ``src`` (``make check``), and nothing runs it.

``assert_type`` states what an expression is; a ``type: ignore`` states that a misuse is an error, since mypy's strict mode
refuses one that is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

import polychat


@dataclass
class City:
    name: str


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}}


async def a_type_is_the_answers() -> None:
    """With a type as ``schema`` the parsed value is of that type, or ``None`` where the answer has no text."""
    assert_type(await polychat.ask("?", schema=City), polychat.Reply[City])
    assert_type((await polychat.ask("?", model="a/b", schema=City, temperature=0)).parsed, City | None)
    assert_type((await polychat.ask("?", schema=list[City])).parsed, list[City] | None)
    assert_type(polychat.ask_sync("?", schema=City).parsed, City | None)
    assert_type((await polychat.Client("a/b").ask("?", schema=City)).parsed, City | None)
    assert_type(polychat.stream("?", schema=City).reply().parsed, City | None)
    assert_type(polychat.Client("a/b").stream("?", schema=City).reply().parsed, City | None)


async def misuse_is_an_error() -> None:
    """A member that the type has not, and a value that may be ``None``."""
    reply = await polychat.ask("?", schema=City)
    assert reply.parsed is not None
    assert_type(reply.parsed.name, str)
    reply.parsed.size  # type: ignore[attr-defined]  # noqa: B018
    (await polychat.Client().ask("?", schema=City)).parsed.name  # type: ignore[union-attr]  # noqa: B018


async def without_a_type_it_is_anything() -> None:
    """A JSON schema, a union or no schema say nothing of the value; ``Reply`` alone is ``Reply[Any]``."""
    reply: polychat.Reply = await polychat.ask("?", schema=SCHEMA)
    assert_type(reply, polychat.Reply[Any])
    assert_type((await polychat.ask("?", schema=City | None)).parsed, Any | None)
    assert_type(await polychat.ask("?"), polychat.Reply[Any])
    assert_type(await polychat.Client("a/b", schema=City).ask("?"), polychat.Reply[Any])
    assert_type(polychat.ask_sync("?", stop="x"), polychat.Reply[Any])
    streamed: polychat.Stream = polychat.stream("?")
    assert_type(streamed.reply().parsed, Any | None)


async def a_keyword_that_is_none_is_an_error() -> None:
    """A name misspelt, a value of another type; what a provider of your own takes goes by ``options``."""
    await polychat.ask("?", temprature=1)  # type: ignore[call-overload]
    polychat.stream("?", max_tokens="many")  # type: ignore[call-overload]
    polychat.ask_sync("?", schema=City, temprature=1)  # type: ignore[call-overload]
    polychat.stream_sync("?", temprature=1)  # type: ignore[call-arg]
    polychat.Client(temprature=1)  # type: ignore[call-arg]
    await polychat.Client().ask("?", temprature=1)  # type: ignore[call-overload]
    await polychat.embed("?", model="a/b", temperature=1)  # type: ignore[call-arg]
    assert_type(await polychat.ask("?", schema=City, options={"page": "a"}), polychat.Reply[City])
    assert_type(await polychat.ask("?", temperature=None, stop=["a"], options={"page": "a"}), polychat.Reply[Any])
