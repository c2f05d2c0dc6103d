"""AI Engine, server side: the plugin's responses to a page view, a session and a submit."""

from __future__ import annotations

import html
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...choices import SitesEra
from ...events import Event, Finish, Text, Usage
from ..answering import Request, Response, SiteRequest
from ..reading import parsed
from .ai_engine import MESSAGE_LIMIT, START_SESSION, SUBMIT, TRIMMED
from .wordpress import Nonces, php_json

_HISTORY = 15
_JSON = "application/json; charset=UTF-8"
_REJECTED = {"success": False, "message": "Sorry, your query has been rejected."}
_CRITICAL = (
    "<p>There has been a critical error on this website.</p>"
    '<p><a href="https://wordpress.org/support/article/faq-troubleshooting/">'
    "Learn more about troubleshooting WordPress.</a></p>"
)


@dataclass(slots=True)
class AIEngineSite:
    """One WordPress site with one bot, ``default``; with ``custom_id``, a bot whose page overrides its settings.

    ``era``: plugin 1.9 requires no nonce, 2.0 has it in the page, 2.4 returns it from ``start_session``.
    """

    limits: ClassVar[int] = 2 * 1024 * 1024

    era: SitesEra = "2.4"
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.SystemRandom)
    context_id: int = 28
    custom_id: str | None = None
    streams: bool = True
    """Whether the page announces streaming. The request decides whether the reply streams."""
    nonces: Nonces = field(init=False)

    def __post_init__(self) -> None:
        self.nonces = Nonces(self.clock, self.rng)

    @classmethod
    def in_era(cls, era: SitesEra) -> AIEngineSite:
        """The site as of that era."""
        return cls(era=era)

    def receive(self, request: Request) -> Response | SiteRequest:
        """Three pages, and the REST API under ``/wp-json`` or ``?rest_route=``."""
        route = request.query.get("rest_route")
        if not route and request.path.startswith("/wp-json/"):
            route = request.path.removeprefix("/wp-json")
        if not route:
            return self._page(request)
        nonce = request.headers.get("x-wp-nonce")
        if nonce is not None and not self.nonces.holds(nonce):
            return _json_response(403, _wordpress("rest_cookie_invalid_nonce", "Cookie check failed", 403))
        if (request.method, route) == ("POST", START_SESSION) and self.era == "2.4":
            return _json_response(200, {"success": True, "sessionId": "N/A", "restNonce": self.nonces.current()})
        if (request.method, route) != ("POST", SUBMIT):
            return _json_response(
                404, _wordpress("rest_no_route", "No route was found matching the URL and request method.", 404)
            )
        if nonce is None and self.era != "1.9":
            return _json_response(401, _wordpress("rest_forbidden", "Sorry, you are not allowed to do that.", 401))
        return self._submit(request)

    def _page(self, request: Request) -> Response:
        if request.method != "GET" or request.path.rstrip("/") not in ("", "/chat", "/chatgpt-free-use"):
            return Response(404, b"<!DOCTYPE html>\n<title>Page not found</title>\n", "text/html; charset=UTF-8")
        return Response(200, self.page(request.base).encode(), "text/html; charset=UTF-8")

    def page(self, base: str) -> str:
        """The page with the chat element for a guest, of a site whose root is ``base``."""
        system = {
            "botId": None if self.custom_id else "default",
            "customId": self.custom_id,
            "userData": None,
            "sessionId": "N/A",
            "restNonce": self.nonces.current() if self.era == "2.0" else None,
            "contextId": self.context_id,
            "pluginUrl": f"{base}/wp-content/plugins/ai-engine/",
            "restUrl": f"{base}/wp-json",
            **_switches(self.era, self.streams),
        }
        theme = {"type": "internal", "name": "ChatGPT", "themeId": "chatgpt", "settings": [], "style": ""}
        data = {"params": _looks(self.era), "system": system, "theme": theme}
        attributes = " ".join(f"data-{name}='{_escaped(php_json(value))}'" for name, value in data.items())
        return f"<!DOCTYPE html>\n<html><body>\n<div class='mwai-chatbot-container' {attributes}></div>\n</body></html>\n"

    def _submit(self, request: Request) -> Response | SiteRequest:
        is_json = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
        fields = parsed(request.body) if is_json else {}
        if not isinstance(fields, dict):
            return _json_response(400, _wordpress("rest_invalid_json", "Invalid JSON body passed.", 400))
        message = fields.get("newMessage")
        if isinstance(message, (list, dict)):
            return _json_response(500, {**_wordpress("internal_server_error", _CRITICAL, 500), "additional_errors": []})
        streams = bool(fields.get("stream")) and fields["stream"] != "0"  # truth as in PHP: the string "false" streams
        if not self._knows(fields):
            return _unknown_bot(streams)
        text = message.strip(TRIMMED) if isinstance(message, str) else ""
        if text in ("", "0") or len(text.encode("utf-8", "replace")) > MESSAGE_LIMIT:
            return _json_response(403, _REJECTED)
        writer = Writer(streams, self.nonces.current() if "x-wp-nonce" in request.headers else None, era=self.era)
        model = fields["model"] if isinstance(fields.get("model"), str) else None
        return SiteRequest(text, _conversation(fields, text), writer, model, _settings(fields))

    def _knows(self, fields: dict[str, Any]) -> bool:
        return fields.get("botId") == "default" or (self.custom_id is not None and fields.get("customId") == self.custom_id)


