"""A vendor as a row of data: where it is, which wire it speaks, what it knows; in vendors.toml and in polychat.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta

from .addresses import BASE_URL, address_fault
from .decoding import decoded
from .file_errors import FileErrors
from .value_types import Count, OneOrMore, Reference, Table, VariableName, about

KeyHeader: TypeAlias = Literal["authorization", "x-api-key", "x-goog-api-key", "api-key"]
"""Headers that can carry a key; the first as ``Bearer``."""
_Basic: TypeAlias = Literal["tools", "schema", "json", "images", "audio", "files", "reasoning"]
_Further: TypeAlias = Literal["seed", "logprobs", "n", "stop", "penalties", "top_k", "parallel_tools", "cache"]
Capability: TypeAlias = Literal[_Basic, _Further]
"""What a vendor can do, as its entry names it."""
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
BaseURL: TypeAlias = Annotated[
    str,
    Meta(
        pattern=f"^({BASE_URL})$",
        extra={"form": "a URL that begins with http:// or https://, names a host, and has no ? or #"},
    ),
]
Header: TypeAlias = Annotated[str, Meta(extra={"hidden": True})]
"""It may be a token, for any header."""


class VendorTable(Table, frozen=True):
    """An entry of vendors.toml, or a table ``[providers.NAME]``, which needs only the keys that it changes of such an entry."""

    wire: Annotated[str, about("The API format: `openai-chat`, `openai-responses`, `anthropic`, `gemini`, `ollama`.")] = ""
    base_url: Annotated[
        BaseURL,
        about("The URL that the API's paths are appended to, such as `http://127.0.0.1:9101/v1`; `{name}` is one of `params`."),
    ] = ""
    title: Annotated[str, about("The display name.")] = ""
    key: Annotated[
        OneOrMore[VariableName], about("Environment variables that may hold the key; the first that is set is used.")
    ] = ()
    key_optional: Annotated[bool, about("Whether the vendor also accepts requests without a key.")] = False
    header: Annotated[KeyHeader, about("The header that carries the key; `authorization` sends it as `Bearer`.")] = (
        "authorization"
    )
    models: Annotated[str, about("The path of the model list, relative to the base URL; empty if there is none.")] = "/models"
    models_shape: Annotated[str, about("The API format of the model list, if it differs from `wire`.")] = ""
    embeddings: Annotated[bool, about("Whether embeddings are supported.")] = False
    serves: Annotated[
        OneOrMore[str], about("Model names to list if the vendor has no model list or must not be asked for it.")
    ] = ()
    can: Annotated[
        OneOrMore[Capability], about("Capabilities that at least some of the vendor's models have, by its documentation.")
    ] = ()
    headers: Annotated[Mapping[str, Header], about("Headers to send with every request.")] = {}
    params: Annotated[Mapping[str, VariableName], about("The environment variable for each `{name}` in `base_url`.")] = {}
    rename: Annotated[Mapping[str, str], about("Request fields that the vendor knows by another name.")] = {}
    drop: Annotated[
        Mapping[str, str],
        about("Request fields that the vendor rejects or ignores, with the reason. Dropped fields are reported as losses."),
    ] = {}
    message_drop: Annotated[OneOrMore[str], about("Message fields that the vendor rejects.")] = ()
    reasoning: Annotated[str, about("The message field that carries reasoning, if it differs from the API's.")] = ""
    call_id: Annotated[
        Count, about("The length of tool call ids in letters and digits; other ids are mapped. 0 allows any.")
    ] = 0
    stops: Annotated[Count, about("Maximum number of stop sequences. 0 means any number.")] = 0
    developer: Annotated[bool, about("Whether the role `developer` is supported; otherwise it is sent as `system`.")] = True
    one_system: Annotated[
        bool,
        about("Whether all system messages must be merged into one at the start, since some chat templates reject others."),
    ] = False
    assistant_after_tool: Annotated[
        bool, about("Whether a tool result must be followed by an assistant message; if so, one is inserted.")
    ] = False
    prefill: Annotated[
        str, about("The message field that marks an assistant message at the end as the beginning of the answer.")
    ] = ""
    prefill_models: Annotated[
        OneOrMore[str], about("The models that `prefill` works with, where it does not with all; `*` stands for anything.")
    ] = ()
    custom_tools: Annotated[
        bool,
        about("Whether tools of the type `custom` are supported; otherwise each is sent as a function with one text argument."),
    ] = False
    stream_usage: Annotated[bool, about("Whether usage can be requested at the end of a stream.")] = True
    source: Annotated[str, about("The public page that documents this.")] = ""
    checked: Annotated[str, about("The month in which that page was last checked.")] = ""
    note: Annotated[str, about("A note for users, in one line.")] = ""
    api_key: Annotated[
        Reference, about("A reference to the key: `env:NAME`, `file:PATH`, `keyring:NAME` or `exec:COMMAND`.")
    ] = ""
    host_env: Annotated[
        VariableName,
        about("The environment variable in which the server's own tools expect its address, as `HOST[:PORT]` or a URL."),
    ] = ""


class VendorSpec(VendorTable, frozen=True, kw_only=True):
    """One vendor, or a server of the user's own."""

    name: str
    """As in targets: ``groq``."""
    untrusted: frozenset[str] = frozenset()
    """The keys from a file in the current folder that the user did not name; they must not cause a secret to be sent."""

    def __repr__(self) -> str:
        return f"VendorSpec(name={self.name!r}, wire={self.wire!r})"  # the URL may hold a password, a header a token


def spec_of(name: str, table: object, errors: FileErrors, key: str, base: VendorSpec | None = None) -> VendorSpec:
    """The vendor that a table describes, over ``base`` where the vendor is known already. Raises ``BadInput``."""
    entry = decoded(VendorTable, table, key, errors)
    check_base_url(entry, errors, key)
    assert isinstance(table, dict)  # or it had not been decoded
    for required in ("wire", "base_url"):
        if base is None and required not in table:
            raise errors.error(key, f"has no {required}: a vendor of your own requires wire and base_url")
    changes = {changed: getattr(entry, changed) for changed in table}
    return base.replace(**changes) if base is not None else VendorSpec(name=name, **changes)


def check_base_url(entry: VendorTable, errors: FileErrors, key: str) -> None:
    """Raises ``BadInput`` for an address that a pattern alone does not find wrong."""
    if entry.base_url and (fault := address_fault(entry.base_url)):
        raise errors.error(f"{key}.base_url", fault)
