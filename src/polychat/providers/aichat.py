"""chat-gpt.org: a JSON request, a JSON reply, for users with a browser's cookies."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..calls.call import Call
from ..errors import BadInput, BadReply, EmptyReply, MissingCookies, ReplyFailed, redact
from ..events import Event, Text
from ..prompt import byte_size, prompt_of
from ..types import Messages
from ..wire.answering import Request, Response, SiteRequest
from ..wire.reading import complete, failed, parsed
from ._browser import browser_headers
from ._json import WholeWriter, body_of, json_response
from .contract import AsyncProvider


def question(messages: Messages, temperature: float = 0.5, top_p: float = 1) -> dict[str, Any]:
    """The JSON of a request. Raises ``BadInput``."""
    prompt = prompt_of(messages)
    byte_size(prompt, "messages")
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise BadInput(f"{name} is {value!r}; it must be a number", field=name)
    return {"message": prompt, "temperature": temperature, "presence_penalty": 0, "top_p": top_p, "frequency_penalty": 0}


def read(body: bytes) -> list[Event]:
    """The events of a reply. If ``response`` is falsy the service has failed, and the error shows the reply."""
    match parsed(body):
        case {"response": good} if not good:
            return [failed(ReplyFailed(f"the service answered with a failure: {redact(body)}"))]
        case {"response": _, "message": str(message)}:
            return [Text(message), complete()] if message.strip() else [failed(EmptyReply("the reply's message is empty"))]
    return [failed(BadReply(f"the reply is not JSON with response and message: {redact(body)}"))]


def root_of(base_url: str) -> str:
    """The site's root. ``url`` is the address of its chat page, so ``base_url`` may be that or the root itself."""
    return base_url.removesuffix("/chat")


class AichatSite:
    """The server side: JSON in, JSON out, for any cookie. Its page sets one in a browser. It has no state."""

    limits: ClassVar[int] = 2 * 1024 * 1024
    _SETTINGS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")

    def receive(self, request: Request) -> Response | SiteRequest:
        match request.method, request.path:
            case "GET", "/chat":
                page = b"<!doctype html><title>Aichat</title><p>Your browser has the cookie now.\n"
                return Response(200, page, "text/html; charset=utf-8", [("Set-Cookie", "visited=1; Path=/; SameSite=Lax")])
            case "POST", "/api/text":
                return self._asked(request)
            case _, "/chat" | "/api/text":
                return json_response(405, _no("wrong method"))
        return json_response(404, _no("there is nothing here but /chat and /api/text"))

    def _asked(self, request: Request) -> Response | SiteRequest:
        if "=" not in request.headers.get("cookie", ""):
            return json_response(403, _no("no cookie: open /chat in a browser first"))
        match parsed(request.body):
            case {"message": str(message), **rest} if message.strip():
                settings = _numbers(rest, self._SETTINGS)
                if settings is not None:
                    return SiteRequest(message, [{"role": "user", "content": message}], _Writer(), settings=settings)
        return json_response(400, _no("the body must be JSON with a message, and numbers for temperature and its like"))


def _no(why: str) -> dict[str, Any]:
    return {"response": False, "message": why}


def _numbers(body: Mapping[Any, object], names: tuple[str, ...]) -> dict[str, float] | None:
    """Those of ``names`` that are set; ``None`` if one is not a number."""
    numbers: dict[str, float] = {}
    for name in names:
        match body.get(name):
            case bool():
                return None
            case int() | float() as number:
                numbers[name] = number
            case None:
                pass
            case _:
                return None
    return numbers


class _Writer(WholeWriter):
    def end(self) -> bytes:
        # The service reports a failure like any other reply, with status 200.
        reply = _no(self.failure) if self.failure is not None else {"response": True, "message": self.text}
        return json.dumps(reply).encode()


class Aichat(AsyncProvider):
    """Requires the cookies of a browser that visited the site: ``cookies={…}``, or those that ``get_cookies`` finds.

    ``cookies={}`` sends none, and leaves it to the site to refuse.
    """

    url = "https://chat-gpt.org/chat"
    working = False
    evidence = "the public site no longer exists; the protocol is tested against an emulation of its server"
    supports_gpt_35_turbo = True
    site = AichatSite

    @classmethod
    async def reply(
        cls, model: str | None, messages: Messages, call: Call, *, temperature: float = 0.5, top_p: float = 1
    ) -> AsyncGenerator[list[Event], None]:
        """``temperature`` and ``top_p`` are the sampling parameters that the service gets."""
        body = question(messages, temperature, top_p)
        root = root_of(call.base_url)
        cookies = call.cookies if call.cookies is not None else await _user_cookies(root)
        async with (
            call.session(browser_headers(root, referer=f"{root}/chat"), cookies) as session,
            session.post(f"{root}/api/text", json=body) as response,
        ):
            events = read(await body_of(response))
        yield events


async def _user_cookies(root: str) -> Mapping[str, str]:
    """This user's cookies for the requested host; those of chat-gpt.org are sent to no other. Raises ``MissingCookies``."""
    from ..user.cookies import cookies_for  # imports that are needed only without the caller's own cookies

    site = urlsplit(root)
    host = site.hostname or ""
    cookies = await cookies_for(host, secure=site.scheme == "https")
    if not cookies:
        raise MissingCookies(host, url=f"{root}/chat")
    return cookies
