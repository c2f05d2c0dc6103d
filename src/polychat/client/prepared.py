"""What calls to one model with the same options have in common, made once: only the prompt is new in each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ..backends.compiled import STAND_IN, CompiledRequest, stand_ins
from ..calls.info import CallInfo
from ..calls.plain_conversation import PlainConversation, PlainPrompt
from ..calls.request import KEYWORDS, request_of, system_first
from ..calls.schemas import Shape
from ..choices import HostedTools, OnLoss
from ..errors import BadInput, PolychatError
from ..http.timeouts import Timeouts
from ..types import ChatRequest, Conversation
from ..wire.checks import bad
from ..wire.losses import Loss, apply_loss_policy

if TYPE_CHECKING:
    from ..routing import Plan, Router, Target
    from ..routing.straight import StraightPlan

_KEYWORDS = frozenset(KEYWORDS)
_LASTING = frozenset((str, int, float, bool, type(None), Timeouts))
"""Types of options that are immutable."""
_READ_ANEW = ("images", "files")
"""Keywords that may name files, whose contents are those of the moment."""
_CONVERSATIONS = 32
"""Maximum number of conversations of different roles whose bodies are kept for the options of one call."""


class LossPolicy(NamedTuple):
    """What to do about parts of a request that a backend does not support, as set by the caller or the route."""

    on_loss: OnLoss | None
    hosted_tools: HostedTools | None

    @classmethod
    def of(cls, options: dict[str, Any], plan: Plan) -> LossPolicy:
        """The policy of a call to ``plan``; its entries are removed from ``options``. Raises ``BadInput`` for an invalid
        value.
        """
        value = options.pop("on_loss", None)
        if value is not None and value not in get_args(OnLoss):
            raise bad("on_loss", '"refuse", "warn", "report" or "allow"', value)
        return cls(value or plan.rules.on_loss, plan.rules.hosted_tools)


class PreparedCall:
    """A call without its prompt. It holds what the options hold, keys too, which its ``repr`` does not show."""

    __slots__ = (
        *("_compiled", "_keywords", "_model", "_streamed", "_system"),
        *("is_kept", "lost", "options", "plan", "policy", "router", "starts", "straight", "wanted"),
    )

    def __init__(self, plan: Plan, system: str | None, options: dict[str, Any], *, streamed: bool) -> None:
        """Raises ``BadInput`` for an ``on_loss`` that is none of the policies."""
        self.plan = plan
        self.router: Router
        """Of a call that is kept, as are the attempts at its only target, if it has one."""
        self.straight: StraightPlan
        self.is_kept = False
        self._keywords: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        """How the request is sent."""
        for name, value in options.items():
            (self._keywords if name in _KEYWORDS else self.options)[name] = value
        self.wanted = self._keywords.pop("provider", None)
        """The targets that the caller prefers, in the form of OpenRouter's ``provider``."""
        self.lost: list[Loss] = []
        """What of that cannot be obeyed."""
        self.policy = LossPolicy.of(self.options, plan)
        self._model, self._system, self._streamed = plan.targets[0].model, system, streamed
        self.starts: dict[tuple[str, ...], Callable[[Any], Any]] = {}
        """Of a call that is kept, by the roles of a conversation's messages, none for a text: what begins the call with such a
        prompt (``asking`` and ``streaming`` in ``direct.py`` and ``beginning.py``).
        """
        self._compiled: dict[tuple[str, ...], CompiledRequest | None] = {}

    def request(self, prompt: str | Conversation | PlainConversation) -> tuple[ChatRequest, Shape | None]:
        """The request, and the shape of its answer where ``schema`` sets one. Raises ``BadInput``."""
        return self._request(prompt, self._system)

    def _request(self, prompt: str | Conversation | PlainConversation, system: str | None) -> tuple[ChatRequest, Shape | None]:
        if isinstance(prompt, PlainConversation):
            prompt = prompt.messages()
        request, shape = request_of(prompt, self._model, self._keywords)
        system_first(request, system)
        request.stream = self._streamed
        if self._streamed:
            request.stream_usage = True
        return request, shape

    def keep(self, router: Router) -> None:
        """It serves for other calls too, all by this router."""
        from ..routing.straight import StraightPlan  # it loads the router, which importing the client does not need

        self.router, self.straight, self.is_kept = router, StraightPlan(router, self.plan), True

    def narrow(self, plan: Plan, unknown: list[str]) -> None:
        """The plan becomes this one; members of ``provider`` that cannot be obeyed are lost. Raises ``BadInput``."""
        self.plan, self._model = plan, plan.targets[0].model
        self.lost = unknown_losses(unknown, self.policy.on_loss)

    def carries(self, target: Target) -> bool:
        """Whether a target loses nothing of the request."""
        return loses_nothing(target, self.request(STAND_IN)[0])

    def compiled_with(self, prompt: PlainPrompt) -> tuple[CompiledRequest, bytes] | None:
        """``compiled`` for prompts like this one, and its body with this one; ``None`` where the request must be written."""
        roles = () if isinstance(prompt, str) else prompt.roles
        compiled = self.compiled(roles)
        body = None if compiled is None else self.body(compiled, roles)(prompt)
        return None if compiled is None or body is None else (compiled, body)

    def compiled(self, roles: tuple[str, ...] = ()) -> CompiledRequest | None:
        """The request to its only target around any prompt, or around the texts of a conversation with these roles; ``None``
        where each must be written for itself.
        """
        try:
            return self._compiled[roles]
        except KeyError:
            if len(self._compiled) >= _CONVERSATIONS:
                self._compiled.clear()
                self.starts.clear()
            compiled = self._compiled[roles] = self.plan.targets[0].backend.compiled(self._with_stand_ins(roles))
            return compiled

    def _with_stand_ins(self, roles: tuple[str, ...]) -> ChatRequest:
        """The request with a stand-in for each text that may differ."""
        if not roles:
            return self.request(STAND_IN)[0]
        has_system = self._system is not None
        texts = stand_ins(len(roles) + has_system)
        return self._request(PlainConversation(roles, tuple(texts[has_system:])), texts[0] if has_system else None)[0]

    def body(self, compiled: CompiledRequest, roles: tuple[str, ...]) -> Callable[[Any], bytes | None]:
        """Gives the body of ``compiled``, made for prompts with these roles, with a prompt: see ``CompiledRequest.body``."""
        return partial(self._body_of, compiled) if roles else compiled.body

    def _body_of(self, compiled: CompiledRequest, prompt: PlainConversation) -> bytes | None:
        return compiled.body_of(prompt.texts if self._system is None else (self._system, *prompt.texts))


