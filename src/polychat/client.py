"""``ask`` and ``stream``: one target, one reply."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from .errors import BackendError, BadInput, PolychatError
from .events import Event, Finish, Source, Text, Usage, Verdict
from .providers import resolve
from .types import Message, Messages

DEFAULT_MODEL = "local/smollm2"
"""The embedded model: no key, no account, no network once its weights are here."""


@dataclass(slots=True)
class Reply:
    """One reply, whole."""

    provider: str
    model: str | None
    """The model asked for; ``None`` where the provider chose."""
    text: str
    verdict: Verdict
    reason: str | None = None
    """The backend's own word for the end, such as ``stop`` or ``length``."""
    sources: list[Source] = field(default_factory=list)
    usage: Usage | None = None
    """Tokens as the backend counted them; ``None`` where it did not."""


class Stream:
    """A reply as it comes: ``async with`` it, then iterate for the pieces of its text.

    ``text``, ``sources``, ``usage``, ``reason`` hold what came so far; ``verdict`` is ``None`` until the reply ended. Leaving
    the block early ends the ask: the verdict is then ``cancelled``. A failure is raised from the iteration, after what came.
    """

    def __init__(self, target: str, messages: Messages, options: dict[str, Any]) -> None:
        provider, self.model = resolve(target)
        self.provider = provider.__name__
        self.verdict: Verdict | None = None
        self.reason: str | None = None
        self.sources: list[Source] = []
        self.usage: Usage | None = None
        self._texts: list[str] = []
        self._events = provider.events(self.model, messages, **options)
        self._pieces: AsyncGenerator[str, None] | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def reply(self) -> Reply:
        """What came, as one value. Before the end its verdict is ``cancelled``."""
        return Reply(
            self.provider, self.model, self.text, self.verdict or "cancelled", self.reason, list(self.sources), self.usage
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pieces is not None:
            await self._pieces.aclose()
        await self._events.aclose()
        self.verdict = self.verdict or "cancelled"

    def __aiter__(self) -> AsyncIterator[str]:
        if self._pieces is None:
            self._pieces = self._read()
        return self._pieces

    async def _read(self) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(self._events):
                async for batch in self._events:
                    for event in batch:
                        if type(event) is Text:
                            self._texts.append(event.text)
                            yield event.text
                        else:
                            self._note(event)
        except PolychatError as error:
            self.verdict = self.verdict or "failed"
            if isinstance(error, BackendError):
                error.text = error.text or self.text
                error.provider = error.provider or self.provider
            raise

    def _note(self, event: Event) -> None:
        match event:
            case Source():
                self.sources.append(event)
            case Usage():
                self.usage = event
            case Finish(verdict, reason, error):
                self.verdict, self.reason = verdict, reason
                if error is not None:
                    raise error


def stream(prompt: str | Messages, *, model: str = DEFAULT_MODEL, system: str | None = None, **options: Any) -> Stream:
    """Ask ``model`` (``provider/model``), piece by piece.

    ``prompt`` is text or a conversation; ``system`` goes before it. Options are the provider's; every one takes ``proxy``,
    ``timeout`` (seconds), ``base_url``, ``cookies``, ``headers``. Raises ``UnknownTarget`` and ``BadInput`` at once, and other
    ``PolychatError`` when it is read.
    """
    return Stream(model, _conversation(prompt, system), options)


async def ask(prompt: str | Messages, *, model: str = DEFAULT_MODEL, system: str | None = None, **options: Any) -> Reply:
    """Ask ``model`` and wait for the whole reply. Parameters as for ``stream``.

    Raises ``PolychatError``. A reply cut short raises ``Truncated``, which holds what came in ``text``.
    """
    async with stream(prompt, model=model, system=system, **options) as reply:
        async for _ in reply:
            pass
        return reply.reply()


def _conversation(prompt: str | Messages, system: str | None) -> Messages:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise BadInput("the prompt is empty: there is nothing to ask", field="prompt")
        prompt = [{"role": "user", "content": prompt}]
    if system is None:
        return prompt
    first: Message = {"role": "system", "content": system}
    return [first, *prompt]
