"""The embedded model: llama.cpp in this process, with weights that polychat downloads or any GGUF file."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..calls.call import Call, call_of, options_of
from ..calls.info import CallInfo
from ..config import Config, load
from ..errors import BadInput, BadReply, ReplyFailed, TimedOut, UnknownTarget, redact
from ..events import Event, Finish, Reasoning, Text, Usage
from ..prompt import byte_size, turns
from ..types import ChatRequest, Messages
from ..user import weights
from ..user.progress import columns_of
from ..wire.adapting import adapted
from ..wire.embeddings import Embed, Embeddings, read_reply
from ..wire.json_text import encoded
from ..wire.models import ModelInfo
from ..wire.reading import complete, failed, truncated
from . import _llama
from ._bound import SUPPORT, Bound
from ._llama import Chunk, Setting
from ._reach import options_from, support_table_of
from ._stops import Stops
from .contract import AsyncGeneratorProvider, ProviderModelMixin

if TYPE_CHECKING:
    from ..config.settings import LocalModel

T = TypeVar("T")

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 5),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
_WHOLE_RANGES: dict[str, tuple[int, int]] = {
    "top_k": (0, 1_000_000),
    "max_tokens": (1, 10_000_000),
    "seed": (0, 2**32 - 2),  # llama.cpp takes 2**32 - 1 for "any"
}

_MOST_STOPS = 64
"""Maximum stop sequences of one answer: each character is compared with each of them."""

_LONGEST_STOP = 1_000
"""Maximum characters of a stop sequence: as much of an answer may be held back."""


KNOWN_TOKENS = 1024
"""``max_tokens`` of the known models if none is given: they are small, and some answers repeat themselves without an end."""


class Local(AsyncGeneratorProvider, ProviderModelMixin):
    """A model on this machine: ``local/smollm2``, ``local//path/to/model.gguf``, or a name from polychat.toml.

    The weights of ``smollm2`` are fetched at their first use. Options: ``temperature``, ``top_p``, ``top_k``, ``min_p``,
    ``max_tokens`` (1,024 for ``smollm2``), ``stop`` (text or a list), ``seed``, ``frequency_penalty``, ``presence_penalty``;
    llama.cpp chooses what else is not given. ``proxy`` and ``base_url`` mean nothing here; ``timeout`` includes fetching and
    loading.
    """

    working = True
    evidence = "it runs in this process: the project's tests run it with the real weights"
    supports_system_message = True
    supports_message_history = True
    default_model = "smollm2"
    models: ClassVar[list[str]] = list(weights.KNOWN)
    listed_only = True
    timeout: ClassVar[float | None] = None
    """A slow machine is not a failed service: without a timeout of the caller's there is no limit."""

    @classmethod
    def get_models(cls) -> list[str]:
        """The known models, and the names in polychat.toml. Raises ``BadInput`` for an invalid polychat.toml."""
        return cls.models_of()

    @classmethod
    def models_of(cls, config: Config | None = None) -> list[str]:
        return list(dict.fromkeys([*cls.models, *_configured(config)]))

    @classmethod
    def is_installed(cls) -> bool:
        return _llama.is_installed()

    @classmethod
    def get_model(cls, model: str | None) -> str:
        """``model``, or the default if there is none. A file is a model too, so nothing is replaced by the default."""
        return model or cls.default_model

    @classmethod
    async def reply(
        cls,
        model: str | None,
        messages: Messages,
        call: Call,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        max_tokens: int | None = None,
        stop: str | list[str] | None = None,
        seed: int | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> AsyncGenerator[list[Event], None]:
        if max_tokens is None and cls.get_model(model) in weights.KNOWN:
            max_tokens = KNOWN_TOKENS
        numbers = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p, "max_tokens": max_tokens}
        numbers |= {"seed": seed, "frequency_penalty": frequency_penalty, "presence_penalty": presence_penalty}
        stops = _stops(stop)
        body = question(messages, numbers)
        body["timings_per_token"] = bool(stops)  # an answer that is stopped here has no other count of its tokens
        if response_format is not None:
            body["response_format"] = response_format  # llama.cpp makes a grammar of it, which constrains the answer
        _llama.require()
        setting = await _in_time(_setting(cls.get_model(model), call.config), call)
        loaded = await _in_time(_llama.loaded(setting), call)
        async with aclosing(_events_of(loaded.ask(body), Reader(stops), call)) as batches:
            async for events in batches:
                yield events

    @classmethod
    async def answers(
        cls, request: ChatRequest, call_info: CallInfo, proxy: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[list[Event], None]:
        """``events`` of a ``ChatRequest``; a grammar constrains schemas and tool calls."""
        options = options_of(cls)
        request = cls.rehearse(request, call_info)
        request, calls = adapted(request, custom=False, named=False)
        bound = Bound(request)
        keywords = options_from(request, options) | ({} if bound.format is None else {"response_format": bound.format})
        async with aclosing(cls.events(request.model or None, bound.messages(request), proxy, **keywords, **kwargs)) as batches:
            async for batch in batches:
                if events := bound.read(batch):
                    yield events if calls is None else calls.take(events)

    @classmethod
    def rehearse(cls, request: ChatRequest, call_info: CallInfo) -> ChatRequest:
        table = {**support_table_of(cls, options_of(cls)), **SUPPORT}
        return call_info.apply_loss_policy(request, table, cls.__name__, cls.__name__)

    @classmethod
    async def list_models(cls, proxy: str | None = None, **kwargs: Any) -> list[ModelInfo]:
        """Its models; the context of those of polychat.toml is known if their entries set it."""
        config = kwargs.get("config")
        entries = _configured(config)
        contexts = {name: entry.context for name, entry in entries.items()}
        return [
            ModelInfo(name, context=contexts.get(name) or (_llama.CONTEXT if name in weights.KNOWN else None))
            for name in cls.models_of(config)
        ]

    @classmethod
    async def embed(cls, request: Embed, proxy: str | None = None, **kwargs: Any) -> Embeddings:
        """One vector for each text, by a GGUF file of an embedding model. Raises ``BadInput`` for another, and for too long a
        text.
        """
        if request.dimensions is not None:
            raise BadInput("dimensions is not supported by local models: omit it", field="dimensions")
        for place, text in enumerate(request.texts()):
            byte_size(text, f"texts[{place}]")
        call = call_of(cls, proxy, kwargs)
        _llama.require()
        setting = await _in_time(_setting(cls.get_model(request.model or None), call.config, embeds=True), call)
        loaded = await _in_time(_llama.loaded(setting), call)
        return vectors_of(await _in_time(loaded.embed(request.texts()), call), request.model)


def vectors_of(body: dict[str, Any], model: str) -> Embeddings:
    """What llama.cpp returns for texts. Raises ``BadInput`` and ``ReplyFailed``."""
    if "error" not in body:
        return read_reply("openai", encoded({**body, "model": model}))
    why = str(body["error"].get("message", ""))
    if "ooling" in why:
        raise BadInput(
            "this is not an embedding model, or its file does not specify the pooling: set pooling in polychat.toml",
            field="model",
        )
    if "too large" in why or body["error"].get("type") == "exceed_context_size_error":
        raise BadInput(f"a text is too long for the model: {redact(why)}; shorten it", field="texts")
    raise ReplyFailed(f"llama.cpp failed: {redact(why)}")


def question(messages: Messages, numbers: dict[str, float | None]) -> dict[str, Any]:
    """The request to llama.cpp: a chat completion in OpenAI's format, and more. Raises ``BadInput`` naming the field.

    Stop sequences are not in it: llama.cpp loses the beginning of one if ``max_tokens`` ends the answer (see ``Stops``).
    """
    history = [{"role": role, "content": _without_control_tokens(text)} for role, text in turns(messages)]
    for index, message in enumerate(history):
        for part, text in message.items():
            byte_size(text, f"messages[{index}].{part}")
    body: dict[str, Any] = {"messages": history, "stream": True, "stream_options": {"include_usage": True}}
    body["return_progress"] = True  # a chunk for each batch of the prompt: otherwise a long one could not be cancelled
    body["reasoning_format"] = "auto"  # reasoning apart from the answer, if the model's template marks it
    body |= {name: _number(name, value) for name, value in numbers.items() if value is not None}
    return body


_CONTROL = re.compile(r"<(?=\|[\w ]{1,40}\|>|/?s>|/?(?:start|end)_of_\w{1,20}>|(?:bos|eos|pad|unk)>)|\[(?=/?INST\])")


def _without_control_tokens(text: str) -> str:
    """The text with an invisible space inside what looks like a model's control tokens.

    llama.cpp reads the whole conversation at once, the template's tokens and a user's text alike: otherwise a text could end
    its own turn and begin another's.
    """
    return _CONTROL.sub(lambda mark: f"{mark[0]}\u200b", text)


def _number(name: str, value: object) -> float:
    whole = name in _WHOLE_RANGES
    low, high = _WHOLE_RANGES[name] if whole else _RANGES[name]
    # A float without a fraction is accepted as a whole number: settings from other protocols' JSON may be floats.
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high and not (whole and value % 1):
        return int(value) if whole else float(value)
    kind = "a whole number" if whole else "a number"
    raise BadInput(f"{name} is {value!r}; it must be {kind} from {low:,} to {high:,}", field=name)


def _stops(stop: object) -> list[str]:
    if stop is None:
        return []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or not all(isinstance(text, str) and text for text in stops):
        raise BadInput(f"stop is {stop!r}; it must be a string that is not empty, or a list of them", field="stop")
    if len(stops) > _MOST_STOPS or any(len(text) > _LONGEST_STOP for text in stops):
        raise BadInput(
            f"stop has {len(stops):,} texts, the longest of {max(map(len, stops)):,} letters; "
            f"it may have {_MOST_STOPS} of {_LONGEST_STOP:,} letters each: give fewer or shorter ones",
            field="stop",
        )
    for text in stops:
        byte_size(text, "stop")
    return list(stops)


class Reader:
    """llama.cpp's chunks of one answer as events. The answer ends before the first stop sequence."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.done = False
        self._stops = Stops(stops)
        self.began = False
        """Whether a part of the answer was emitted."""
        self._reason: str | None = None
        self._usage: list[Event] = []

    def feed(self, chunks: list[Chunk | None]) -> list[Event]:
        """The events of these chunks. Raises ``BadInput`` if llama.cpp rejects the request."""
        events: list[Event] = []
        for chunk in chunks:
            if not self.done:
                events += self._read(chunk)
        self.began = self.began or bool(events)
        return events

    def cut(self, error: TimedOut) -> list[Event]:
        """The last event of an answer that is stopped here."""
        self.done = True
        return [*self._rest(), Finish("truncated", error=error)]

    def _read(self, chunk: Chunk | None) -> list[Event]:
        match chunk:
            case None:
                return self._end()
            case {"error": error}:
                self.done = True
                failure = _failure(error)
                if isinstance(failure, BadInput):
                    raise failure
                return [*self._rest(), failed(failure)]
            case {"choices": [], "usage": {"prompt_tokens": int(prompt_tokens), "completion_tokens": int(answered)}}:
                self._usage = [Usage(prompt_tokens, answered, prompt_tokens + answered)]
            case {"choices": [{"delta": delta, "finish_reason": reason}]}:
                self._reason = reason or self._reason
                thoughts = delta.get("reasoning_content")
                events: list[Event] = [Reasoning(thoughts)] if thoughts else []
                text = self._stops.feed(delta.get("content") or "")
                events += [Text(text)] if text else []
                return events + self._stopped(chunk) if self._stops.found else events
            case _:
                self.done = True
                unread = BadReply(f"llama.cpp sent an unexpected event: {redact(str(chunk))}")
                return [*self._rest(), failed(unread)]
        return []

    def _stopped(self, chunk: Chunk) -> list[Event]:
        """The end of an answer at a stop sequence, with the token counts of its chunk."""
        self.done = True
        match chunk.get("timings"):
            case {"cache_n": int(cached), "prompt_n": int(read), "predicted_n": int(answered)}:
                self._usage = [Usage(cached + read, answered, cached + read + answered)]
        return [*self._usage, complete("stop")]

    def _rest(self) -> list[Event]:
        """The held text, which could have become a stop sequence."""
        text = self._stops.rest()
        return [Text(text)] if text else []

    def _end(self) -> list[Event]:
        self.done = True
        if self._reason is None:
            return [*self._rest(), truncated("llama.cpp ended without a reason")]
        return [*self._rest(), *self._usage, complete(self._reason)]


def _failure(error: object) -> BadInput | ReplyFailed:
    """The exception for an error of llama.cpp: ``BadInput`` if the request caused it."""
    match error:
        case {"type": "exceed_context_size_error", "n_prompt_tokens": int(size), "n_ctx": int(limit)}:
            return BadInput(
                f"the messages have {size:,} tokens and the model's context has {limit:,}, reply included: shorten "
                "them, or set a larger context in polychat.toml if the model supports it",
                field="messages",
            )
        case {"type": "invalid_request_error", "message": str(text)}:
            return BadInput(f"the model's chat template rejects these messages: {redact(text)}", field="messages")
        case {"message": str(text)}:
            return ReplyFailed(f"llama.cpp failed: {redact(text)}")
    return ReplyFailed(f"llama.cpp failed: {redact(str(error))}")


async def _events_of(answer: _llama.LlamaReply, reader: Reader, call: Call) -> AsyncGenerator[list[Event], None]:
    """The batches of an answer until its end; whoever stops earlier ends it."""
    try:
        while True:
            events = await _next(answer, reader, call)
            if reader.done:
                answer.close()  # at once, and not when the caller requests more after the last events
            if events:
                yield events
            if reader.done:
                return
    finally:
        answer.close()


async def _next(answer: _llama.LlamaReply, reader: Reader, call: Call) -> list[Event]:
    try:
        return reader.feed(await _in_time(answer.batch(), call))
    except TimedOut as late:
        if not reader.began:
            raise
        return reader.cut(late)


async def _in_time(step: Awaitable[T], call: Call) -> T:
    """One step of a call, with its timeout, which does not run during a yield, where the caller takes its time."""
    try:
        async with asyncio.timeout_at(call.deadline) as clock:
            return await step
    except TimeoutError:
        if not clock.expired() or call.timeout is None:
            raise
        raise TimedOut("total", call.timeout) from None


async def _setting(model: str, config: Config | None, *, embeds: bool = False) -> Setting:
    """The file and the parameters of a model's name. Downloads known weights that are missing.

    The few system calls for that (the file, its type, polychat.toml) are not worth a thread.
    """
    entry = _entry(model, config)
    return _checked(entry.path or weights.path(model) or await _pulled.get(model), entry, embeds=embeds)


def _entry(model: str, config: Config | None) -> LocalModel:
    """The entry of a name, including polychat.toml's; without a path exactly if the weights are known."""
    from ..config.settings import LocalModel  # it loads msgspec

    if "/" in model or "\\" in model or model.endswith(".gguf"):
        return LocalModel(Path(os.path.expanduser(model)).absolute())
    configured = _configured(config)
    if model not in weights.KNOWN and model not in configured:
        raise _unknown(model, configured)
    entry = configured.get(model, LocalModel())
    if model in weights.KNOWN and entry.path is not None:
        # The current folder must not replace checked weights by another file.
        raise BadInput(f"polychat.toml gives a path for {model}, whose weights polychat fetches: rename it", field="model")
    if model not in weights.KNOWN and entry.path is None:
        raise BadInput(f"polychat.toml names the model {model} but not its file: give it a path", field="model")
    return entry


def _configured(config: Config | None) -> Mapping[str, LocalModel]:
    """``[local.models]`` of this configuration, otherwise of the user's own file. Raises ``BadInput``."""
    return (load() if config is None else config).local_models


def _unknown(model: str, configured: Iterable[str]) -> UnknownTarget:
    near = difflib.get_close_matches(model[:256], [*weights.KNOWN, *configured], n=2)
    return UnknownTarget(
        f"no model {redact(model)!r}: it is none of {', '.join(weights.KNOWN)}, no name from polychat.toml, "
        "and no path of a GGUF file (local//path/to/model.gguf, local/./model.gguf)",
        near=tuple(f"local/{name}" for name in near),
    )


def _checked(file: Path, entry: LocalModel, *, embeds: bool) -> Setting:
    try:
        with file.open("rb") as content:
            begins, state = content.read(4), os.fstat(content.fileno())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{redact(str(file))} cannot be read: {reason}", field="model") from None
    if begins != b"GGUF":
        raise BadInput(f"{file} is not a GGUF file, the format of llama.cpp's models", field="model")
    return Setting(
        file,
        stamp=(state.st_size, state.st_mtime_ns),
        context=entry.context or _llama.CONTEXT,
        parallel=entry.parallel or _llama.PARALLEL,
        threads=entry.threads,
        embeds=embeds,
        pooling=entry.pooling,
    )


def _pull(name: str, given_up: Callable[[], bool]) -> Path:
    # Only on a terminal: a library writes nothing else to stderr.
    return weights.pull(name, quiet=columns_of(sys.stderr) is None, given_up=given_up)


_pulled: _llama.Once[str, Path] = _llama.Once(_pull, name="polychat-pull", keep=False)
