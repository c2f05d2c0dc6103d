"""AI Power, server side: the plugin's responses to a page view and a message."""

from __future__ import annotations

import html
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from ...choices import SitesEra
from ...events import Event, Finish, Text
from ..answering import Request, Response, SiteRequest
from ..framing import data_line
from ..reading import parsed
from .ai_power import AJAX, TAGS
from .wordpress import Nonces, php_json

_JSON = "application/json; charset=UTF-8"
_HTML = "text/html; charset=UTF-8"
_GREETING = (
    "Converse as if you were an AI assistant. Answer the question as truthfully as possible "
    "using the provided text. Tone: Friendly"
)
_CLIENTS = 10_000
"""Maximum guests whose message counts are kept; the oldest are removed."""
_ACTIONS = ("wpaicg_chat_shortcode_message", "wpaicg_chatbox_message")
_POST_ID = 5
_FIELD = re.compile(rb"""(?i)content-disposition:[^\r\n]*?;\s*name="?([^";\r\n]*)""")
_HEAD = 1024
"""Maximum bytes of a part's headers that are searched."""


@dataclass(slots=True)
class AIPowerSite:
    """One WordPress site whose pages contain the shortcode's default chat."""

    limits: ClassVar[int] = 2 * 1024 * 1024

    streams: bool = True
    """Whether answers are streamed: the site decides, not the client."""
    asks: int | None = None
    """Maximum messages of a guest; ``None`` is no limit."""
    clock: Callable[[], float] = time.time
    rng: random.Random = field(default_factory=random.SystemRandom)
    nonces: Nonces = field(init=False)
    _asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nonces = Nonces(self.clock, self.rng)

    @classmethod
    def in_era(cls, era: SitesEra) -> AIPowerSite:
        """The site as of that era: clients of the first era read one JSON object, whatever the content type."""
        return cls(streams=era != "1.9")

    def receive(self, request: Request) -> Response | SiteRequest:
        """Pages, and messages at ``admin-ajax.php``."""
        if request.path == AJAX:
            return self._ajax(request)
        if request.method != "GET" or request.path.rstrip("/") not in ("", "/chat"):
            return Response(404, b"<!DOCTYPE html>\n<title>Page not found</title>\n", _HTML)
        return Response(200, self.page(request.base + request.path.rstrip("/")).encode(), _HTML)

    def page(self, url: str) -> str:
        """The page with the chat element for a guest."""
        return _PAGE.format(nonce=self.nonces.current(), post_id=_POST_ID, url=html.escape(url), streams=int(self.streams))

    def _ajax(self, request: Request) -> Response | SiteRequest:
        form = _form(request)
        if request.method != "POST" or form.get("action") not in _ACTIONS:
            return Response(400, b"0", _HTML)
        if not self.nonces.holds(form.get("_wpnonce", "")):
            return _expired(request)
        if form.get("message") in (None, "", "0"):
            return _json_response({"status": "error", "msg": "It appears that nothing was inputted."})
        return self._over_limit(form.get("wpaicg_chat_client_id", "")) or SiteRequest(
            form["message"], _conversation(form), self._writer()
        )

    def _over_limit(self, client: str) -> Response | None:
        if self.asks is None:
            return None
        count = self._asked.pop(client, 0) + 1
        self._asked[client] = count
        if len(self._asked) > _CLIENTS:
            del self._asked[next(iter(self._asked))]
        if count <= self.asks:
            return None
        reached = {"msg": "You have reached your token limit.", "tokenLimitReached": True}
        return Response(200, data_line(reached), "text/event-stream;charset=UTF-8") if self.streams else _json_response(reached)

    def _writer(self) -> StreamWriter | WholeWriter:
        if not self.streams:
            return WholeWriter()
        return StreamWriter(f"chatcmpl-{self.rng.getrandbits(96):024x}", int(self.clock()))


def _json_response(value: dict[str, Any]) -> Response:
    return Response(200, php_json(value).encode(), _JSON)


def _expired(request: Request) -> Response:
    """WordPress's page for an invalid nonce; its link leads back to a page of the same site."""
    text = "The link you followed has expired."
    referer = request.headers.get("referer", "")
    if referer.startswith("/".join([*request.base.split("/", 3)[:3], ""])):
        text += f'</p><p><a href="{html.escape(referer)}">Please try again.</a>'
    return Response(403, text.encode(), _HTML)


def _form(request: Request) -> dict[str, str]:
    """The fields of an urlencoded or multipart body; none for any other type."""
    content_type = request.headers.get("content-type", "")
    match content_type.partition(";")[0].strip().lower():
        case "application/x-www-form-urlencoded":
            return dict(parse_qsl(request.body.decode("utf-8", "replace")))
        case "multipart/form-data":
            return _parts(request.body, content_type)
    return {}


