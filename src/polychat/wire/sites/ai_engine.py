"""AI Engine, the WordPress plugin: its page, its question, its reply. What its server does is in ``ai_engine_site``.

Facts from versions 1.9.99, 2.0.8 and 2.5.2 as they answer; a version's own way is named where it differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...errors import BadInput, BadReply, ChatNotFound, EmptyReply, MessageTooLong, ReplyFailed, redact
from ...events import Event, Finish, Text, Usage
from ...prompt import byte_size, turns
from ...types import Messages
from ..framing import MAX_LINE, DataLines, WholeBody
from ..limits import ReaderLimits
from ..reading import complete, failed, parsed, truncated
from ..stream import BadShape, Ended, Framing, StreamReader
from .pages import elements

SUBMIT = "/mwai-ui/v1/chats/submit"
START_SESSION = "/mwai/v1/start_session"
MESSAGE_LIMIT = 65_536
"""Bytes of a message, once trimmed."""
TRIMMED = " \t\n\r\0\x0b"
"""What PHP's ``trim()`` takes off."""


@dataclass(slots=True, frozen=True)
class AIEngineBot:
    """The bot and its address, as the page gives them to the plugin's own script."""

    rest_url: str
    """The site's REST root: ``https://host/wp-json`` or ``https://host/?rest_route=``."""
    bot_id: str | None = "default"
    custom_id: str | None = None
    context_id: int | None = 28
    session_id: str = "N/A"
    nonce: str | None = None
    stream: bool = True

    @property
    def submit_url(self) -> str:
        return self.rest_url + SUBMIT

    @property
    def session_url(self) -> str:
        return self.rest_url + START_SESSION


def bot_of(html: str, page_url: str) -> AIEngineBot:
    """The first bot of a page. Raises ``ChatNotFound``, or ``BadReply`` where the page would send us to another host.

    ``page_url`` is where the page came from, after redirects.
    """
    for element in elements(html, "mwai-chatbot-container", has=("data-system",)):
        match parsed(element["data-system"]):
            case {"restUrl": str(rest_url)} as system if rest_url:
                return _bot(system, _rest_root(rest_url, page_url))
    raise ChatNotFound(
        f"no AI Engine chat in {redact(page_url)}: name the page that holds it with the option page, such as page='/chat/'"
    )


def _bot(system: dict[str, Any], rest_url: str) -> AIEngineBot:
    def text(name: str) -> str | None:
        value = system.get(name)
        return value if isinstance(value, str) and value else None

    context = system.get("contextId")
    return AIEngineBot(
        rest_url,
        text("botId"),
        text("customId"),
        context if isinstance(context, int) else None,
        text("sessionId") or "N/A",
        text("restNonce"),
        system.get("stream") is not False,
    )


def _rest_root(rest_url: str, page_url: str) -> str:
    """The REST root on the page's own scheme, host and port; another host is refused: our words were not meant for it.

    A site behind a proxy often names http, www or an inner port for itself: the address that gave the page is known to work.
    """
    try:
        rest, page = urlsplit(urljoin(page_url, rest_url)), urlsplit(page_url)
    except ValueError:  # half an IPv6 address
        raise BadReply(f"the page {redact(page_url)} names no address for its chat: {redact(rest_url)}") from None
    if not same_host(rest.geturl(), page_url):
        raise BadReply(f"the page {redact(page_url)} sends its chat to another host: {redact(rest_url)}")
    return rest._replace(scheme=page.scheme, netloc=page.netloc).geturl().rstrip("/")


def same_host(url: str, other: str) -> bool:
    """Whether two URLs are of one host, with or without ``www.``."""
    return _host(url) == _host(other)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def nonce_of(reply: bytes) -> str | None:
    """The nonce in an answer of ``start_session``; ``None`` where there is none."""
    match parsed(reply):
        case {"success": True, "restNonce": str(nonce)} if nonce:
            return nonce
    return None


def is_nonce_failure(status: int, body: bytes) -> bool:
    """Whether this refusal is about the nonce, and a fresh one may help; a refused message says so otherwise."""
    return status in (401, 403) and any(code in body for code in (b"rest_forbidden", b"rest_cookie_invalid_nonce"))


@dataclass(slots=True, frozen=True)
class Overrides:
    """What a client may set over the bot's own settings; servers after 2.0.8 pass it over."""

    temperature: float | None = None
    max_tokens: int | None = None

    def fields(self, system: str | None) -> dict[str, Any]:
        """By the names of the request. Raises ``BadInput`` for a value that cannot be one."""
        if not _is_number(self.temperature, int, float):
            raise BadInput(f"temperature is {self.temperature!r}; it must be a number of at least 0", field="temperature")
        if not _is_number(self.max_tokens, int) or self.max_tokens == 0:
            raise BadInput(f"max_tokens is {self.max_tokens!r}; it must be a whole number above 0", field="max_tokens")
        named = {"context": system, "temperature": self.temperature, "maxTokens": self.max_tokens}
        return {name: value for name, value in named.items() if value is not None}


