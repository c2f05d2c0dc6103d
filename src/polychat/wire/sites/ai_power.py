"""AI Power, the WordPress plugin, client side: its page, its requests and its replies. The server side is ``ai_power_site``.

Facts from the behaviour of version 1.8.99. The plugin answers 200 to almost everything; errors are only in the body.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BackendError, BadInput, BadReply, ChatNotFound, EmptyReply, LimitReached, ReplyFailed, redact
from ...events import Event, Finish, Text, Usage
from ...prompt import byte_size
from ..framing import MAX_LINE, Lines, WholeBody
from ..limits import ReaderLimits
from ..reading import complete, failed, parsed, truncated
from ..stream import ENDS, BadShape, Ended, Framing, StreamReader
from ..token_counts import token_count
from .pages import elements

AJAX = "/wp-admin/admin-ajax.php"
TAGS = re.compile(r"<[^<>]*>")
_SHORTCODE, _WIDGET = "wpaicg-chat-shortcode", "wpaicg-chatbox"
_LIMITS = ("tokenLimitReached", "messageFlagged", "ipBanned")
_UNKNOWN_ACTION = "the site does not know this action: AI Power is not active there"
_GLANCE = 4096
"""Maximum bytes of an error page that are searched."""


@dataclass(slots=True, frozen=True)
class AIPowerBot:
    """The bot, as the page's chat element passes it to the plugin's script."""

    nonce: str
    post_id: str
    bot_id: str = "0"
    url: str | None = None
    """The page's URL, as the element has it."""
    widget: bool = False

    @property
    def action(self) -> str:
        return "wpaicg_chatbox_message" if self.widget else "wpaicg_chat_shortcode_message"

    @property
    def identity(self) -> str:
        if self.bot_id != "0":
            return f"custom_bot_{self.bot_id}"
        return "widget" if self.widget else "shortcode"


def bot_of(page: str, page_url: str) -> AIPowerBot:
    """The first chat of a page: a shortcode's before the site-wide widget's. Raises ``ChatNotFound``."""
    has = ("data-nonce", "data-post-id")
    for class_name in (_SHORTCODE, _WIDGET, None):  # None: a theme that renamed the element
        for element in elements(page, class_name, has=has):
            if element["data-nonce"] and element["data-post-id"]:
                return AIPowerBot(
                    element["data-nonce"],
                    element["data-post-id"],
                    element.get("data-bot-id") or "0",
                    element.get("data-url") or None,
                    element.get("data-type") == "widget" or class_name == _WIDGET,
                )
    raise ChatNotFound(
        f"authentication tokens not found: no AI Power chat in {redact(page_url)}; "
        "name the page that holds it with the option page, such as page='/chat/'"
    )


def checked(prompt: str) -> str:
    """The prompt unchanged. Raises ``BadInput`` for one that the server would reject."""
    if not prompt.strip() or prompt == "0":  # in PHP, "0" is as empty as ""
        raise BadInput("the message is empty, or 0, which the service treats as empty: write a question", field="messages")
    byte_size(prompt, "messages")
    return prompt


def question(prompt: str, bot: AIPowerBot, url: str, client_id: str) -> dict[str, str]:
    """The form of a request.

    The whole conversation is in ``message``, which arrives unchanged: from the history the server removes backslashes before it
    decodes it, so that a quote there loses all of it, a newline becomes an n, and tags are removed.
    """
    return {
        "_wpnonce": bot.nonce,
        "post_id": bot.post_id,
        "url": url,
        "action": bot.action,
        "message": prompt,
        "bot_id": bot.bot_id,
        "chatbot_identity": bot.identity,
        "wpaicg_chat_client_id": client_id,
        "wpaicg_chat_history": "",
    }


def refusal(status: int, body: bytes) -> str:
    """The redacted text of a response other than 2xx: its page without tags."""
    if status == 400 and body.strip() == b"0":
        return _UNKNOWN_ACTION
    return redact(html.unescape(TAGS.sub(" ", body[:_GLANCE].decode("utf-8", "replace"))))


