"""A vendor as a row of data: where it is, which wire it speaks, what it knows; in vendors.toml and in polychat.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .addresses import BASE_URL, address_fault
from .decoding import given
from .settings import option
from .strict import Strict

HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
"""Headers that can carry a key; the first as ``Bearer``."""

CAN = (
    *("tools", "schema", "json", "images", "audio", "files", "reasoning", "seed", "logprobs", "n", "stop"),
    *("penalties", "top_k", "parallel_tools", "cache"),
)
"""What a row may say its vendor can do."""


@dataclass(frozen=True, slots=True)
class VendorSpec:
    """One vendor, or a server of one's own."""

    name: str
    """As targets say it: ``groq``."""
    wire: str = field(metadata={"about": "The API format: `openai-chat`, `openai-responses`, `anthropic`, `gemini`, `ollama`."})
    base_url: str = field(
        repr=False,  # it may hold a password, as headers may hold a token
        metadata={
            "about": (
                "The URL that the API's paths are appended to, such as `http://127.0.0.1:9101/v1`; `{name}` is one of `params`."
            ),
            "pattern": BASE_URL,
            "form": "a URL that begins with http:// or https://, names a host, and has no ? or #",
        },
    )
    title: str = option("", "The display name.")
    key: tuple[str, ...] = option((), "Environment variables that may hold the key; the first that is set is used.")
    key_optional: bool = option(False, "Whether the vendor also accepts requests without a key.")
    header: str = option(
        "authorization", "The header that carries the key; `authorization` sends it as `Bearer`.", choices=HEADERS
    )
    models: str = option("/models", "The path of the model list, relative to the base URL; empty if there is none.")
    models_shape: str = option("", "The API format of the model list, if it differs from `wire`.")
    embeddings: bool = option(False, "Whether embeddings are supported.")
    serves: tuple[str, ...] = option((), "Model names to list if the vendor has no model list or must not be asked for it.")
    can: tuple[str, ...] = option(
        (), "Capabilities that at least some of the vendor's models have, by its documentation.", choices=CAN
    )
    headers: Mapping[str, str] = option(dict, "Headers to send with every request.", shown=False)
    params: Mapping[str, str] = option(dict, "The environment variable for each `{name}` in `base_url`.")
    rename: Mapping[str, str] = option(dict, "Request fields that the vendor knows by another name.")
    drop: Mapping[str, str] = option(
        dict, ("Request fields that the vendor rejects or ignores, with the reason. Dropped fields are reported as losses.")
    )
    message_drop: tuple[str, ...] = option((), "Message fields that the vendor rejects.")
    reasoning: str = option("", "The message field that carries reasoning, if it differs from the API's.")
    call_id: int = option(0, "The length of tool call ids in letters and digits; other ids are mapped. 0 allows any.")
    stops: int = option(0, "Maximum number of stop sequences. 0 means any number.")
    developer: bool = option(True, "Whether the role `developer` is supported; otherwise it is sent as `system`.")
    one_system: bool = option(
        False,
        ("Whether all system messages must be merged into one at the start, since some chat templates reject others."),
    )
    assistant_after_tool: bool = option(
        False, "Whether a tool result must be followed by an assistant message; if so, one is inserted."
    )
    custom_tools: bool = option(
        False,
        ("Whether tools of the type `custom` are supported; otherwise each is sent as a function with one text argument."),
    )
    stream_usage: bool = option(True, "Whether usage can be requested at the end of a stream.")
    source: str = option("", "The public page that documents this.")
    checked: str = option("", "The month in which that page was last checked.")
    note: str = option("", "A note for users, in one line.")
    api_key: str = option("", "A reference to the key: `env:NAME`, `file:PATH` or `keyring:NAME`.", reference=True)
    host_env: str = option(
        "",
        ("The environment variable in which the server's own tools expect its address, as `HOST[:PORT]` or a URL."),
    )
    untrusted: frozenset[str] = frozenset()
    """The keys that a file said which was found in a folder and named by nobody; they lead no secret anywhere."""


INTERNAL = ("name", "untrusted")
"""Fields of a row that no file says."""


def spec_of(name: str, table: object, strict: Strict, key: str, base: VendorSpec | None = None) -> VendorSpec:
    """The row that a table says, over ``base`` where the vendor is known already. Raises ``BadInput``."""
    values = values_of(table, strict, key)
    for wanted in ("wire", "base_url"):
        if base is None and wanted not in values:
            raise strict.error(key, f"has no {wanted}: a vendor of your own requires wire and base_url")
    return replace(base, **values) if base is not None else VendorSpec(name, **values)


def values_of(table: object, strict: Strict, key: str) -> dict[str, Any]:
    """What a table says of a row, whichever vendor's it is. Raises ``BadInput``."""
    values = given(VendorSpec, table, key, strict, without=INTERNAL)
    fault = address_fault(values["base_url"]) if "base_url" in values else ""
    if fault:
        raise strict.error(f"{key}.base_url", fault)
    return values