def _is_number(value: float | None, *kinds: type) -> bool:
    return value is None or (type(value) in kinds and 0 <= value < math.inf)  # bool is an int, and no number here


def question(messages: Messages, bot: AIEngineBot, chat_id: str, overrides: Overrides | None = None) -> dict[str, Any]:
    """The body of a submit. Raises ``BadInput`` and ``MessageTooLong`` for what the server would refuse.

    The server keeps the last 15 messages, and puts ``newMessage`` in the place of the last one if that is the user's. It takes
    it for the user's words, whatever role the last message has. It drops system messages from the list; their text goes as
    ``context`` too, which servers up to 2.0.8 take.
    """
    conversation = [{"role": role, "content": text} for role, text in turns(messages)]
    system = "\n".join(item["content"] for item in conversation if item["role"] == "system")
    return {
        "botId": bot.bot_id,
        "chatId": chat_id,
        "contextId": bot.context_id,
        "customId": bot.custom_id,
        "messages": conversation,
        "newMessage": _checked(conversation[-1]["content"], f"messages[{len(conversation) - 1}].content"),
        "session": bot.session_id,
        "stream": bot.stream,
        **(overrides or Overrides()).fields(system or None),
    }


def _checked(text: str, field_name: str) -> str:
    trimmed = text.strip(TRIMMED)
    if trimmed in ("", "0"):
        raise BadInput(
            f"{field_name} is {text!r}; the service rejects an empty message, and 0: write a question", field=field_name
        )
    size = byte_size(trimmed, field_name)
    if size > MESSAGE_LIMIT:
        raise MessageTooLong(field=field_name, size=size, limit=MESSAGE_LIMIT)
    return text


def refusal(status: int, body: bytes) -> str:
    """What the plugin or WordPress says in a refusal, fit to be shown."""
    if status == 404:
        return "no AI Engine answers at this address: check base_url, or name the page that holds the chat with the option page"
    match parsed(body):
        case {"message": str(message)}:
            return redact(message)
    return redact(body)


class Reader(StreamReader):
    """One reply of ``submit``: an event stream or one JSON object, distinguished by the first byte.

    The plugin sends streams as ``application/json`` and JSON where a stream was asked for; the content type does not
    distinguish them. PHP may print a byte order mark or notices first. A reply that the model's server cut short can end like a
    whole one: the ``end`` event repeats what was streamed, and does not show it. ``limit`` is the bytes of one line and of a
    JSON object.
    """

    SHAPE = "a line that is no event of this service"
    PREFIX = b"data: "

    def __init__(self, limit: int = MAX_LINE) -> None:
        super().__init__(None, ReaderLimits(line=limit, event=limit))
        self._texts: list[str] = []

    def framing_for(self, body: bytes) -> Framing:
        return WholeBody(self._limits.event) if body[:1] in b"{[" else DataLines(self._limits.line)

    def take(self, value: Any, events: list[Event]) -> None:
        match value:
            case {"type": "live", "data": str(text)}:
                if text:
                    self._texts.append(text)
                    events.append(Text(text))
            case {"type": "end", "data": str(whole)}:
                raise Ended(self.whole(parsed(whole), events))
            case {"type": "error", "data": message}:
                raise ReplyFailed(f"the service reports: {redact(str(message))}")
            case {"type": str(kind)} if kind not in ("live", "end", "error"):
                pass  # later versions add kinds of their own beside the text
            case _:
                raise BadShape(self.SHAPE)

    def whole(self, value: Any, events: list[Event]) -> Finish:
        match value:
            case {"success": True, "reply": str(reply), **rest}:
                return self._answered(reply, rest.get("usage"), events)
            case {"success": False, "message": message} | {"code": _, "message": message}:
                raise ReplyFailed(f"the service reports: {redact(str(message))}")
        raise BadShape("an answer that is none of this service")

    def over(self, broken: str) -> Finish:
        return truncated(broken) if broken else self.unheard("no end event") if self.silent else truncated("no end event")

    def _answered(self, reply: str, usage: object, events: list[Event]) -> Finish:
        streamed = "".join(self._texts)
        if not streamed.strip() and not reply.strip():
            # An upstream that failed or sent nothing: the plugin reports success, without a live event.
            return failed(EmptyReply("the service reports success and an empty reply"))
        # All of it where the site does not stream. A reply that the site changed afterwards does not begin as the text did.
        begun = streamed.lstrip(TRIMMED)  # as the reply is
        rest = reply[len(begun) :] if reply.startswith(begun) else ""
        events += [*([Text(rest)] if rest else []), *_usage(usage)]
        return complete()


def _usage(usage: object) -> list[Event]:
    match usage:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(completion), "total_tokens": int(total)}:
            return [Usage(prompt, completion, total)]
    return []
