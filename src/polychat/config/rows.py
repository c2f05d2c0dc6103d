"""A vendor as a row of data: where it is, which wire it speaks, what it knows; in vendors.toml and in polychat.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ._strict import Strict
from .addresses import BASE_URL, address_fault
from .decoding import given
from .settings import option

HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Headers that can carry a key; the first as ``Bearer``."""

CAN = (
    *("tools", "schema", "json", "images", "audio", "files", "reasoning", "seed", "logprobs", "n", "stop"),
    *("penalties", "top_k", "parallel_tools", "cache"),
)
"""What a row may say its vendor can do."""


@dataclass(frozen=True, slots=True)
class Row:
    """One vendor, or a server of one's own."""

    name: str
    """As targets say it: ``groq``."""
    wire: str = field(
        metadata={"about": "How it is spoken to: `openai-chat`, `openai-responses`, `anthropic`, `gemini`, `ollama`."}
    )
    base_url: str = field(
        repr=False,  # it may hold a password, as headers may hold a token
        metadata={
            "about": "What the wire's paths are put after, such as `http://127.0.0.1:9101/v1`; `{name}` is one of `params`.",
            "pattern": BASE_URL,
            "form": "a URL that begins with http:// or https://, names a host, and has no ? or #",
        },
    )
    title: str = option("", "What people call it.")
    key: tuple[str, ...] = option((), "Environment variables that hold the key; the first found wins.")
    key_optional: bool = option(False, "Whether it also answers without a key.")
    header: str = option("authorization", "Which header carries the key; `authorization` as `Bearer`.", choices=HEADERS)
    models: str = option("/models", "Where the models' list is, after the base URL; empty where there is none.")
    models_shape: str = option("", "The wire whose shape that list has, where it is not the row's own.")
    embeddings: bool = option(False, "Whether the wire's embeddings are served there as well.")
    serves: tuple[str, ...] = option(
        (), "Models that are listed by name where the vendor has no list, or is not to be asked for it."
    )
    can: tuple[str, ...] = option((), "What the vendor's documentation says that its models can, some of them.", choices=CAN)
    headers: Mapping[str, str] = option(dict, "Headers that are sent with every request.", shown=False)
    params: Mapping[str, str] = option(dict, "For each `{name}` in `base_url`, the environment variable that fills it.")
    rename: Mapping[str, str] = option(dict, "Fields of a request that it knows by another name.")
    drop: Mapping[str, str] = option(
        dict, "Fields of a request that it refuses or passes over, and why. What is dropped is told as a loss."
    )
    message_drop: tuple[str, ...] = option((), "Fields of a message that it refuses.")
    reasoning: str = option("", "The field of a message that carries thoughts, where it is not the wire's.")
    call_id: int = option(0, "How many letters and digits the ids of tool calls have; others are mapped to such. 0: any.")
    stops: int = option(0, "How many texts that end the answer it takes at most. 0: any number.")
    developer: bool = option(True, "Whether it knows messages of the role `developer`; else they go out as `system`.")
    one_system: bool = option(
        False,
        "Whether all system messages are to be one before all others: templates may refuse a second or a late one.",
    )
    assistant_after_tool: bool = option(
        False, "Whether a message of the assistant must stand between a tool's result and what is said next; one is put there."
    )
    custom_tools: bool = option(
        False, "Whether tools of the type `custom` are known there; elsewhere each is sent as a function whose input is a text."
    )
    stream_usage: bool = option(True, "Whether usage at a stream's end can be asked for.")
    source: str = option("", "The public page that says so.")
    checked: str = option("", "The month in which that page was read.")
    note: str = option("", "One line that a user should know.")
    api_key: str = option("", "Where the key is: `env:NAME`, `file:PATH` or `keyring:NAME`.", reference=True)
    host_env: str = option(
        "",
        "The environment variable in which the server's own tools look for its host and port, `HOST[:PORT]` or a URL.",
    )
    untrusted: frozenset[str] = frozenset()
    """The keys that a file said which was found in a folder and named by nobody; they lead no secret anywhere."""


INTERNAL = ("name", "untrusted")
"""Fields of a row that no file says."""


def row_of(name: str, table: object, strict: Strict, key: str, base: Row | None = None) -> Row:
    """The row that a table says, over ``base`` where the vendor is known already. Raises ``BadInput``."""
    values = values_of(table, strict, key)
    for wanted in ("wire", "base_url"):
        if base is None and wanted not in values:
            raise strict.error(key, f"has no {wanted}: a vendor of your own needs wire and base_url")
    return replace(base, **values) if base is not None else Row(name, **values)


def values_of(table: object, strict: Strict, key: str) -> dict[str, Any]:
    """What a table says of a row, whichever vendor's it is. Raises ``BadInput``."""
    values = given(Row, table, key, strict, without=INTERNAL)
    fault = address_fault(values["base_url"]) if "base_url" in values else ""
    if fault:
        raise strict.error(f"{key}.base_url", fault)
    return values
