"""One tree of errors, and the one place that makes foreign text fit to be shown.

    PolychatError
    ├── BadInput (ValueError)             the request cannot be sent: `field`; nothing was sent
    │   ├── MessageTooLong                `size` and `limit`, in bytes
    │   └── UnknownTarget (LookupError)   no such provider or model: `near`, the closest names
    ├── NotReady (RuntimeError)           this machine lacks something; the message says what
    │   ├── MissingPackage (ImportError)  an extra is not installed: `package`, `extra`
    │   ├── MissingCookies                log in with a browser first: `domain`
    │   └── MissingWeights                no model weights, and they could not be fetched
    └── BackendError (RuntimeError)       the backend failed: `text`, the part of the reply that arrived
        ├── ConnectionFailed (ConnectionError)  no connection, or it broke before the reply began
        │   ├── CertificateRefused        the server's TLS certificate is not valid
        │   ├── WrongAddress              its URL has an unknown host, or https where the server has no TLS
        │   └── ProxyFailed               the proxy refused the connection
        ├── TimedOut (TimeoutError)       `clock`: connect, first, idle or total; `seconds`
        ├── StatusError                   a status other than 2xx; raised as an `aiohttp.ClientResponseError` too
        │   ├── Unauthorized              401, 403: a key, login, nonce or token was rejected
        │   ├── RateLimited               429: see `retry_after`
        │   └── ChallengeRequired         the service asks for a captcha or has a bot wall
        ├── BadReply                      the reply does not follow the service's protocol
        │   └── ChatNotFound              the page has no chat: no nonce, no bot
        ├── Resting                       not called: it sent `retry-after`, or has all the requests that it may have
        ├── ReplyFailed                   the backend reports a failure in its own protocol
        │   ├── LimitReached              a quota of the service: tokens, messages, a ban
        │   └── EmptyReply                success with an empty reply, which is never an answer
        └── Truncated                     the reply ended early: `text` has what arrived

Every error has `provider` (a class name), `status` (HTTP), `retry_after` (seconds); each is `None` where it is not known.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

FaultKind: TypeAlias = Literal[
    "invalid_request",
    "context_length",
    "too_large",
    "authentication",
    "permission",
    "not_found",
    "rate_limit",
    "quota",
    "overloaded",
    "timeout",
    "server",
]
"""What went wrong: every vendor's errors map to one of these kinds."""


class Failure(NamedTuple):
    """Why one target of several did not answer."""

    target: str
    """``provider/model``."""
    outcome: str
    """One word, such as ``timeout``: a value of the label ``outcome`` of ``polychat_attempts_total``."""
    message: str
    """The reason as a client of a gateway may read it."""
    reason: str
    """The reason for the gateway's operator."""

    @property
    def told(self) -> str:
        """The earlier name of ``message``."""
        return self.message


class PolychatError(Exception):
    """The root: catch this to catch everything that polychat raises on purpose."""

    failures: tuple[Failure, ...] = ()
    """Where several targets were tried: the last failure of each, with its reason. This error is the most informative one."""

    provider: str | None = None
    """The class name of the provider, or the name of the vendor, that got the request."""
    status: int | None = None
    """The HTTP status of its answer."""
    retry_after: float | None = None
    """Seconds after which the backend accepts another request, if it sent such a time."""

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        """Copied and pickled by its attributes, since the constructors of subclasses take different arguments."""
        return _revived, (type(self), self.args, self.__dict__)


def _revived(kind: type[PolychatError], args: tuple[object, ...], state: dict[str, object]) -> PolychatError:
    # An error that is an OSError too is made by OSError, though it is not the first among its bases.
    maker = OSError if issubclass(kind, OSError) else Exception
    error: PolychatError = maker.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class BadInput(PolychatError, ValueError):
    """The request cannot be sent; ``field`` names the invalid part. Nothing was sent."""

    field: str
    """The invalid part: ``prompt``, ``model``, ``messages[2].content``, …"""

    def __init__(self, message: str, *, field: str, provider: str | None = None) -> None:
        super().__init__(message, provider=provider)
        self.field = field


class MessageTooLong(BadInput):
    """A message has more bytes than the service takes."""

    size: int
    """Its bytes, in UTF-8."""
    limit: int
    """Bytes that the service takes at most."""

    def __init__(self, *, field: str, size: int, limit: int, provider: str | None = None) -> None:
        super().__init__(
            f"{field} is {size:,} bytes; the service takes at most {limit:,}: shorten it or send it in parts",
            field=field,
            provider=provider,
        )
        self.size = size
        self.limit = limit


class UnknownTarget(BadInput, LookupError):
    """No such provider or model; ``near`` holds the names that come closest."""

    near: tuple[str, ...]
    """The names that come closest; empty where none does."""
    asked: str = ""
    """The unknown name, if an alias or a chain led to it."""

    def __init__(self, message: str, *, near: tuple[str, ...] = ()) -> None:
        if near:
            message = f"{message}; did you mean {' or '.join(near)}?"
        super().__init__(message, field="model")
        self.near = near


class NotReady(PolychatError, RuntimeError):
    """This machine lacks something; the message says what to do."""


