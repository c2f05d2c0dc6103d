"""AI Engine, the WordPress plugin: its page, its question, its reply. What its server does is in ``ai_engine_site``.

Facts from versions 1.9.99, 2.0.8 and 2.5.2 as they answer; a version's own way is named where it differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import BadInput, BadReply, ChatNotFound, EmptyReply, MessageTooLong, ReplyFailed, shown
from ..events import Event, Text, Usage
from ..prompt import byte_size, turns
from ..types import Messages
from .framing import MAX_LINE, DataLines, LineTooLong
from .pages import elements
from .reading import complete, failed, parsed, truncated

SUBMIT = "/mwai-ui/v1/chats/submit"
START_SESSION = "/mwai/v1/start_session"
MESSAGE_LIMIT = 65_536
"""Bytes of a message, once trimmed."""
_TRIMMED = " \t\n\r\0\x0b"  # what PHP's trim() takes off


@dataclass(slots=True, frozen=True)
class Bot:
    """Whom to ask, and where: what the page tells the plugin's own script."""

    rest_url: str
    """The site's REST root: ``https://host/wp-json`` or ``https://host/?rest_route=``."""
    bot_id: str | None = "default"
    custom_id: str | None = None
    context_id: int | None = 28
    session_id: str = "N/A"
    nonce: str | None = None

    @property
    def submit_url(self) -> str:
        return self.rest_url + SUBMIT

    @property
    def session_url(self) -> str:
        return self.rest_url + START_SESSION


def bot_of(html: str, page_url: str) -> Bot:
    """The first bot of a page. Raises ``ChatNotFound``, or ``BadReply`` where the page would send us to another host."""
    for element in elements(html, "mwai-chatbot-container", has=("data-system",)):
        match parsed(element["data-system"]):
            case {"restUrl": str(rest_url)} as system:
                return _bot(system, _same_host(rest_url.rstrip("/"), page_url))
    raise ChatNotFound(
        f"no AI Engine chat in {shown(page_url)}: name the page that holds it with the option page, such as page='/chat/'"
    )


def _bot(system: dict[str, Any], rest_url: str) -> Bot:
    def text(name: str) -> str | None:
        value = system.get(name)
        return value if isinstance(value, str) and value else None

    context = system.get("contextId")
    return Bot(
        rest_url,
        text("botId"),
        text("customId"),
        context if isinstance(context, int) else None,
        text("sessionId") or "N/A",
        text("restNonce"),
    )


def _same_host(rest_url: str, page_url: str) -> str:
    """The REST root, on the page's own scheme and host; another host is refused: our words were not meant for it."""
    rest, page = urlsplit(rest_url), urlsplit(page_url)
    if rest.hostname is None or rest.hostname.removeprefix("www.") != (page.hostname or "").removeprefix("www."):
        raise BadReply(f"the page {shown(page_url)} sends its chat to another host: {shown(rest_url)}")
    # A site behind a proxy often names http:// or an inner port for itself: the page's own address is the one that works.
    return rest._replace(scheme=page.scheme, netloc=page.netloc).geturl() if rest.hostname == page.hostname else rest_url


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
        named = {"context": system, "temperature": self.temperature, "maxTokens": self.max_tokens}
        return {name: value for name, value in named.items() if value is not None}


def question(messages: Messages, bot: Bot, chat_id: str, overrides: Overrides | None = None) -> dict[str, Any]:
    """The body of a submit. Raises ``BadInput`` and ``MessageTooLong`` for what the server would refuse.

    The server keeps the last 15 messages and puts ``newMessage`` in the place of the last one, if that is the user's. It drops
    system messages from the list; their text goes as ``context`` too, which servers up to 2.0.8 take.
    """
    said = [{"role": role, "content": text} for role, text in turns(messages)]
    system = "\n".join(item["content"] for item in said if item["role"] == "system")
    return {
        "botId": bot.bot_id,
        "chatId": chat_id,
        "contextId": bot.context_id,
        "customId": bot.custom_id,
        "messages": said,
        "newMessage": _checked(said[-1]["content"], f"messages[{len(said) - 1}].content"),
        "session": bot.session_id,
        "stream": True,
        **(overrides or Overrides()).fields(system or None),
    }