def _parts(body: bytes, content_type: str) -> dict[str, str]:
    """The fields of a multipart body. Without ``email``, which takes minutes for a megabyte of parameters."""
    kind = Message()
    kind["Content-Type"] = content_type
    boundary = kind.get_boundary("").encode("utf-8", "replace")
    fields: dict[str, str] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:]:
        head, _, value = part.partition(b"\r\n\r\n")
        if name := _FIELD.search(head[:_HEAD]):
            fields[name[1].decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return fields


def _conversation(form: dict[str, str]) -> list[dict[str, Any]]:
    """The message after the part of the history that the plugin's decoding keeps: it removes backslashes before it decodes."""
    history = parsed(TAGS.sub("", form.get("wpaicg_chat_history", "")).replace("\\", ""))
    conversation = [_entry(item) for item in (history if isinstance(history, list) else [])]
    return [*filter(None, conversation), {"role": "user", "content": form["message"]}]


def _entry(item: object) -> dict[str, Any] | None:
    match item:
        case {"text": str(text)} | str(text):  # older pages send plain strings
            text = text.strip()
            if text.startswith("Human: "):
                return {"role": "user", "content": text.removeprefix("Human: ").strip()}
            text = text.replace("AI: ", "").strip()
            return {"role": "assistant", "content": text} if text else None
    return None


class StreamWriter:
    """An answer as the plugin streams it: the model's own chunks, and ``[DONE]``.

    A model's failure is streamed word by word like an answer, twice, without ``[DONE]``; a reply that was cut just stops.
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
    """An error as the plugin streams it, but escaped, so that no word of it can look like a word of an answer."""
    words = re.findall(r"\s?\S+", message) or ["error"]
    events = b"".join(b"event: message\n" + data_line({"choices": [{"delta": {"content": word}}]}) for word in words)
    return events + data_line({"choices": [{"finish_reason": "stop"}]})


class WholeWriter:
    """An answer in the plugin's format without streaming; always with status 200."""

    streams = False
    status = 200
    content_type = _JSON

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self._texts: list[str] = []
        self._failure: str | None = "the answer was cut"

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            match event:
                case Text(text):
                    self._texts.append(text)
                case Finish(error=error):
                    self._failure = None if error is None else str(error)
        return b""

    def end(self) -> bytes:
        if self._failure is not None:
            shown = html.escape(self._failure, quote=True).replace("&#x27;", "&#039;")  # as by WordPress's esc_html
            return php_json({"status": "error", "msg": shown, "greeting_message": _GREETING, "log": False}).encode()
        answer = "".join(self._texts)
        success = {"status": "success", "msg": "Something went wrong", "greeting_message": _GREETING}
        return php_json({**success, "data": answer, "log": False}).encode()


_PAGE = """<!DOCTYPE html>
<html><body>
<div class="wpaicg-chat-shortcode"
     data-user-bg-color="#ccf5e1"
     data-color="#495057"
     data-fontsize="14"
     data-ai-bg-color="#d1e8ff"
     data-nonce="{nonce}"
     data-post-id="{post_id}"
     data-url="{url}"
     data-bot-id="0"
     data-width="100%"
     data-height="50%"
     data-footer="false"
     data-has-bar="false"
     data-speech=""
     data-voice=""
     data-elevenlabs-model=""
     data-voice-error=""
     data-typewriter-effect = ""
     data-typewriter-speed="1"
     data-text_height="60"
     data-text_rounded="8"
     data-chat_rounded="8"
     data-voice_service=""
     data-voice_language="en-US"
     data-voice_name="en-US-Studio-M"
     data-voice_device=""
     data-voice_speed="1"
     data-voice_pitch="0"
     data-openai_model="tts-1"
     data-openai_voice="alloy"
     data-openai_output_format="mp3"
     data-openai_voice_speed="1.0"
     data-openai_stream_nav="{streams}"
     data-autoload_chat_conversations="0"
     data-copy_btn=""
     data-feedback_btn = ""
     data-feedback_title = "Feedback"
     data-feedback_message = "Please provide details: (optional)"
     data-feedback_success = "Thank you for your feedback!"
     data-user-voice-control = ""
     data-voice-muted-by-default=""
     data-memory-limit = "100"
     data-lead-collection = "0"
     data-lead-title = "Let us know how to contact you"
     data-lead-name = "Name"
     data-enable-lead-name = "1"
     data-lead-email = "Email"
     data-enable-lead-email = "1"
     data-lead-phone = "Phone"
     data-enable-lead-phone = "1"
     data-bg_text_field = "#ffffff"
     data-bg_text_field_font_color = "#495057"
     data-bg_text_field_border_color = "#ced4da"
     data-assistant-enabled="false"
     data-type="shortcode"
></div>
</body></html>
"""