class Reader(StreamReader):
    """One reply of the plugin: an event stream or one JSON object, distinguished by the first bytes.

    The site decides whether it streams, and its content type may be wrong: the bytes decide. An upstream's error is sent as if
    it were text: events without id and model, word by word; these words become the error's message, and no text is emitted.
    ``limit`` is in bytes, of one line, of a JSON object, and of an error's text.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        super().__init__(None, ReaderLimits(line=limit, event=limit))
        self._named = False
        """The current event has an ``event:`` field: the plugin writes one for its own texts, and none for the model's."""
        self._has_text = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._error: list[str] = []
        """The text of an error that was sent as if it were an answer."""
        self._size = 0

    def framing_for(self, body: bytes) -> Framing:
        return WholeBody(self._limits.event) if body[:1] in b"{[<0" else Lines(self._limits.line)

    def whole(self, value: Any, events: list[Event]) -> Finish:
        match value:
            case {"status": "success", "data": str(text)} if not _limited(value):
                events += [Text(text)] if text.strip() else []
                return complete() if text.strip() else failed(EmptyReply("the service reports success and an empty reply"))
            case {"error": error} if error:  # the upstream's own error, forwarded
                raise _failure(error)
            case {"msg": message} if value.get("status") != "success" or _limited(value):
                raise _refusal(message, value)
            case 0:
                raise BadReply(_UNKNOWN_ACTION)
        raise BadShape("a response that is not in this service's format")

    def over(self, broken: str) -> Finish:
        if self._framing is None:
            return failed(EmptyReply("an empty body: the site could not reach its model"))
        if self._error:
            return failed(ReplyFailed(f"the service reports: {redact(html.unescape(''.join(self._error)))}"))
        if self._reason is None:
            return truncated(broken or "neither [DONE] nor a finish_reason")
        return (
            complete(self._reason or None)
            if self._has_text
            else failed(EmptyReply("the service reports success and an empty reply"))
        )

    def rest(self, finish: Finish) -> list[Event]:
        return [self._usage] if self._usage is not None and finish.verdict == "complete" else []

    def is_cut(self, payload: bytes) -> bool:
        return False  # not all lines are JSON

    def _read(self, payloads: list[bytes]) -> list[Event]:
        """By line, because the lines between the events tell their kind, and not all events are JSON."""
        events: list[Event] = []
        line = b""
        try:
            for line in payloads:
                self._line(line, events)
        except ENDS as error:
            return self._ended(events, self._end_of(error, None, line))
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if line.startswith(b"data:"):
            self._event(line[5:].strip(), events)
        elif not line:
            self._named = False
        elif line.startswith(b"event:"):
            self._named = True
        elif not line.startswith((b":", b"id:", b"retry:")):
            # An error's text with a newline in it, which the plugin does not escape: the rest of a word.
            if not self._error:
                raise BadShape("a line that is not an event of this service")
            self._append_word(" " + line.decode("utf-8", "replace").removesuffix('"}}]}'))

    def _append_word(self, word: str) -> None:
        self._error.append(word)
        self._size += len(word)
        if self._size > self._limits.event:
            raise Ended(self.over(""))

    def _event(self, payload: bytes, events: list[Event]) -> None:
        if payload == b"[DONE]":
            self._reason = self._reason or ""
            raise Ended(self.over(""))
        event = parsed(payload)
        match event:
            case {"error": error} if error:
                raise _failure(error)
            case {"msg": message}:
                raise _refusal(message, event)
            case {"choices": [{**choice}, *_], **rest}:
                self._choice(choice, rest, events)
            case {"choices": [], "usage": {**usage}}:
                self._usage = _usage(usage)
            case {"choices": []}:
                pass
            case _ if self._named:
                self._append_word(_text_of_broken_event(payload))
            case _:
                raise BadShape("a line that is not an event of this service")

    def _choice(self, choice: Mapping[Any, Any], rest: Mapping[Any, Any], events: list[Event]) -> None:
        match choice:
            case {"delta": {"content": str(text)}} | {"text": str(text)} if text:  # text: the field of completion models
                if self._named or not ("id" in rest or "model" in rest or self._has_text):
                    self._append_word(text)
                    return
                self._has_text = True
                events.append(Text(text))
        match rest:
            case {"usage": {**usage}}:
                self._usage = _usage(usage)
        match choice:
            case {"finish_reason": str(reason)} if reason:
                self._reason = reason
                if self._error:
                    raise Ended(self.over(""))  # once; the plugin sends it twice


def _limited(answer: Mapping[Any, Any]) -> bool:
    return any(answer.get(flag) for flag in _LIMITS)


def _refusal(message: object, answer: Mapping[Any, Any]) -> BackendError:
    text = f"the service reports: {redact(html.unescape(str(message)))}"
    return LimitReached(text) if _limited(answer) else ReplyFailed(text)


def _failure(error: object) -> BackendError:
    match error:
        case {"message": str(message)} if message:
            error = message
    return ReplyFailed(f"the service reports: {redact(str(error))}")


def _text_of_broken_event(payload: bytes) -> str:
    """The text of an error event whose JSON is invalid because the plugin did not escape it."""
    text = payload.decode("utf-8", "replace")
    return text.partition('"content":"')[2].removesuffix('"}}]}')


def _usage(usage: Mapping[Any, Any]) -> Usage | None:
    """The usage; ``None`` if it has no counts."""
    prompt_tokens, completion_tokens, total = (
        token_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    return None if prompt_tokens is completion_tokens is total is None else Usage(prompt_tokens, completion_tokens, total)
