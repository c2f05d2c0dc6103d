"""AI Engine's answering half: what the plugin's server does with a page view, a session and a submit."""

from __future__ import annotations

import html
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..events import Event, Finish, Text, Usage
from .ai_engine import MESSAGE_LIMIT, START_SESSION, SUBMIT
from .answering import Question, Request, Response
from .reading import parsed
from .wordpress import Nonces, php_json

Era = Literal["1.9", "2.0", "2.4"]
"""Which versions a site behaves like: 1.9 wants no nonce, 2.0 has it in the page, 2.4 gives it by ``start_session``."""

_HISTORY = 15
_JSON = "application/json; charset=UTF-8"
_REJECTED = {"success": False, "message": "Sorry, your query has been rejected."}
_TRIMMED = " \t\n\r\0\x0b"


@dataclass(slots=True)
class AIEngineSite:
    """One WordPress site with one bot, ``default``."""

    limits: ClassVar[int] = 1024 * 1024

    era: Era = "2.4"
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.SystemRandom)
    nonces: Nonces = field(init=False)

    def __post_init__(self) -> None:
        self.nonces = Nonces(self.clock, self.rng)

    def hear(self, request: Request) -> Response | Question:
        """Pages anywhere, the REST API under ``/wp-json`` or ``?rest_route=``."""
        route = request.query.get("rest_route") or request.path.removeprefix("/wp-json")
        if "rest_route" not in request.query and not request.path.startswith("/wp-json"):
            return self._page(request)
        match request.method, route:
            case "POST", route if route == START_SESSION and self.era == "2.4":
                return _said(200, {"success": True, "sessionId": "N/A", "restNonce": self.nonces.current()})
            case "POST", route if route == SUBMIT:
                return self._refused(request) or self._submit(request)
        return _said(404, _wordpress("rest_no_route", "No route was found matching the URL and request method.", 404))

    def _page(self, request: Request) -> Response:
        if request.method != "GET" or request.path not in ("/", "/chat", "/chat/", "/chatgpt-free-use", "/chatgpt-free-use/"):
            return Response(404, b"<!DOCTYPE html>\n<title>Page not found</title>\n", "text/html; charset=UTF-8")
        return Response(200, self.page(request.base).encode(), "text/html; charset=UTF-8")

    def page(self, base: str) -> str:
        """The page with the chat element, as a guest gets it."""
        system = {
            "botId": "default",
            "customId": None,
            "userData": None,
            "sessionId": "N/A",
            "restNonce": self.nonces.current() if self.era == "2.0" else None,
            "contextId": 28,
            "pluginUrl": f"{base}/wp-content/plugins/ai-engine/",
            "restUrl": f"{base}/wp-json",
            "stream": True,
        }
        escaped = html.escape(php_json(system), quote=True)
        return (
            "<!DOCTYPE html>\n<html><body>\n"
            f"<div class='mwai-chatbot-container' data-params='{{}}' data-system='{escaped}'></div>\n</body></html>\n"
        )

    def _refused(self, request: Request) -> Response | None:
        """What WordPress itself refuses, before the plugin hears of it."""
        nonce = request.headers.get("x-wp-nonce")
        if nonce is not None and not self.nonces.holds(nonce):
            return _said(403, _wordpress("rest_cookie_invalid_nonce", "Cookie check failed", 403))
        if nonce is None and self.era != "1.9":
            return _said(401, _wordpress("rest_forbidden", "Sorry, you are not allowed to do that.", 401))
        return None

    def _submit(self, request: Request) -> Response | Question:
        is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        fields = parsed(request.body) if is_json else {}
        if not isinstance(fields, dict):
            return _said(400, _wordpress("rest_invalid_json", "Invalid JSON body passed.", 400))
        message = fields.get("newMessage")
        if isinstance(message, (list, dict)):
            critical = "<p>There has been a critical error on this website.</p>"
            return _said(500, {**_wordpress("internal_server_error", critical, 500), "additional_errors": []})
        streams = bool(fields.get("stream")) and fields.get("stream") != "0"  # PHP's truth: the string "false" streams
        if fields.get("botId") not in (None, "", "default") or not (fields.get("botId") or fields.get("customId")):
            return self._unknown_bot(streams)
        text = message.strip(_TRIMMED) if isinstance(message, str) else ""
        if text in ("", "0") or len(text.encode("utf-8", "replace")) > MESSAGE_LIMIT:
            return _said(403, _REJECTED)
        writer = Writer(streams, self.nonces.current() if "x-wp-nonce" in request.headers else None)
        return Question(text, _conversation(fields, text), writer, settings=_settings(fields))

    @staticmethod
    def _unknown_bot(streams: bool) -> Response:
        if not streams:
            return _said(403, _REJECTED)
        # The stream begins before the plugin knows that it cannot: hence 200, and the type of the REST API.
        return Response(200, _line({"type": "error", "data": _REJECTED["message"]}), _JSON)


