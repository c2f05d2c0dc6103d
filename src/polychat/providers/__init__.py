"""Every provider by name, loaded when touched. A provider is known by being here: one file, its class named like it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _catalogue
from ._catalogue import every as every

if TYPE_CHECKING:
    from ..backends.face import Vendor as Vendor
    from ..backends.face import find as find
    from ..backends.face import resolve as resolve
    from ..backends.face import vendors as vendors
    from ._ask import KEYWORDS as KEYWORDS
    from ._ask import ask_of as ask_of
    from ._ask import system_first as system_first
    from ._base import AsyncGeneratorProvider as AsyncGeneratorProvider
    from ._base import AsyncProvider as AsyncProvider
    from ._base import Provider as Provider
    from ._base import ProviderModelMixin as ProviderModelMixin
    from ._call import Call as Call
    from ._call import UnknownOption as UnknownOption
    from ._call import options_of as options_of
    from ._functions import tool_of as tool_of
    from ._notes import Notes as Notes
    from ._schema import Shape as Shape
    from ._schema import shape_of as shape_of
    from .aichat import Aichat as Aichat
    from .chatgptduo import ChatgptDuo as ChatgptDuo
    from .chatgptt import ChatGptt as ChatGptt
    from .gptalk import GPTalk as GPTalk
    from .opchatgpts import Opchatgpts as Opchatgpts

_FURNITURE = {
    "AsyncGeneratorProvider": "._base",
    "AsyncProvider": "._base",
    "Call": "._call",
    "KEYWORDS": "._ask",
    "Notes": "._notes",
    "Provider": "._base",
    "ProviderModelMixin": "._base",
    "Shape": "._schema",
    "shape_of": "._schema",
    "tool_of": "._functions",
    "UnknownOption": "._call",
    "ask_of": "._ask",
    "options_of": "._call",
    "system_first": "._ask",
    **dict.fromkeys(("Vendor", "find", "resolve", "vendors"), "..backends.face"),
}


def __getattr__(name: str) -> Any:
    if name in _FURNITURE:
        return getattr(import_module(_FURNITURE[name], __name__), name)
    if name.lower() in _catalogue.files() and not name.islower():
        provider = _catalogue.load(name.lower())
        if provider.__name__ == name:
            return provider
    raise AttributeError(f"module {__name__!r} has no provider {name!r}; it has {', '.join(_catalogue.files())}")


def __dir__() -> list[str]:
    return sorted([*_FURNITURE, "every", *(provider.__name__ for provider in every())])
