"""Decisions, and nothing else: what is done about a failure.

A failure is attributed first, and everything else follows from that: whether the same target is called again after a pause,
whether others are called, and what rests.

| attribution    | what it is                                                    | again | others | what rests     |
|----------------|---------------------------------------------------------------|-------|--------|----------------|
| transient      | 5xx, 408, 429, 529, network, silence, garbage, an error event | yes   | yes    | by its breaker |
| denied         | 403: this model, or this request, is not for the key          | no    | yes    | breaker opens  |
| hard down      | 401, 3xx, an unknown host, a certificate, a bot wall          | no    | yes    | all of its key |
| quota          | 402, billing, what the account may use is used up             | no    | yes    | all of its key |
| client         | the request is wrong, and would be anywhere                   | no    | no     | nothing        |
| context length | the prompt is too long for this model                         | no    | yes    | nothing        |
| lacking        | no such model, cannot carry the request                       | no    | yes    | nothing        |
| not set up     | a key, a variable, a package or a file is missing here        | no    | yes    | is tried last  |
| paid           | it answered, and the answer could not be read here            | no    | no     | nothing        |
| over           | the time for all of the request is used up                    | no    | no     | by its breaker |

Whatever the attribution, a target that said when to come back is not called before that, by any request.
"""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple, TypeAlias

from ..errors import (
    BackendError,
    BadInput,
    BadReply,
    CertificateRefused,
    ChallengeRequired,
    ConnectionFailed,
    EmptyReply,
    Failure,
    FaultKind,
    LimitReached,
    NotReady,
    PolychatError,
    RateLimited,
    StatusError,
    TimedOut,
    Truncated,
    Unauthorized,
    UnknownTarget,
    WrongAddress,
    redact,
)
from ..wire.faults import fault_of, is_misconfiguration

Step: TypeAlias = Literal["give up", "next_target", "again"]
"""``next_target``: another target may do better, the same would not. ``again``: the same may do better too."""
Attribution: TypeAlias = Literal[
    "transient", "denied", "hard down", "quota", "client", "context length", "lacking", "not set up", "paid", "over"
]
"""See the table above."""
Rests: TypeAlias = Literal["nothing", "probation", "breaker", "breaker at once", "domain"]
"""What a failure leads to: the target is tried after others, it counts for its breaker, opens it, or lets all rest that share
its key.
"""


class Consequence(NamedTuple):
    """What an attribution leads to."""

    step: Step
    rests: Rests = "nothing"


CONSEQUENCES: dict[Attribution, Consequence] = {
    "transient": Consequence("again", "breaker"),
    "denied": Consequence("next_target", "breaker at once"),
    "hard down": Consequence("next_target", "domain"),
    "quota": Consequence("next_target", "domain"),
    "client": Consequence("give up"),
    "context length": Consequence("next_target"),
    "lacking": Consequence("next_target"),
    "not set up": Consequence("next_target", "probation"),
    "paid": Consequence("give up"),
    "over": Consequence("give up", "breaker"),
}
_BY_KIND: dict[FaultKind, Attribution] = {
    "invalid_request": "client",
    "too_large": "client",
    "context_length": "context length",
    "authentication": "hard down",
    "permission": "denied",
    "not_found": "lacking",
    "rate_limit": "transient",
    "quota": "quota",
    "overloaded": "transient",
    "timeout": "transient",
    "server": "transient",
}
"""The kind that the backend itself reports goes first, with a status or inside a stream."""
_BY_CLASS: tuple[tuple[type[PolychatError], Attribution], ...] = (
    (UnknownTarget, "client"),
    (BadInput, "lacking"),
    (CertificateRefused, "hard down"),
    (WrongAddress, "hard down"),
    (ChallengeRequired, "hard down"),
    (Unauthorized, "hard down"),
    (LimitReached, "quota"),
    (RateLimited, "transient"),
)
"""Of failures without a kind, the first that fits; all other failures of backends are transient."""


def attribution_of(error: PolychatError) -> Attribution:
    """Whose failure it is, and how long it may last."""
    if isinstance(error, BackendError):
        if error.paid:
            return "paid"
        if isinstance(error, TimedOut) and error.clock == "total":
            return "over"
        if error.status is not None and 300 <= error.status < 400:
            return "hard down"  # it has moved, and redirects are not followed
        if error.kind is not None and not isinstance(error, ChallengeRequired):
            return _BY_KIND[error.kind]
    if is_misconfiguration(error):
        return "not set up"
    for kind, attribution in _BY_CLASS:
        if isinstance(error, kind):
            return attribution
    if isinstance(error, StatusError) and error.status is not None and error.status < 500 and error.status != 408:
        return "hard down"  # of a chat site: its page is gone or has changed
    return "transient" if isinstance(error, BackendError) else "client"


def step_after(error: PolychatError) -> Step:
    """What a failure before the first piece calls for."""
    return CONSEQUENCES[attribution_of(error)].step


_REASON, _WHOLE = 200, 400
"""Characters of a target's reason: for clients, and for the operator's log, which also has the next step."""
_OUTCOMES: tuple[tuple[type[PolychatError], str], ...] = (
    (TimedOut, "timeout"),
    (CertificateRefused, "certificate"),
    (WrongAddress, "wrong_address"),
    (ConnectionFailed, "connection"),
    (ChallengeRequired, "challenge"),
    (Unauthorized, "authentication"),
    (RateLimited, "rate_limit"),
    (LimitReached, "quota"),
    (EmptyReply, "empty"),
    (BadReply, "unreadable"),
    (Truncated, "truncated"),
    (NotReady, "not_set_up"),
    (UnknownTarget, "not_found"),
    (BadInput, "unsupported"),
)


def outcome_of(error: PolychatError) -> str:
    """One word for how an attempt ended, for metrics and logs: the kind of fault, or the kind of error where there is none."""
    if isinstance(error, BackendError) and error.kind is not None:
        return error.kind
    if is_misconfiguration(error):
        return "not_set_up"
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "failed")


def failure_of(target: str, error: PolychatError) -> Failure:
    """What became of an attempt at ``target``, fit to be shown."""
    return Failure(target, outcome_of(error), redact(fault_of(error).message, _REASON), redact(str(error), _WHOLE))


def most_telling(errors: list[PolychatError]) -> PolychatError:
    """Of the failures of several targets the one a client can do most about: shorten, retry, or change the request."""
    ranks: dict[Attribution, int] = {"context length": 0, "transient": 1, "over": 1, "quota": 2, "denied": 3, "hard down": 3}
    return min(reversed(errors), key=lambda error: ranks.get(attribution_of(error), 4))


_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0


def pause_before(attempt: int, error: PolychatError, rng: Random) -> float:
    """Seconds before the same target is called again, for the ``attempt``th time: any part of a time that doubles with each
    attempt, by chance, so that those who failed together do not come back together; never less than it said.
    """
    pause = rng.random() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt - 2, 20))
    return pause if error.retry_after is None else max(error.retry_after, pause)
