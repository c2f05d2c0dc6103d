"""Server side: a reply's events as one message."""

from __future__ import annotations

from math import ceil
from typing import Any

from ...errors import BadReply, redact
from ...events import Event, Finish, Media, Usage
from ...types import ToolCall
from ..assembly import AssembledMessage, AssembledReply, ReasoningRun, TextRun
from ..json_text import encoded
from ..plain_reply import PlainReply
from ..reading import failed
from ..sites.deltas import arguments_of, complete_members, is_finished
from ..tags import tagged
from .constants import CALLER, VENDOR, counts_of, counts_text
from .errors import write_fault
from .reply_parts import call_block, citation_of, fault_of_end, media_block, redacted_block, stop_of, stop_text

Block = dict[str, Any]


class WholeWriter:
    """Holds all events; ``end`` returns the message, or the error with its status."""

    def __init__(self, name: str, model: str, request_id: str | None = None) -> None:
        self.streams = False
        self.status = 200
        self.content_type = "application/json"
        self.headers: list[tuple[str, str]] = []
        self._name, self._model = name, model
        self._request_id = request_id
        self._reply: AssembledReply | None = None

    def write(self, events: list[Event]) -> bytes:
        """Nothing yet."""
        if self._reply is None:
            self._reply = AssembledReply()
        self._reply.take_all(events)
        return b""

    def plain(self, reply: PlainReply) -> bytes:
        """See ``WritesPlain``."""
        return write_text(reply.text, reply.usage, reply.finish, self._name, 0, self._model)

    def end(self) -> bytes:
        """The body."""
        reply = self._reply or AssembledReply()
        finish, message = reply.finish or Finish("truncated"), reply.first
        if finish.verdict == "complete":
            try:
                content = _blocks(message, finished=is_finished(finish.reason))
            except ValueError as error:
                finish = failed(BadReply(str(error)))
            else:
                stop = stop_of(finish, bool(message.calls), message.refusal)
                head = {"id": f"msg_{self._name}", "type": "message", "role": "assistant", "model": self._model}
                return encoded({**head, "content": content, **stop, "usage": counts_of(reply.usage)})
        fault = fault_of_end(finish)
        self.status = fault.status
        if fault.retry_after is not None:
            self.headers.append(("retry-after", str(ceil(fault.retry_after))))
        return write_fault(fault, self._request_id)


def write_text(text: str, usage: Usage, finish: Finish, id: str, created: int, model: str) -> bytes:  # noqa: A002
    """See ``WritesText``. The wire has no timestamp: ``created`` is ignored."""
    return _WHOLE % (encoded(f"msg_{id}"), encoded(model), encoded(text), stop_text(finish)[1:-1], counts_text(usage))


_WHOLE = (
    b'{"id":%b,"type":"message","role":"assistant","model":%b,"content":[{"type":"text","text":%b,"citations":null}],'
    b'%b,"usage":%b}'
)


def _text_block(text: str) -> Block:
    return {"type": "text", "text": text, "citations": None}


def _blocks(message: AssembledMessage, *, finished: bool) -> list[Block]:
    """The content blocks. Raises ``ValueError`` for a call whose arguments are no JSON object.

    Of a call that was cut in a reply that is not ``finished``, the complete members remain, as in Anthropic's API.
    """
    if text := message.only_text:
        return [_text_block(text)]
    blocks: list[Block] = []
    numbers = {id(call): number for number, call in enumerate(message.calls)}
    for part in message.parts:
        match part:
            case TextRun():
                citations = [citation_of(source) for source in part.citations]
                blocks.append({"type": "text", "text": message.text[part.start : part.end], "citations": citations or None})
            case ReasoningRun():
                blocks.append(_reasoning_run(part))
            case ToolCall():
                blocks += [] if part.opaque is None else [call_block(part.opaque)]
                blocks.append(_call(part, numbers[id(part)], finished=finished))
            case Media():
                blocks.append(media_block(part))
    return blocks


def _reasoning_run(thought: ReasoningRun) -> Block:
    opaque = thought.opaque
    if opaque is not None and opaque.redacted:
        return redacted_block(opaque)
    signature = "" if opaque is None else tagged(opaque, VENDOR)
    return {"type": "thinking", "thinking": "".join(thought.pieces), "signature": signature}


def _call(call: ToolCall, index: int, *, finished: bool) -> Block:
    block = {"type": "tool_use", "id": call.id or f"toolu_{index}", "name": call.name, "caller": CALLER}
    return {**block, "input": _input(call.name, call.arguments, finished=finished)}


def _input(name: str, arguments: str, *, finished: bool) -> Any:
    value = arguments_of(arguments)
    if value is None and finished:
        raise ValueError(f"the arguments for the tool {redact(name, 60)} are not a JSON object")
    return complete_members(arguments) if value is None else value
