"""What of a request counts when its target is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType

from ..calls.info import CallInfo
from ..choices import OnLoss
from ..errors import PolychatError, redact
from ..types import AudioPart, ChatRequest, FilePart, ImagePart, TextPart
from ..wire.estimating import estimated_prompt
from ..wire.faults import is_misconfiguration
from ..wire.models import ModelInfo
from .fair_queue import NORMAL
from .resolve import Target

_REASON = 200
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Traits:
    """Of a request of which nothing is known; subclasses compute them on demand."""

    is_choosy = False
    """Whether ``unfit`` has to be checked for each target."""

    def unfit(self, target: Target) -> str:
        """Why ``target`` is not used for this request while others may be; empty if it is fit."""
        return ""

    @cached_property
    def affinity(self) -> int | None:
        """64 bits that stay the same for all requests of one conversation; ``None``: it is not known which this belongs to."""
        return None

    @cached_property
    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has; 0 where that is not known."""
        return 0

    @cached_property
    def needs(self) -> frozenset[str]:
        """What a backend has to be able to do: names of ``config.vendor_spec.Capability``."""
        return frozenset()

    @property
    def key(self) -> str:
        """Whose request it is: those of each have their turns, where requests wait."""
        return ""

    @property
    def priority(self) -> int:
        """Of ``fair_queue``, where requests wait."""
        return NORMAL

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags that the client gives the request for routing, such as its region."""
        return _NO_TAGS


UNKNOWN = Traits()


class RequestTraits(Traits):
    """Of a request that was read."""

    def __init__(self, request: ChatRequest, on_loss: OnLoss | None = None) -> None:
        self._request = request
        self.is_choosy = on_loss == "refuse"

    def unfit(self, target: Target) -> str:
        """What it would lose of the request, where that is not allowed."""
        try:
            target.backend.rehearse(replace(self._request, model=target.model), CallInfo("refuse"))
        except PolychatError as error:
            return "" if is_misconfiguration(error) else redact(str(error), _REASON)  # the attempt logs it
        return ""

    @cached_property
    def affinity(self) -> int | None:
        request = self._request
        if isinstance(name := request.extra.get("prompt_cache_key"), str) and name:
            return key_of(name.encode("utf-8", "replace"))
        beginning: list[bytes] = []
        for turn in request.messages:
            beginning += [part.text.encode("utf-8", "replace") for part in turn.parts if isinstance(part, TextPart)]
            if turn.role not in BEFORE_USER:
                break
        return key_of(*beginning) if any(beginning) else None

    @cached_property
    def prompt_tokens(self) -> int:
        return estimated_prompt(self._request)

    @cached_property
    def needs(self) -> frozenset[str]:
        return needs_of(self._request)


BEFORE_USER = ("system", "developer")
"""Who speaks before the user does: with the user's first message that is the part of a conversation that stays the same."""


def key_of(*beginning: bytes) -> int:
    """64 bits for a conversation that begins so."""
    digest = blake2b(digest_size=8)
    for piece in beginning:
        digest.update(piece)
        digest.update(b"\0")
    return int.from_bytes(digest.digest(), "big")


def unfit_for(prompt_tokens: int, needs: frozenset[str], model: ModelInfo) -> str:
    """Why a model cannot take a request, by its entry in its backend's list; empty where it can."""
    if model.context is not None and prompt_tokens > model.context:
        return f"its context is {model.context:,} tokens, and the prompt has about {prompt_tokens:,}"
    lacking = next((name for name, can in model.can.items() if not can and name in needs), "")
    return f"by its backend's list it does not support {lacking}" if lacking else ""


def needs_of(request: ChatRequest) -> frozenset[str]:
    """What a backend has to be able to do for a request."""
    needs = {need for turn in request.messages for part in turn.parts if (need := _NEEDED.get(type(part)))}
    if request.tools:
        needs.add("tools")
    if request.format is not None and request.format.kind != "text":
        needs.add(request.format.kind)
    return frozenset(needs)


_NEEDED: Mapping[type, str] = {ImagePart: "images", AudioPart: "audio", FilePart: "files"}
