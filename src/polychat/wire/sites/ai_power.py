"""AI Power, the WordPress plugin: its page, its question, its reply. What its server does is in ``ai_power_site``.

Facts from version 1.8.99 as it answers. The plugin says 200 to almost everything; what went wrong shows only in the body.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import BackendError, BadInput, BadReply, ChatNotFound, EmptyReply, LimitReached, ReplyFailed, redact
from ...events import Event, Text, Usage
from ...prompt import byte_size
from ..framing import MAX_LINE, Lines, LineTooLong
from ..reading import complete, failed, parsed, truncated
from .pages import elements

AJAX = "/wp-admin/admin-ajax.php"
TAGS = re.compile(r"<[^<>]*>")
_SHORTCODE, _WIDGET = "wpaicg-chat-shortcode", "wpaicg-chatbox"
_LIMITS = ("tokenLimitReached", "messageFlagged", "ipBanned")
_UNKNOWN_ACTION = "the site does not know this action: AI Power is not active there"
_GLANCE = 4096
"""Bytes of a refusal's page that are looked at."""


@dataclass(slots=True, frozen=True)
class Bot:
    """Whom to ask: what the page's chat element tells the plugin's own script."""

    nonce: str
    post_id: str
    bot_id: str = "0"
    url: str | None = None
    """The page's own address, as the element gives it."""
    widget: bool = False

    @property
    def action(self) -> str:
        return "wpaicg_chatbox_message" if self.widget else "wpaicg_chat_shortcode_message"

    @property
    def identity(self) -> str:
        if self.bot_id != "0":
            return f"custom_bot_{self.bot_id}"
        return "widget" if self.widget else "shortcode"