def unknown_losses(unknown: list[str], on_loss: OnLoss | None) -> list[Loss]:
    """Members of ``provider`` that cannot be obeyed, as losses. Raises ``BadInput`` where these are refused."""
    lost = [Loss(f"provider.{name}", "dropped", "it is not known of every target") for name in unknown]
    apply_loss_policy(lost, on_loss)
    return lost


def loses_nothing(target: Target, request: ChatRequest) -> bool:
    """Whether a target can carry all of a request."""
    with suppress(PolychatError):
        call_info = CallInfo("refuse")
        target.backend.rehearse(replace(request, model=target.model), call_info)
        return not call_info.losses
    return False


def call_key(target: str, system: str | None, streamed: bool, options: dict[str, Any]) -> tuple[object, ...]:
    """A key that is equal for calls with the same options of the same types: 1 and True are equal, and mean two things.

    ``Targets.kept`` looks for it.
    """
    values = options.values()
    return (target, system, streamed, *options, *values, *map(type, values))


def check_prompt(prompt: str | Conversation | PlainConversation) -> None:
    """Raises ``BadInput`` for text without a question."""
    if isinstance(prompt, str) and not prompt.strip():
        raise BadInput("the prompt is empty: write a question", field="prompt")


def are_lasting(options: dict[str, Any]) -> bool:
    """Whether no option can change, or is read again by each call. Only then can their key be hashed."""
    return _LASTING.issuperset(map(type, options.values())) and options.keys().isdisjoint(_READ_ANEW)
