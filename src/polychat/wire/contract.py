"""What every vendor's wire is, and finding one by name: a folder of this room."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from ..errors import BadInput
from ..events import Event
from ..types import ChatRequest
from .answering import Writer
from .faults import Fault
from .field import SupportTable
from .limits import Limits
from .losses import Loss
from .reading import Reader


class Wire(Protocol):
    """A vendor's API as pure functions, both halves. Its folder is the value of this type."""

    NAME: str
    """As configurations say it: ``openai-chat``."""
    VENDOR: str
    """The vendor whose opaque parts travel untagged on this wire: its inventor."""
    SUPPORT: SupportTable

    # The half that asks.
    write_request: Callable[..., dict[str, Any]]
    """``(request, vendor=VENDOR)``: the body as a value for JSON. Only opaque parts of ``vendor`` go into it.

    What the ledger drops is left out without a word. Raises ``BadInput`` for an ask that makes no sense on any wire.
    """
    path: Callable[[ChatRequest], str]
    """``(request)``: what is put after the base URL, with its query if it has one."""
    read_reply: Callable[..., list[Event]]
    """``(body, vendor=VENDOR, limits=LIMITS)``: the events of a whole reply; the last is its ``Finish``."""
    Reader: Callable[..., Reader]
    """``(vendor=VENDOR, limits=LIMITS)``: the reader of a streamed reply."""
    read_fault: Callable[[int, bytes], Fault]
    """``(status, body)`` of an answer that is no 2xx. Never raises."""

    # The half that answers.
    read_request: Callable[..., ChatRequest]
    """``(body, model=None, stream=None, limits=LIMITS)``: bytes as the ask they are; the keywords stand for what this wire says

    in the path. Raises ``BadInput`` naming the field.
    """
    writer: Callable[..., Writer]
    """``(request, id, created, model=None)``: what writes the answer to ``request``, a stream if it asked for one.

    ``id`` is the reply's (without the wire's prefix), ``created`` in seconds since 1970, ``model`` the name to answer under
    where it is not the ask's.
    """
    write_fault: Callable[[Fault], bytes]
    """The body of an answer that is no 2xx."""


def adjusted(spoken: Wire, request: ChatRequest, vendor: str) -> tuple[ChatRequest, list[Loss]]:
    """The ask as the wire's API takes it, and what of its meaning that cost: of a wire that has ``adjusted``, else as it is.

    A wire has it where its API answers 400 to asks that it could answer with little changed. The ask that is given stays
    as it is. It is separate from ``write_request``, which writes what it is given.
    """
    change: Callable[[ChatRequest, str], tuple[ChatRequest, list[Loss]]] | None = getattr(spoken, "adjusted", None)
    return (request, []) if change is None else change(request, vendor)


_SITES = "sites"
"""The folder of what is no vendor's API: plugins of web sites."""


@cache
def names() -> tuple[str, ...]:
    """The wires there are."""
    package = import_module(__package__)
    folders = (info.name for info in iter_modules(package.__path__) if info.ispkg and info.name != _SITES)
    return tuple(sorted(name.replace("_", "-") for name in folders))


@cache
def wire(name: str) -> Wire:
    """A wire by name. Raises ``BadInput`` with those there are."""
    if name not in names():
        raise BadInput(f"no wire {name!r}; there are {', '.join(names())}", field="wire")
    return cast(Wire, import_module(f".{name.replace('-', '_')}", __package__))


__all__ = ["Limits", "Wire", "adjusted", "names", "wire"]