def _checked(text: str, field_name: str) -> str:
    trimmed = text.strip(_TRIMMED)
    if trimmed in ("", "0"):
        raise BadInput(f"{field_name} is {text!r}; the service refuses an empty message, and «0» too", field=field_name)
    size = byte_size(trimmed, field_name)
    if size > MESSAGE_LIMIT:
        raise MessageTooLong(field=field_name, size=size, limit=MESSAGE_LIMIT)
    return text


def refusal(body: bytes) -> str:
    """What the plugin or WordPress says in a refusal, fit to be shown."""
    match parsed(body):
        case {"message": str(message)}:
            return shown(message)
    return shown(body)


@dataclass(slots=True)
class Reader:
    """One reply of ``submit``: an event stream or one JSON object, told apart by the first byte.

    The plugin sends streams as ``application/json`` and JSON where a stream was asked for; the content type does not tell.
    """

    limit: int = MAX_LINE
    """Bytes of one line, and of a JSON object: the ``end`` line repeats the whole reply, escaped twice."""
    done: bool = False
    _whole: bytearray | None = None
    _lines: DataLines | None = None
    _texts: list[str] = field(default_factory=list)

    def feed(self, data: bytes) -> list[Event]:
        """The events of ``data``."""
        if self.done:
            return []
        if self._lines is None and self._whole is None:
            data = data.lstrip()
            if not data:
                return []
            self._sniff(data)
        if self._lines is None:
            return self._gather(data)
        try:
            return self._read(self._lines.feed(data))
        except LineTooLong as error:
            return self._finish(failed(BadReply(f"the service sent {error}")))

    def end(self) -> list[Event]:
        """The body is over."""
        if self.done:
            return []
        if self._whole is not None:
            return self._read_whole(bytes(self._whole))
        events = self._read(self._lines.end()) if self._lines is not None else []
        if not self.done:
            nothing = self._lines is None
            events += self._finish(truncated("an empty body" if nothing else "no end event"))
        return events

    def _sniff(self, data: bytes) -> None:
        if data[:1] in b"{[<":
            self._whole = bytearray()
        else:
            self._lines = DataLines(self.limit)

    def _gather(self, data: bytes) -> list[Event]:
        assert self._whole is not None
        self._whole += data
        if len(self._whole) > self.limit:
            return self._finish(failed(BadReply(f"the service sent an object of more than {self.limit:,} bytes")))
        return []

    def _finish(self, *events: Event) -> list[Event]:
        self.done = True
        return list(events)

    def _read(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            events += self._event(payload)
            if self.done:
                break
        return events

    def _event(self, payload: bytes) -> list[Event]:
        match parsed(payload):
            case {"type": "live", "data": str(text)}:
                if not text:
                    return []
                self._texts.append(text)
                return [Text(text)]
            case {"type": "end", "data": str(whole)}:
                return self._read_whole(whole)
            case {"type": "error", "data": message}:
                return self._finish(failed(ReplyFailed(f"the service says: {shown(str(message))}")))
            case {"type": str(kind)} if kind not in ("live", "end", "error"):
                return []  # later versions add kinds of their own beside the text
        return self._finish(failed(BadReply(f"a line that is no event of this service: data: {shown(payload)}")))

    def _read_whole(self, whole: bytes | str) -> list[Event]:
        match parsed(whole):
            case {"success": True, "reply": str(reply), **rest}:
                return self._finish(*self._answered(reply, rest.get("usage")))
            case {"success": False, "message": message} | {"code": _, "message": message}:
                return self._finish(failed(ReplyFailed(f"the service says: {shown(str(message))}")))
        return self._finish(failed(BadReply(f"an answer that is none of this service: {shown(whole)}")))

    def _answered(self, reply: str, usage: object) -> list[Event]:
        if self._texts:
            return [*_usage(usage), complete()]
        if not reply.strip():
            # An upstream that failed or said nothing: the plugin calls it success, without one live event.
            return [failed(EmptyReply("the service reports success and an empty reply"))]
        return [Text(reply), *_usage(usage), complete()]


def _usage(usage: object) -> list[Event]:
    match usage:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(completion), "total_tokens": int(total)}:
            return [Usage(prompt, completion, total)]
    return []
