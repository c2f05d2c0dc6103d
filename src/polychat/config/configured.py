"""The configuration of one polychat.toml, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .mcp_server import McpServerSettings
    from .settings import GatewaySettings, LocalModel, Price, Route

FILE = "polychat.toml"


def _gateway() -> GatewaySettings:
    from .settings import GatewaySettings  # it loads msgspec, which an import of polychat does without

    return GatewaySettings()


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a polychat.toml; all defaults where there is no file."""

    file: Path | None = None
    local_models: Mapping[str, LocalModel] = field(default_factory=dict)
    providers: Mapping[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    """The tables ``[providers.NAME]``, for ``spec_of``: changes of a known vendor, or a vendor of the user's own."""
    gateway: GatewaySettings = field(default_factory=_gateway)
    routes: Mapping[str, Route] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names for targets and routes."""
    from_folder: bool = False
    """Whether it was found in the current folder without being named: it may have come with other people's files."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By ``provider/model``, the provider in lower case."""
    default_model: str = ""
    """What the command and the library ask where no model is named; empty: the embedded model."""
    mcp: Mapping[str, McpServerSettings] = field(default_factory=dict, repr=False)
    """Servers of tools; see ``polychat ask --mcp``."""
