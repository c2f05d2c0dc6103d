"""One page below ``/admin``: its method, its scope and its answer, and how every failure is told.

Answers are JSON and must not be cached. An error has a ``message`` that says the next step, the ``code`` of its status, and
the ``field`` of the request that is at fault, where one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...config.access import AdminScope
from ...errors import BadInput, PolychatError, redact
from ...http.server.asgi import ClientLeft, TooLarge, TooSlow, body_of, with_read_limits
from ...state.store import StateStore, StoreUnavailable, Superseded
from ...wire.checks import invalid_json
from ...wire.json_text import decoded
from ...worker_threads import in_store_thread
from ..admission.guesses import GUESSES
from .access import NO_KEY

if TYPE_CHECKING:
    from ...routing import Health
    from ..admission.people_keys import PeopleKeys
    from ..observe.in_progress import InProgress
    from ..observe.logs import Log
    from ..observe.metrics import Metrics
    from ..observe.recent import RecentRequests
    from ..observe.usage import UsageLog
    from ..runtime import Runtime

LONGEST_BODY = 64 * 1024
_PATH = 200
_RETRY_AFTER = {429: "60", 503: "2"}
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class AdminService(Protocol):
    """The gateway, as these pages use it."""

    runtime: Runtime
    health: Health
    metrics: Metrics
    recent: RecentRequests | None
    """``None`` if there is no admin key."""
    running: int
    in_progress: InProgress | None
    usage: UsageLog | None
    """``None`` if nothing is kept."""
    people: PeopleKeys | None
    """The keys of the database; ``None`` without one."""
    log: Log
    refused: str
    """Why the configuration file was not taken over at the last start or reload; empty where it was."""


class Missing(Exception):  # what the path names
    """There is no such thing; the message says what to do."""


class AdminCall(NamedTuple):
    """What an answer is made from."""

    gateway: AdminService
    actor: str
    """Who asks, as the audit log names it."""
    now: float
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    """The JSON of the body; ``{}`` where there is none."""

    @property
    def store(self) -> StateStore:
        """Raises ``Missing`` where nothing is kept."""
        if self.gateway.usage is None:
            raise Missing("nothing is kept here: add [gateway.state] to the configuration and restart the gateway")
        return self.gateway.usage.store


class Page(NamedTuple):
    """``answer`` gives what is sent as JSON. Raises ``BadInput``, ``Missing`` or ``StoreUnavailable``."""

    method: Method
    path: str
    scope: AdminScope
    answer: Callable[[AdminCall], Any]
    waits: bool = True
    """Whether it asks the store, and so runs in a thread."""
    status: int = 200


def route_of(gateway: AdminService, path: str, pages: Sequence[Page]) -> Route:
    """All pages of one path."""
    by_method = {page.method: page for page in pages}

    async def answer(request: Request) -> Response:
        return await _answer(gateway, by_method["GET" if request.method == "HEAD" else request.method], request)  # type: ignore[index]  # the route has no others

    return Route(path, answer, methods=list(by_method))


async def _answer(gateway: AdminService, page: Page, request: Request) -> Response:
    keys = gateway.runtime.admin_keys
    headers, address = dict(request.scope["headers"]), "" if request.client is None else request.client.host
    name = keys.name_of(headers)
    if not name:
        if not keys.is_guess(headers):
            return refusal(401, NO_KEY)
        if keys.guesses.are_too_many(address):
            return refusal(429, f"more than {GUESSES} unknown admin keys in a minute from this address: retry later")
        keys.guesses.add(address)
        _log_refusal(gateway, request, address, "an unknown admin key")
        return refusal(401, NO_KEY)
    if lack := keys.lack(name, page.scope):
        _log_refusal(gateway, request, address, lack)
        return refusal(403, lack)
    try:
        body = {} if page.method in ("GET", "DELETE") else await _json_of(gateway, request)
        call = AdminCall(gateway, f"admin:{name}", time(), request.path_params, request.query_params, body)
        value = await in_store_thread(page.answer, call) if page.waits else page.answer(call)
    except BadInput as error:
        return refusal(400, str(error), error.field)
    except Missing as error:
        return refusal(404, str(error))
    except Superseded as error:
        return refusal(409, str(error))
    except StoreUnavailable as error:
        return refusal(503, f"{error}: retry later")
    except TooLarge:
        return refusal(413, f"the request body has more than {LONGEST_BODY:,} bytes: send a smaller one")
    except TooSlow as error:
        return refusal(408, str(error))
    except PolychatError as error:
        return refusal(500, str(error))
    return JSONResponse(value, page.status, headers={"cache-control": "no-store"})


def _log_refusal(gateway: AdminService, request: Request, address: str, reason: str) -> None:
    """Who tried what. Unknown keys are refused without a line beyond so many a minute, and missing ones always."""
    path = redact(request.url.path, _PATH)
    gateway.log.event("admin request refused", method=request.method, path=path, address=address, reason=reason)


async def _json_of(gateway: AdminService, request: Request) -> Any:
    limits = gateway.runtime.limits
    try:
        receive = with_read_limits(request.receive, limits.body_seconds, limits.upload_seconds)
        body = await body_of(receive, LONGEST_BODY)
    except ClientLeft:
        return {}  # nobody reads the answer
    try:
        return decoded(body) if body.strip() else {}
    except ValueError as error:
        raise invalid_json(error, body, "body") from None


def refusal(status: int, message: str, field: str = "") -> JSONResponse:
    headers = {"cache-control": "no-store"}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in _RETRY_AFTER:
        headers["retry-after"] = _RETRY_AFTER[status]
    error = {"message": message, "code": status, **({"field": field} if field else {})}
    return JSONResponse({"error": error}, status, headers)
