"""AI Power's answering half: what the plugin's server does with a page view and a message."""

from __future__ import annotations

import html
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from ..events import Event, Finish, Text, Usage
from .ai_power import AJAX
from .answering import Question, Request, Response
from .framing import data_line
from .reading import parsed
from .wordpress import Nonces, php_json

_JSON = "application/json; charset=UTF-8"
_HTML = "text/html; charset=UTF-8"
_GREETING = (
    "Converse as if you were an AI assistant. Answer the question as truthfully as possible "
    "using the provided text. Tone: Friendly"
)
_CLIENTS = 10_000
"""How many guests' counts are kept; the oldest are forgotten."""


@dataclass(slots=True)
class AIPowerSite:
    """One WordPress site whose pages hold the shortcode's default chat."""

    limits: ClassVar[int] = 2 * 1024 * 1024

    streams: bool = True
    """Whether answers are streamed: the site's choice, not the client's."""
    asks: int | None = None
    """How many messages a guest may send; ``None`` is no limit."""
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.SystemRandom)
    nonces: Nonces = field(init=False)
    _asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nonces = Nonces(self.clock, self.rng)

    def hear(self, request: Request) -> Response | Question:
        """Pages, and messages at ``admin-ajax.php``."""
        if request.path == AJAX:
            return self._ajax(request)
        if request.method != "GET" or request.path.rstrip("/") not in ("", "/chat"):
            return Response(404, b"<!DOCTYPE html>\n<title>Page not found</title>\n", _HTML)
        return Response(200, self.page(request.base + request.path.rstrip("/")).encode(), _HTML)

    def page(self, url: str) -> str:
        """The page with the chat element, as a guest gets it. Some attributes have spaces round ``=``, as the plugin's do."""
        return (
            '<!DOCTYPE html>\n<html><body>\n<div class="wpaicg-chat-shortcode"\n'
            f'     data-nonce="{self.nonces.current()}"\n     data-post-id="5"\n     data-url="{html.escape(url)}"\n'
            '     data-bot-id="0"\n     data-typewriter-effect = ""\n'
            f'     data-openai_stream_nav="{int(self.streams)}"\n     data-type="shortcode"\n></div>\n</body></html>\n'
        )

    def _ajax(self, request: Request) -> Response | Question:
        form = _form(request)
        if request.method != "POST" or form.get("action") != "wpaicg_chat_shortcode_message":
            return Response(400, b"0", _HTML)
        if not self.nonces.holds(form.get("_wpnonce", "")):
            again = f'The link you followed has expired.</p><p><a href="{html.escape(request.base)}">Please try again.</a>'
            return Response(403, again.encode(), _HTML)
        if not form.get("message"):
            return _said({"status": "error", "msg": "Please enter your message"})
        return self._over_limit(form.get("wpaicg_chat_client_id", "")) or Question(
            form["message"], _conversation(form), self._writer()
        )

    def _over_limit(self, client: str) -> Response | None:
        if self.asks is None:
            return None
        asked = self._asked.pop(client, 0) + 1
        self._asked[client] = asked
        if len(self._asked) > _CLIENTS:
            del self._asked[next(iter(self._asked))]
        if asked <= self.asks:
            return None
        reached = {"msg": "You have reached your token limit.", "tokenLimitReached": True}
        return Response(200, data_line(reached), "text/event-stream;charset=UTF-8") if self.streams else _said(reached)

    def _writer(self) -> StreamWriter | WholeWriter:
        if not self.streams:
            return WholeWriter()
        return StreamWriter(f"chatcmpl-{self.rng.getrandbits(96):024x}", int(self.clock()))


def _said(value: dict[str, Any]) -> Response:
    return Response(200, php_json(value).encode(), _JSON)


def _form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded or multipart body; nothing of any other."""
    content_type = request.headers.get("content-type", "")
    match content_type.partition(";")[0].strip().lower():
        case "application/x-www-form-urlencoded":
            return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        case "multipart/form-data":
            whole = message_from_bytes(
                b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + request.body, policy=policy.HTTP
            )
            parts = ((part.get_param("name", header="content-disposition"), part) for part in whole.iter_parts())
            return {str(name): _text(part.get_payload(decode=True)) for name, part in parts if name}
    return {}


def _text(payload: object) -> str:
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _conversation(form: dict[str, str]) -> list[dict[str, Any]]:
    """The message, behind as much of the history as the plugin's own decoding leaves of it."""
    unslashed = re.sub(r"\\(.?)", r"\1", form.get("wpaicg_chat_history", ""), flags=re.DOTALL)
    said: list[dict[str, Any]] = []
    history = parsed(unslashed)
    for item in history if isinstance(history, list) else []:
        match item:
            case {"text": str(text)}:
                role = "assistant" if text.startswith("AI: ") else "user"
                said.append(
                    {"role": role, "content": re.sub(r"<[^>]*>", "", text.removeprefix("AI: ").removeprefix("Human: "))}
                )
    return [*said, {"role": "user", "content": form["message"]}]


class StreamWriter:
    """An answer as the plugin streams it: the model's own chunks, and ``[DONE]``.

    A model's failure is said word by word, as if it were the answer, twice, and ends without ``[DONE]``; a cut one just stops.
    """

    streams = True
    status = 200
    content_type = "text/event-stream;charset=UTF-8"

    def __init__(self, ident: str, created: int, model: str = "gpt-4o-mini") -> None:
        self.headers: list[tuple[str, str]] = []
        self._head = {"id": ident, "object": "chat.completion.chunk", "created": created, "model": model}
        self._begun = False

    def write(self, events: list[Event]) -> bytes:
        return b"".join(map(self._event, events))

    def end(self) -> bytes:
        return b""

    def _event(self, event: Event) -> bytes:
        match event:
            case Text(text):
                return self._first() + self._chunk({"content": text})
            case Finish(verdict="complete", reason=reason):
                return self._first() + self._chunk({}, reason or "stop") + data_line("[DONE]")
            case Finish(verdict="failed", error=error):
                return 2 * _as_content(str(error))
        return b""

    def _first(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._chunk({"role": "assistant", "content": ""})

    def _chunk(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        return data_line({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _as_content(message: str) -> bytes:
    """An error as the plugin streams it. It escapes nothing; we do, for a word of a real answer must not look like one."""
    words = re.findall(r"\s?\S+", message) or ["error"]
    said = b"".join(b"event: message\n" + data_line({"choices": [{"delta": {"content": word}}]}) for word in words)
    return said + data_line({"choices": [{"finish_reason": "stop"}]})


class WholeWriter:
    """An answer as the plugin gives it where streaming is off; 200 whatever happened."""

    streams = False
    status = 200
    content_type = _JSON

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self._texts: list[str] = []
        self._failure: str | None = None

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            match event:
                case Text(text):
                    self._texts.append(text)
                case Finish(error=error) if error is not None:
                    self._failure = str(error)
                case Usage():
                    pass  # this reply has no place for it
        return b""

    def end(self) -> bytes:
        if self._failure is not None:
            shown = html.escape(self._failure, quote=True).replace("&#x27;", "&#039;")  # as WordPress's esc_html has it
            return php_json({"status": "error", "msg": shown, "greeting_message": _GREETING, "log": False}).encode()
        answer = "".join(self._texts)
        success = {"status": "success", "msg": "Something went wrong", "greeting_message": _GREETING}
        return php_json({**success, "data": answer, "log": False}).encode()
