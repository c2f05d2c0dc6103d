"""Whether a target is available, and if not, why: by free requests, or by one that may cost.

A free probe connects (name, TCP, TLS, a bot wall) and gets the list of models if there is one. With ``ask`` it also sends a
short request like any caller's, and reads its reply to the end.

| state              | what it means                                                                              |
|--------------------|--------------------------------------------------------------------------------------------|
| reachable          | it answers as it should                                                                    |
| challenged         | it asks for a human check first                                                            |
| needs credentials  | a key, a login or a cookie is missing, or refused                                          |
| quota              | it answers, and has no more for this account just now                                      |
| gone               | its page or the model no longer exists, or it is known not to work any more                |
| protocol changed   | its answer does not follow its protocol: the evidence names the field or the step          |
| failing            | it answers with an error of its own                                                        |
| unreachable        | no connection, or no answer in time: it may be this machine's network                      |
| not set up         | something else is missing on this machine: a package, weights, an address                  |
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Literal, TypeAlias, get_args

from ..calls.info import CallInfo
from ..errors import (
    BackendError,
    BadInput,
    BadReply,
    ChallengeRequired,
    ConnectionFailed,
    EmptyReply,
    FaultKind,
    LimitReached,
    MissingCookies,
    NotReady,
    PolychatError,
    RateLimited,
    StatusError,
    TimedOut,
    Truncated,
    Unauthorized,
    UnknownTarget,
    redact,
)
from ..events import Finish
from ..http.exchange import Exchange
from ..http.timeouts import Timeouts
from ..types import ChatMessage, ChatRequest, TextPart
from .backend import Backend

State: TypeAlias = Literal[
    "reachable",
    "challenged",
    "needs credentials",
    "quota",
    "gone",
    "protocol changed",
    "failing",
    "unreachable",
    "not set up",
]
STATES: tuple[State, ...] = get_args(State)
Step: TypeAlias = Literal["connect", "models", "ask"]
"""How far a probe went: to the address, to the list of models, or to a reply."""
PROMPT = "Reply with the word: ok"
_TOKENS = 16
_EVIDENCE = 300
_PAGE = 64 * 1024
"""Maximum bytes of a page that are searched for a bot wall."""
_BY_KIND: dict[FaultKind, State] = {
    "authentication": "needs credentials",
    "permission": "needs credentials",
    "not_found": "gone",
    "rate_limit": "quota",
    "quota": "quota",
    "overloaded": "failing",
    "server": "failing",
    "timeout": "failing",
}
_BY_CLASS: tuple[tuple[type[PolychatError], State], ...] = (
    (ChallengeRequired, "challenged"),
    (ConnectionFailed, "unreachable"),
    (TimedOut, "unreachable"),
    (MissingCookies, "needs credentials"),
    (UnknownTarget, "gone"),
    (NotReady, "not set up"),
    (Unauthorized, "needs credentials"),
    (RateLimited, "quota"),
    (LimitReached, "quota"),
    (BadReply, "protocol changed"),
    (EmptyReply, "protocol changed"),
    (Truncated, "protocol changed"),
    (BadInput, "protocol changed"),
)
"""For errors without a kind: the first match counts; others are the backend's own failure."""
_GONE = (404, 410)


@dataclass(frozen=True)
class Probed:
    """The result of a probe."""

    target: str
    state: State
    step: Step
    """The step at which the state was found."""
    evidence: str
    seconds: float
    """The duration in seconds."""
    sent: bool = True
    """Whether a chat request was sent."""


def state_after(error: PolychatError) -> State:
    """The target's state that an error shows."""
    if isinstance(error, ChallengeRequired):
        return "challenged"
    if isinstance(error, BackendError) and error.kind is not None and error.kind in _BY_KIND:
        return _BY_KIND[error.kind]
    if isinstance(error, StatusError) and error.status in _GONE:
        return "gone"
    return next((state for kind, state in _BY_CLASS if isinstance(error, kind)), "failing")


async def probe(backend: Backend, model: str, target: str, *, ask: bool, seconds: float) -> Probed:
    """Check whether ``target`` is available, with this timeout in seconds for each step. ``ask``: also by a request that may
    cost.
    """
    step: Step = "connect"
    state: State = "reachable"
    begun, sent = monotonic(), True
    try:
        evidence = await _connected(backend, seconds)
        if backend.lists_models:
            step = "models"
            evidence = await _listed(backend, model, seconds)
        if ask:
            step = "ask"
            evidence = await _asked(backend, model, seconds)
    except PolychatError as error:
        state, evidence = state_after(error), str(error)
        if isinstance(error, NotReady):
            sent = step != "connect"
            state = "needs credentials" if backend.lacks_key else state if backend.working else "gone"
    return Probed(target, state, step, redact(evidence, _EVIDENCE), round(monotonic() - begun, 3), sent)


async def _connected(backend: Backend, seconds: float) -> str:
    """A plain GET of the address. A page for browsers has to exist; an API need not answer a GET."""
    address = backend.address()
    if not address:
        return "it runs on this machine"
    deadline = asyncio.get_running_loop().time() + seconds
    timeouts = Timeouts(seconds, seconds, seconds, seconds)
    async with Exchange(
        "GET", address, {"accept": "*/*"}, None, timeouts=timeouts, deadline=deadline, provider=backend.name
    ) as answer:
        if answer.status >= 400:
            with suppress(BackendError):  # the status is enough
                await answer.read(_PAGE)
            error = answer.error()
            if isinstance(error, ChallengeRequired) or answer.status >= 500 or (backend.has_page and answer.status in _GONE):
                raise error
        return f"it answers {answer.status}"


async def _listed(backend: Backend, model: str, seconds: float) -> str:
    models = [listed.id for listed in await backend.list_models(timeout=seconds)]
    if model and model not in models:
        return f"its list of {len(models):,} models does not name {model}, which may be another name of one"
    return f"it lists {len(models):,} models"


async def _asked(backend: Backend, model: str, seconds: float) -> str:
    """Raises the error of the reply, or of the connection."""
    request = ChatRequest(model, [ChatMessage("user", [TextPart(PROMPT)])], max_tokens=_TOKENS, stream=True)
    finish = None
    async with aclosing(backend.answers(request, CallInfo("allow"), timeout=seconds)) as batches:
        async for batch in batches:
            if isinstance(batch[-1], Finish):
                finish = batch[-1]
                break
    if finish is None:
        raise BadReply("the reply ended before it was complete")
    if finish.error is not None and finish.reason != "length":  # it used all the tokens that it was allowed
        raise finish.error
    return "it answers a request"