def _said(status: int, value: dict[str, Any]) -> Response:
    return Response(status, php_json(value).encode(), _JSON)


def _wordpress(code: str, message: str, status: int) -> dict[str, Any]:
    return {"code": code, "message": message, "data": {"status": status}}


def _conversation(fields: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """The last 15 messages, the new one in the place of the last if that is the user's. ``context`` is the system's text."""
    said: list[dict[str, Any]] = []
    for item in fields.get("messages") or []:
        match item:
            case {"role": "user" | "assistant" as role, "content": str(content)}:
                said.append({"role": role, "content": content})
    if said and said[-1]["role"] == "user":
        said.pop()
    said = [*said[-(_HISTORY - 1) :], {"role": "user", "content": text}]
    context = fields.get("context")
    return [{"role": "system", "content": context}, *said] if isinstance(context, str) and context else said


def _settings(fields: dict[str, Any]) -> dict[str, float]:
    named = {"temperature": "temperature", "maxTokens": "max_tokens"}
    return {
        ours: fields[theirs]
        for theirs, ours in named.items()
        if isinstance(fields.get(theirs), (int, float)) and not isinstance(fields.get(theirs), bool)
    }


def _line(value: dict[str, Any]) -> bytes:
    return f"data: {php_json(value)}\n\n".encode()


class Writer:
    """An answer as the plugin writes it: ``live`` and ``end`` events, or one object with status 500 where the model failed."""

    def __init__(self, streams: bool, nonce: str | None = None) -> None:
        self.streams = streams
        self.status = 200
        self.content_type = "text/event-stream;charset=UTF-8" if streams else _JSON
        self.headers = [("X-WP-Nonce", nonce)] if nonce else []
        self._texts: list[str] = []
        self._usage: dict[str, int] = {}
        self._failure: str | None = None

    def write(self, events: list[Event]) -> bytes:
        return b"".join(map(self._event, events))

    def end(self) -> bytes:
        if self.streams:
            return b""
        if self._failure is not None:
            self.status = 500
            return php_json({"success": False, "message": self._failure}).encode()
        return php_json(self._whole()).encode()

    def _event(self, event: Event) -> bytes:
        match event:
            case Text(text):
                self._texts.append(text)
                return _line({"type": "live", "data": text}) if self.streams else b""
            case Usage(prompt, completion, total):
                counted = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
                self._usage = {name: count for name, count in counted.items() if count is not None}
            case Finish(error=None):
                return _line({"type": "end", "data": php_json(self._whole())}) if self.streams else b""
            case Finish(error=error):
                self._failure = str(error)
                return _line({"type": "error", "data": self._failure}) if self.streams else b""
        return b""

    def _whole(self) -> dict[str, Any]:
        return {"success": True, "reply": "".join(self._texts).strip(), "images": None, "usage": self._usage}
