"""polychat.toml as a type, and such a text as a ``Config``. An unknown key is an error."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ..errors import BadInput
from .checks import check_gateway, check_model_name, check_names, check_price_name, check_provider_name, check_same_names
from .configured import FILE, Config
from .decoding import decoded
from .file_errors import FileErrors
from .mcp_server import McpServerSettings
from .settings import GatewaySettings, LocalModel, Price, Route
from .value_types import Table, about
from .vendor_spec import VendorTable, check_base_url

_MODEL = f'the path of a file ("path/to/model.gguf") or a table with {", ".join(LocalModel.__struct_fields__)}'


class LocalSettings(Table, frozen=True):
    """Models on this machine."""

    models: Annotated[
        Mapping[
            str,
            Annotated[
                LocalModel | Annotated[str, Meta(min_length=1)],
                Meta(extra={"form": _MODEL}),
            ],
        ],
        about("A model on this machine: a table, or just the path of a GGUF file."),
    ] = {}


class File(Table, frozen=True):
    """polychat.toml."""

    default_model: Annotated[
        str, about("The model that the command and the library use if none is given; `POLYCHAT_MODEL` overrides it.")
    ] = ""
    gateway: Annotated[GatewaySettings, about("`polychat serve`: where it listens, who has access, how it responds.")] = (
        GatewaySettings()
    )
    routes: Annotated[
        Mapping[str, Route], about("A model name of your own: the targets it resolves to, and how one is chosen.")
    ] = {}
    aliases: Annotated[Mapping[str, str], about('Other names for targets and routes: `name = "target or route"`.')] = {}
    providers: Annotated[
        Mapping[str, VendorTable],
        about(
            "A vendor or server of your own, or changed settings for a known vendor. One of your own requires "
            "`wire` and `base_url`."
        ),
    ] = {}
    prices: Annotated[
        Mapping[str, Price],
        about(
            "The price of a model in US dollars per million tokens; `NAME` is `provider/model`, in quotes. It "
            "overrides the price table of the extra `prices`, but not a cost that the backend reports itself."
        ),
    ] = {}
    local: Annotated[LocalSettings, about("Models on this machine.")] = LocalSettings()
    mcp: Annotated[
        Mapping[str, McpServerSettings],
        about("An MCP server, whose tools `polychat ask --mcp NAME` and `polychat chat` offer to the model."),
    ] = {}


_PLACE = re.compile(r" \(at (?:line (\d+), (column \d+)|end of document)\)$")


def parsed(text: str, file: Path) -> Config:
    """The configuration in the text of a file. Raises ``BadInput`` with the file, the line and the key."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = place[1] if place and place[1] else text.rstrip().count("\n") + 1
        reason = f"{_PLACE.sub('', str(error))} ({place[2] or 'at the end'})" if place else error
        raise BadInput(f"{file}:{line}: cannot be read as TOML: {reason}", field=FILE) from None
    return _config(content, FileErrors(file, text))


def _config(content: Mapping[str, Any], errors: FileErrors) -> Config:
    read = decoded(File, content, "", errors)
    check_gateway(read.gateway, errors)
    check_names(read.routes, read.aliases, errors)
    for name, entry in read.providers.items():
        check_provider_name(name, errors)
        check_base_url(entry, errors, f"providers.{name}")
    check_same_names(read.providers, errors)
    return Config(
        errors.file,
        _local_models(read.local, errors),
        {name.lower(): table for name, table in content.get("providers", {}).items()},  # targets name a provider in any case
        read.gateway,
        read.routes,
        read.aliases,
        prices=_prices(read.prices, errors),
        default_model=read.default_model,
        mcp=read.mcp,
    )


def _prices(prices: Mapping[str, Price], errors: FileErrors) -> Mapping[str, Price]:
    by_target: dict[str, Price] = {}
    for name, price in prices.items():
        check_price_name(name, errors)
        provider, _, model = name.partition("/")
        by_target[f"{provider.lower()}/{model}"] = price
    return by_target


def _local_models(local: LocalSettings, errors: FileErrors) -> Mapping[str, LocalModel]:
    for name in local.models:
        check_model_name(name, errors)
    return {
        name: LocalModel(errors.path(Path, entry)) if isinstance(entry, str) else entry for name, entry in local.models.items()
    }
