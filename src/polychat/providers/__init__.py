"""Every provider by name, imported at first use. A provider needs no registration: one file, whose class has its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import catalogue
from .catalogue import every as every

if TYPE_CHECKING:
    from ..backends.face import Vendor as Vendor
    from ..backends.face import find as find
    from ..backends.face import resolve as resolve
    from ..backends.face import vendors as vendors
    from ..calls.call import Call as Call
    from ..calls.call import UnknownOption as UnknownOption
    from ..calls.call import options_of as options_of
    from ..calls.functions import tool_of as tool_of
    from ..calls.info import CallInfo as CallInfo
    from ..calls.info import Notes as Notes
    from ..calls.request import KEYWORDS as KEYWORDS
    from ..calls.request import ask_of as ask_of
    from ..calls.request import request_of as request_of
    from ..calls.request import system_first as system_first
    from ..calls.schemas import Shape as Shape
    from ..calls.schemas import shape_of as shape_of
    from .aichat import Aichat as Aichat
    from .chatgptduo import ChatgptDuo as ChatgptDuo
    from .chatgptt import ChatGptt as ChatGptt
    from .contract import AsyncGeneratorProvider as AsyncGeneratorProvider
    from .contract import AsyncProvider as AsyncProvider
    from .contract import Provider as Provider
    from .contract import ProviderModelMixin as ProviderModelMixin
    from .gptalk import GPTalk as GPTalk
    from .local import Local as Local
    from .opchatgpts import Opchatgpts as Opchatgpts

_HOMES = {
    **dict.fromkeys(("AsyncGeneratorProvider", "AsyncProvider", "Provider", "ProviderModelMixin"), ".contract"),
    **dict.fromkeys(("Call", "UnknownOption", "options_of"), "..calls.call"),
    **dict.fromkeys(("KEYWORDS", "ask_of", "request_of", "system_first"), "..calls.request"),
    **dict.fromkeys(("Shape", "shape_of"), "..calls.schemas"),
    **dict.fromkeys(("Vendor", "find", "resolve", "vendors"), "..backends.face"),
    "CallInfo": "..calls.info",
    "Notes": "..calls.info",
    "tool_of": "..calls.functions",
}
"""The modules of the package's other public names."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    if name.lower() in catalogue.files() and not name.islower():
        provider = catalogue.load(name.lower())
        if provider.__name__ == name:
            return provider
    raise AttributeError(f"module {__name__!r} has no provider {name!r}; it has {', '.join(catalogue.files())}")


def __dir__() -> list[str]:
    return sorted([*_HOMES, "every", *(provider.__name__ for provider in every())])
