"""AI Engine, the WordPress plugin, client side: its page, its requests and its replies. The server side is ``ai_engine_site``.

Facts from the behaviour of versions 1.9.99, 2.0.8 and 2.5.2; differences between versions are named where they matter.
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
from ..token_counts import token_count
from .pages import elements

SUBMIT = "/mwai-ui/v1/chats/submit"
START_SESSION = "/mwai/v1/start_session"
MESSAGE_LIMIT = 65_536
"""Maximum bytes of a message after trimming."""
TRIMMED = " \t\n\r\0\x0b"
"""The characters that PHP's ``trim()`` removes."""


@dataclass(slots=True, frozen=True)
class AIEngineBot:
    """The bot and its URL, as the page passes them to the plugin's script."""

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
    """The first bot of a page. Raises ``ChatNotFound``, or ``BadReply`` if the page names another host.

    ``page_url`` is the page's URL after redirects.
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
    """The REST root on the page's own scheme, host and port; another host is refused, because the user chose this site only.

    A site behind a proxy often names http, www or an internal port for itself; the URL of the page is known to work.
    """
    try:
        rest, page = urlsplit(urljoin(page_url, rest_url)), urlsplit(page_url)
    except ValueError:  # half an IPv6 address
        raise BadReply(f"the page {redact(page_url)} names no address for its chat: {redact(rest_url)}") from None
    if not same_host(rest.geturl(), page_url):
        raise BadReply(f"the page {redact(page_url)} sends its chat to another host: {redact(rest_url)}")
    return rest._replace(scheme=page.scheme, netloc=page.netloc).geturl().rstrip("/")


def same_host(url: str, other: str) -> bool:
    """Whether two URLs have the same host, with or without ``www.``."""
    return _host(url) == _host(other)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def nonce_of(reply: bytes) -> str | None:
    """The nonce in a response of ``start_session``; ``None`` if there is none."""
    match parsed(reply):
        case {"success": True, "restNonce": str(nonce)} if nonce:
            return nonce
    return None


def is_nonce_failure(status: int, body: bytes) -> bool:
    """Whether the site rejected the nonce, so that a new one may help; a rejected message has another error."""
    return status in (401, 403) and any(code in body for code in (b"rest_forbidden", b"rest_cookie_invalid_nonce"))


@dataclass(slots=True, frozen=True)
class Overrides:
    """The bot's settings that a client may override; servers after 2.0.8 ignore them."""

    temperature: float | None = None
    max_tokens: int | None = None

    def fields(self, system: str | None) -> dict[str, Any]:
        """By the request's names. Raises ``BadInput`` for an invalid value."""
        if not _is_number(self.temperature, int, float):
            raise BadInput(f"temperature is {self.temperature!r}; it must be a number of at least 0", field="temperature")
        if not _is_number(self.max_tokens, int) or self.max_tokens == 0:
            raise BadInput(f"max_tokens is {self.max_tokens!r}; it must be a whole number above 0", field="max_tokens")
        named = {"context": system, "temperature": self.temperature, "maxTokens": self.max_tokens}
        return {name: value for name, value in named.items() if value is not None}


def _is_number(value: float | None, *kinds: type) -> bool:
    return value is None or (type(value) in kinds and 0 <= value < math.inf)  # bool is an int, but not a number here


def question(messages: Messages, bot: AIEngineBot, chat_id: str, overrides: Overrides | None = None) -> dict[str, Any]:
    """The body of a submit. Raises ``BadInput`` and ``MessageTooLong`` for input that the server would reject.

    The server keeps the last 15 messages, and replaces the last one by ``newMessage`` if it is the user's. It treats
    ``newMessage`` as the user's, whatever the role of the last message. It removes system messages from the list; their text is
    sent as ``context`` too, which servers up to 2.0.8 accept.
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
    """The redacted message of the plugin or of WordPress in an error response."""
    if status == 404:
        return "no AI Engine answers at this address: check base_url, or name the page that holds the chat with the option page"
    match parsed(body):
        case {"message": str(message)}:
            return redact(message)
    return redact(body)


class Reader(StreamReader):
    """One reply of ``submit``: an event stream or one JSON object, distinguished by the first byte.

    The content type does not distinguish them: the plugin sends streams as ``application/json``, and JSON to requests for a
    stream. PHP may print a byte order mark or notices first. A reply that the model's server cut short can end like a
    complete one: the ``end`` event repeats the streamed text and does not show it. ``limit`` is in bytes, of one line and of a
    JSON object.
    """

    SHAPE = "a line that is not an event of this service"
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
                pass  # later versions add types of their own besides the text
            case _:
                raise BadShape(self.SHAPE)

    def whole(self, value: Any, events: list[Event]) -> Finish:
        match value:
            case {"success": True, "reply": str(reply), **rest}:
                return self._answered(reply, rest.get("usage"), events)
            case {"success": False, "message": message} | {"code": _, "message": message}:
                raise ReplyFailed(f"the service reports: {redact(str(message))}")
        raise BadShape("a response that is not in this service's format")

    def over(self, broken: str) -> Finish:
        return truncated(broken) if broken else self.empty_body("no end event") if self.silent else truncated("no end event")

    def _answered(self, reply: str, usage: object, events: list[Event]) -> Finish:
        streamed = "".join(self._texts)
        if not streamed.strip() and not reply.strip():
            # The upstream failed or sent nothing: the plugin reports success, without a live event.
            return failed(EmptyReply("the service reports success and an empty reply"))
        # The whole text if the site does not stream. A reply that the site changed later does not begin with the streamed text.
        begun = streamed.lstrip(TRIMMED)  # the same as the reply
        rest = reply[len(begun) :] if reply.startswith(begun) else ""
        events += [*([Text(rest)] if rest else []), *_usage(usage)]
        return complete()


def _usage(usage: object) -> list[Event]:
    """The counts, if all three are there."""
    match usage:
        case {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}:
            counts = token_count(prompt), token_count(completion), token_count(total)
            return [] if None in counts else [Usage(*counts)]
    return []