class MissingPackage(NotReady, ImportError):
    """An optional package is not installed."""

    package: str
    """Its name."""
    extra: str
    """The extra of polychat that installs it."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs the package {package}: run  pip install "polychat[{extra}]"')
        self.package = package
        self.extra = extra


class MissingCookies(NotReady):
    """The service needs the cookies of a browser that is logged in."""

    domain: str
    """The host that the cookies are for."""

    def __init__(self, domain: str, *, url: str, provider: str | None = None) -> None:
        super().__init__(
            f"no cookies for {domain}: open {url} in a browser, then export them to a cookies.txt in polychat's "
            "configuration folder, name that file in POLYCHAT_COOKIES, or pass cookies={…}",
            provider=provider,
        )
        self.domain = domain


class MissingWeights(NotReady):
    """The weights of an embedded model are missing and could not be fetched."""


class BackendError(PolychatError, RuntimeError):
    """The backend received the request and failed; ``text`` is the part of the reply that arrived."""

    text: str = ""
    """The part of the reply that arrived before the failure."""
    kind: FaultKind | None = None
    """What went wrong, where the backend's protocol reports it."""
    paid: bool = False
    """Whether a reply arrived, which is billed, and could not be read. The request must not be repeated."""


class ConnectionFailed(BackendError, ConnectionError):
    """No connection, or it broke before the reply began."""


class CertificateRefused(ConnectionFailed):
    """The server's TLS certificate is not valid for its name; nothing was sent."""


class WrongAddress(ConnectionFailed):
    """The URL is wrong: its host has no address, or it is https and the server there has no TLS."""


class ProxyFailed(ConnectionFailed):
    """The proxy refused the connection; the service itself was not reached."""


Clock = Literal["connect", "first", "idle", "total"]


class TimedOut(BackendError, TimeoutError):
    """A timeout: ``clock`` is which one, ``seconds`` how long it was."""

    clock: Clock
    """``connect``, ``first``, ``idle`` or ``total``."""
    seconds: float
    """How long it waited."""

    def __init__(self, clock: Clock, seconds: float, *, provider: str | None = None) -> None:
        what = {"connect": "no connection", "first": "no reply started", "idle": "no data arrived", "total": "not done"}[clock]
        super().__init__(f"{what} within {seconds:g} s ({clock} timeout); raise timeout to wait longer", provider=provider)
        self.clock = clock
        self.seconds = seconds


class StatusError(BackendError):
    """The service answered with a status other than 2xx."""

    word: str | None = None
    """The service's own error code."""
    param: str | None = None
    """The field of the request that the service rejects, by its own name."""


class Unauthorized(StatusError):
    """401 or 403: a key, a login, a nonce or a token was rejected."""


class RateLimited(StatusError):
    """429: too many requests; ``retry_after`` is when to retry, if the service sent it."""


class ChallengeRequired(StatusError):
    """The service asks for a human check (captcha, bot wall); polychat reports it and does not bypass it."""


class BadReply(BackendError):
    """The reply does not follow the service's protocol; the message shows the line, shortened."""


class ChatNotFound(BadReply):
    """The page has no chat element with a nonce and a bot name."""


class Resting(BackendError):
    """The backend was not called: it sent ``retry-after`` earlier, and that time has not come (``retry_after``); or as many
    requests to it run as are allowed at a time."""


class ReplyFailed(BackendError):
    """The backend reports a failure in its own protocol, often under HTTP 200."""


class LimitReached(ReplyFailed):
    """A quota of the service: tokens, messages, or a ban."""


class EmptyReply(ReplyFailed):
    """The backend reports success with an empty reply, which is never an answer."""


class Truncated(BackendError):
    """The reply ended early; ``text`` has what arrived."""


# Each word is searched once from its beginning, and never again from its parts: foreign text may be one long word.
_SECRETS = re.compile(
    r"""(?ix)
    (?P<keep>
        (?<![\w-]) (?! (?: invalid | incorrect | missing | expired ) _ )  # a code such as invalid_api_key names no secret
        (?= [\w-]*? (?: token | nonce | secret | passw(?:or)?d | api[_-]?key | cookie | authorization | session_?id )
            (?: s? (?![\w-]) | -[\w-] ) )
        [\w-]++ ["']? \s*+ (?: = | : | %3d )
        \s*+ (?: (?:bearer|basic) \s++ )? ["']?
      | \b(?:bearer|basic) \s++
      | ://
    )
    (?P<hide> (?<=://) [^\s/@"']++ (?=@) | (?<!://) [^\s"'&,;}<]++ )
    """
)
_COOKIES = re.compile(r"(?i)(\bcookies?2?[ \t]*:[ \t]*)[^\r\n]+")
_GATEWAY_KEYS = re.compile(r"(\bpc-[0-9A-Za-z]{12}-)[0-9A-Za-z]++(?:-[0-9A-Za-z]++)?|(\bpcs-1\.)[\w.-]++", re.ASCII)
"""Keys of the gateway (``state.key_text``): the first part names one and may be shown."""


def redact(foreign: str | bytes, limit: int = 200) -> str:
    """Foreign text as an error may show it: one line, at most ``limit`` characters, without what looks like a credential."""
    text = foreign[: limit * 80].decode("utf-8", "replace") if isinstance(foreign, bytes) else foreign
    text = _COOKIES.sub(lambda match: match[1] + "…", text[: limit * 20])
    # What a terminal would obey, and half a surrogate pair, which nothing can print, are replaced by their escapes.
    text = " ".join(text.split())
    if not text.isprintable():
        text = text.translate({ord(letter): "\ufffd" for letter in set(text) if not letter.isprintable()})
    text = _GATEWAY_KEYS.sub(lambda match: f"{match[1] or match[2]}…", _SECRETS.sub(lambda match: match["keep"] + "…", text))
    return text if len(text) <= limit else text[: limit - 1] + "…"


shown = redact
"""Its earlier name."""


class LossWarning(UserWarning):
    """Something of a request did not reach its backend."""