def _unknown_bot(streams: bool) -> Response:
    if not streams:
        return _json_response(403, _REJECTED)
    # The stream begins before the plugin detects the failure: therefore 200, and the content type of the REST API.
    return Response(200, _line({"type": "error", "data": _REJECTED["message"]}), _JSON)


def _json_response(status: int, value: dict[str, Any]) -> Response:
    return Response(status, php_json(value).encode(), _JSON)


def _wordpress(code: str, message: str, status: int) -> dict[str, Any]:
    return {"code": code, "message": message, "data": {"status": status}}


def _conversation(fields: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """The last 15 messages; the new one replaces the last if that is the user's. ``context`` is the system message.

    It is accepted in every era, like the other overrides. The plugin after 2.0.8 ignores them; here they always apply.
    """
    conversation: list[dict[str, Any]] = []
    history = fields.get("messages")
    for item in history[-_HISTORY:] if isinstance(history, list) else []:
        match item:
            case {"role": "user" | "assistant" as role, "content": str(content)}:
                conversation.append({"role": role, "content": content})
    if conversation and conversation[-1]["role"] == "user":
        conversation.pop()
    conversation.append({"role": "user", "content": text})
    context = fields.get("context")
    return [{"role": "system", "content": context}, *conversation] if isinstance(context, str) and context else conversation


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
    """An answer in the plugin's format: ``live`` and ``end`` events, or one object with status 500 if the model failed."""

    def __init__(self, streams: bool, nonce: str | None = None, era: SitesEra = "2.4") -> None:
        self.streams = streams
        self._era = era
        self.status = 200
        self.content_type = "text/event-stream;charset=UTF-8" if streams else _JSON
        self.headers = [("X-WP-Nonce", nonce)] if nonce else []
        self._texts: list[str] = []
        self._usage: dict[str, int] | None = None
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
        later: dict[str, Any] = {"actions": [], "shortcuts": [], "blocks": []} if self._era == "2.4" else {}
        reply = "".join(self._texts).strip(TRIMMED)
        return {"success": True, "reply": reply, "images": None, **later, "usage": self._usage}


def _escaped(text: str) -> str:
    """Text in an attribute, escaped as by WordPress's ``esc_attr``."""
    return html.escape(text, quote=True).replace("&#x27;", "&#039;")


def _switches(era: SitesEra, streams: bool) -> dict[str, Any]:
    speech = {"speech_recognition": False, "speech_synthesis": False}
    if era != "2.4":
        return {"debugMode": True, "typewriter": False, **speech, "stream": streams}
    extensions: dict[str, Any] = {"actions": [], "blocks": [], "shortcuts": []}
    return {"stream": streams, "debugMode": False, **speech, "typewriter": False, "virtual_keyboard_fix": False, **extensions}


def _looks(era: SitesEra) -> dict[str, Any]:
    later = era == "2.4"
    return {
        "aiName": "AI: ",
        "userName": "User: ",
        "guestName": "Guest: ",
        "textSend": "Send",
        "textClear": "Clear",
        "textInputPlaceholder": "Type your message...",
        "textInputMaxLength": 512,
        "textCompliance": "",
        "startSentence": "Hi! How can I help you?",
        "localMemory": True,
        "themeId": "chatgpt",
        "window": False,
        "icon": "",
        "iconText": "",
        **({"iconTextDelay": 1} if later else {}),
        "iconAlt": "AI Engine Chatbot" if later else "AI Chatbot Avatar",
        "iconPosition": "bottom-right",
        **({"iconBubble": False} if later else {}),
        "fullscreen": False,
        "copyButton": False,
    }
