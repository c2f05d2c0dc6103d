"""Server side: events as a response, whole or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import BackendError
from ...events import Event, Finish, Text
from ...types import ChatRequest, Tool
from ..contract import Writer
from ..faults import Fault, fault_of
from .constants import INCOMPLETE, NAME, PREPARED, Object, counts_of
from .errors import error_object, write_fault
from .message_writer import split_instructions
from .output_writer import Output, quoted
from .request_writer import settings

_TAIL = b',"logprobs":[],"sequence_number":'
_END = b"}\n\n"
_DEFAULTS: Object = {
    "background": False,
    "completed_at": None,
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_TOOL: Object = {"description": None, "parameters": None, "strict": None}
"""The members that a response has for each function, even if the request did not have them."""
_REPEATED = ("tool_choice", "truncation", "max_tool_calls", "prompt_cache_key", "safety_identifier", "conversation")
"""Members of a request's extra that a response repeats."""


def writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002
    """The writer of the answer to ``request``; see ``Wire.writer``."""
    response = _response(request, f"resp_{id}", created, model or request.model)
    tools = {tool.name: tool for tool in request.tools if isinstance(tool, Tool)}
    return StreamWriter(id, response, tools) if request.stream else WholeWriter(id, response, tools)


def _response(request: ChatRequest, name: str, created: int, model: str) -> Object:
    """A response that has just begun: the members that every answer repeats of its request."""
    native = request.wire == NAME
    extra = {key: request.extra[key] for key in _REPEATED if native and key in request.extra}
    if isinstance(held := extra.get("conversation"), str):
        extra["conversation"] = {"id": held}
    echoed = {
        **_DEFAULTS,
        "instructions": split_instructions(request.messages, native=native)[0],
        **settings(request, native=native, repeated=True),
        **extra,
    }
    echoed["tools"] = [{**_TOOL, **tool} if tool["type"] == "function" else tool for tool in echoed["tools"]]
    head = {"id": name, "object": "response", "created_at": created, "status": "in_progress"}
    return {**head, "error": None, "incomplete_details": None, "model": model, **echoed, "output": [], "usage": None}


class WholeWriter:
    """One response, written at the end."""

    streams = False
    content_type = "application/json"

    def __init__(self, reply: str, response: Object, tools: Mapping[str, Tool]) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self._output = Output(reply, tools)
        self._response = response
        self._body = b""

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            if self._body:
                break
            if isinstance(event, Finish):
                self._body = self._finished(event)
            else:
                self._output.take(event)
        return b""

    def end(self) -> bytes:
        return self._body

    def _finished(self, finish: Finish) -> bytes:
        if finish.verdict != "complete":
            fault = _fault(finish.error)
            self.status = fault.status
            if fault.retry_after is not None:
                self.headers.append(("Retry-After", f"{fault.retry_after:g}"))
            return write_fault(fault)
        return quoted(_ended(self._response, self._output, finish))


class StreamWriter(Output):
    """Named events, each with its sequence number."""

    streams = announces = True
    content_type = "text/event-stream"

    def __init__(self, reply: str, response: Object, tools: Mapping[str, Tool]) -> None:
        super().__init__(reply, tools)
        self.status = 200
        self.headers: list[tuple[str, str]] = [("Cache-Control", "no-cache")]
        self._response = response
        self._number = 0
        self._over = self._quiet = False
        self._out: list[bytes] = []

    def continue_from(self, response: Object, number: int | None) -> None:
        """Continue this response, whose events up to this number the backend sent."""
        self._response = {**self._response, **response}
        self._number = 0 if number is None else number + 1

    def write(self, events: list[Event]) -> bytes:
        out = self._out
        if not self._number and not _is_failure(events):
            self.emit("response.created", response=self._response)
            self.emit("response.in_progress", response=self._response)
        for event in events:
            if type(event) is Text and self.head and not event.choice:
                text = event.text
                self.text.append(text)
                out.append(b"%b%b%b%d%b" % (self.head, quoted(text), _TAIL, self._number, _END))
                self._number += 1
            elif not self._over:
                self._rare(event)
        data = b"".join(out)
        out.clear()
        return data

    def end(self) -> bytes:
        return b""

    def emit(self, kind: str, **fields: Any) -> None:
        if self._quiet:
            return
        payload = quoted({"type": kind, **fields, "sequence_number": self._number})
        self._number += 1
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), payload))

    def _rare(self, event: Event) -> None:
        if not isinstance(event, Finish):
            self.take(event)
            return
        self._over = True
        if event.verdict == "complete":
            response = _ended(self._response, self, event)
            self.emit(f"response.{response['status']}", response=response)
        else:
            self._failed(error_object(_fault(event.error)))

    def _failed(self, error: Object) -> None:
        """As the API does: an ``error`` event, which its official clients raise, then the response as far as it came."""
        if self.items:  # its items stay unchanged, and no event says that they are done
            self._quiet = True
            self._sources.clear()
            self.close("incomplete")
            self._quiet = False
        flat = {name: error[name] for name in ("code", "message", "param")}  # as in the API's reference and in its replies
        self.emit("error", **flat, error=error)
        shown = {"code": error["code"] or "server_error", "message": error["message"]}
        ended = {"status": "failed", "error": shown, "output": self.items, "usage": counts_of(self.usage)}
        self.emit("response.failed", response={**self._response, **ended})


def _is_failure(events: list[Event]) -> bool:
    """Whether the events consist of an error only, before which nothing was sent to the client."""
    return len(events) == 1 and type(event := events[0]) is Finish and event.verdict != "complete"


def _ended(response: Object, output: Output, finish: Finish) -> Object:
    """The response with the end that ``finish`` describes; closes ``output``, unless there is nothing to write."""
    why = INCOMPLETE.get(finish.reason or "stop")
    if finish.reason == "refusal" and any(_refuses(item) for item in output.items):
        why = None
    status = "completed" if why is None else "incomplete"
    if finish.reason != PREPARED:
        output.close(status)
    details = None if why is None else {"reason": why}
    ended = {"status": status, "incomplete_details": details, "output": output.items, "usage": counts_of(output.usage)}
    return {**response, **ended}


def _refuses(item: Object) -> bool:
    return item["type"] == "message" and any(part["type"] == "refusal" for part in item["content"])


def _fault(error: BackendError | None) -> Fault:
    return Fault("the reply was interrupted") if error is None else fault_of(error)