def bot_of(page: str, page_url: str) -> Bot:
    """The first chat of a page: a shortcode's before the site-wide widget's. Raises ``ChatNotFound``."""
    has = ("data-nonce", "data-post-id")
    for class_name in (_SHORTCODE, _WIDGET, None):  # None: a theme that renamed the element
        for element in elements(page, class_name, has=has):
            if element["data-nonce"] and element["data-post-id"]:
                return Bot(
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
    """The prompt as it is. Raises ``BadInput`` for one that the server would refuse."""
    if not prompt.strip() or prompt == "0":  # to PHP, "0" is as empty as ""
        raise BadInput(
            "the message is empty, or 0, which the service takes for that: there is nothing to ask", field="messages"
        )
    byte_size(prompt, "messages")
    return prompt


def question(prompt: str, bot: Bot, url: str, client_id: str) -> dict[str, str]:
    """The form of an ask.

    The whole conversation is in ``message``, which arrives untouched: from the history the server strips backslashes before it
    decodes it, so that a quote there loses all of it, a newline becomes an n, and tags vanish.
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
    """What a status other than 2xx says, fit to be shown: its page without the tags."""
    if status == 400 and body.strip() == b"0":
        return _UNKNOWN_ACTION
    return redact(html.unescape(TAGS.sub(" ", body[:_GLANCE].decode("utf-8", "replace"))))


@dataclass(slots=True)
class Reader:
    """One reply of the plugin: an event stream or one JSON object, told apart by the first bytes.

    Whether it streams is the site's choice, and its content type may lie: the bytes decide. An upstream's error comes as if it
    were text: events without id and model, word by word; those words are the error's message here, and no text is given.
    """

    limit: int = MAX_LINE
    """Bytes of one line, of a JSON object, and of an error's words."""
    done: bool = False
    _whole: bytearray | None = None
    _lines: Lines | None = None
    _named: bool = False
    """The event being read has an ``event:`` field: the plugin writes one on its own words, and on nothing of the model's."""
    _said: bool = False
    _reason: str | None = None
    _usage: Usage | None = None
    _error: list[str] = field(default_factory=list)
    """The words of an error that came as if they were text."""
    _size: int = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events of ``data``."""
        if self.done:
            return []
        if self._lines is None and self._whole is None:
            data = data.lstrip()
            if not data:
                return []
            if data[:1] in b"{[<0":
                self._whole = bytearray()
            else:
                self._lines = Lines(self.limit)
        if self._lines is None:
            return self._gather(data)
        try:
            return self._read(self._lines.feed(data))
        except LineTooLong as error:
            return self._fail(BadReply(f"the service sent {error}"))

    def end(self) -> list[Event]:
        """The body is over."""
        if self.done:
            return []
        if self._whole is not None:
            return self._read_whole(bytes(self._whole))
        if self._lines is None:
            return self._fail(EmptyReply("an empty body: the site could not reach its model"))
        events = self._read(self._lines.end())
        return events if self.done else events + self._over()

    def _over(self) -> list[Event]:
        """The stream has no more lines, or said so."""
        self.done = True
        if self._error:
            return [failed(ReplyFailed(f"the service says: {redact(html.unescape(''.join(self._error)))}"))]
        if self._reason is None:
            return [truncated("neither [DONE] nor a finish_reason")]
        if not self._said:
            return [failed(EmptyReply("the service reports success and an empty reply"))]
        return [*([self._usage] if self._usage else []), complete(self._reason or None)]

    def _fail(self, error: BackendError) -> list[Event]:
        self.done = True
        return [failed(error)]

    def _gather(self, data: bytes) -> list[Event]:
        assert self._whole is not None
        self._whole += data
        if len(self._whole) > self.limit:
            return self._fail(BadReply(f"the service sent an object of more than {self.limit:,} bytes"))
        return []

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            events += self._line(line)
            if self.done:
                break
        return events

    def _line(self, line: bytes) -> list[Event]:
        if line.startswith(b"data:"):
            return self._event(line[5:].strip())
        if not line:
            self._named = False
        elif line.startswith(b"event:"):
            self._named = True
        elif not line.startswith((b":", b"id:", b"retry:")):
            return self._stray(line)
        return []

    def _stray(self, line: bytes) -> list[Event]:
        # An error's text with a newline in it, which the plugin writes as it is: the rest of a word.
        if self._error:
            return self._word(" " + line.decode("utf-8", "replace").removesuffix('"}}]}'))
        return self._fail(BadReply(f"a line that is no event of this service: {redact(line)}"))

    def _word(self, word: str) -> list[Event]:
        self._error.append(word)
        self._size += len(word)
        return self._over() if self._size > self.limit else []

    def _event(self, payload: bytes) -> list[Event]:
        if payload == b"[DONE]":
            self._reason = self._reason or ""
            return self._over()
        event = parsed(payload)
        match event:
            case {"error": error} if error:
                return self._fail(_failure(error))
            case {"msg": message}:
                return self._fail(_refusal(message, event))
            case {"choices": [{**choice}, *_], **rest}:
                return self._choice(choice, rest)
            case {"choices": [], "usage": {**usage}}:
                self._usage = _usage(usage)
                return []
            case {"choices": []}:
                return []
        if self._named:
            return self._word(_words_of_broken(payload))
        return self._fail(BadReply(f"a line that is no event of this service: data: {redact(payload)}"))

    def _choice(self, choice: Mapping[Any, Any], rest: Mapping[Any, Any]) -> list[Event]:
        events: list[Event] = []
        match choice:
            case {"delta": {"content": str(text)}} | {"text": str(text)} if text:  # text: of a model that only completes
                if self._named or not ("id" in rest or "model" in rest or self._said):
                    return self._word(text)
                self._said = True
                events.append(Text(text))
        match rest:
            case {"usage": {**usage}}:
                self._usage = _usage(usage)
        match choice:
            case {"finish_reason": str(reason)} if reason:
                self._reason = reason
                if self._error:
                    return self._over()  # said once; the plugin says it twice
        return events

    def _read_whole(self, whole: bytes) -> list[Event]:
        answer = parsed(whole)
        match answer:
            case {"status": "success", "data": str(text)} if not _limited(answer):
                self.done = True
                return [Text(text), complete()] if text.strip() else [failed(EmptyReply("success, and an empty reply"))]
            case {"error": error} if error:  # the upstream's own, passed through
                return self._fail(_failure(error))
            case {"msg": message} if answer.get("status") != "success" or _limited(answer):
                return self._fail(_refusal(message, answer))
            case 0:
                return self._fail(BadReply(_UNKNOWN_ACTION))
        return self._fail(BadReply(f"an answer that is none of this service: {redact(whole)}"))


def _limited(answer: Mapping[Any, Any]) -> bool:
    return any(answer.get(flag) for flag in _LIMITS)


def _refusal(message: object, answer: Mapping[Any, Any]) -> BackendError:
    text = f"the service says: {redact(html.unescape(str(message)))}"
    return LimitReached(text) if _limited(answer) else ReplyFailed(text)


def _failure(error: object) -> BackendError:
    match error:
        case {"message": str(message)} if message:
            error = message
    return ReplyFailed(f"the service says: {redact(str(error))}")


def _words_of_broken(payload: bytes) -> str:
    """The words of an error event whose JSON the plugin broke by not escaping them."""
    text = payload.decode("utf-8", "replace")
    return text.partition('"content":"')[2].removesuffix('"}}]}')


def _usage(usage: Mapping[Any, Any]) -> Usage | None:
    """What was counted; ``None`` where nothing was."""
    prompt_tokens, completion_tokens, total = (
        count if type(count := usage.get(name)) is int else None
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    return None if prompt_tokens is completion_tokens is total is None else Usage(prompt_tokens, completion_tokens, total)
