"""chatgptduo.com: an answer and the web pages that support it, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Coroutine, Generator
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs

from ..calls.call import Call
from ..calls.threads import pieces_of
from ..errors import BadReply, EmptyReply, redact
from ..events import Citation, Event, Text
from ..prompt import byte_size, prompt_of
from ..types import Messages
from ..wire.answering import Request, Response, SiteRequest
from ..wire.reading import complete, failed, parsed
from ._browser import browser_headers
from ._json import WholeWriter, body_of, json_response
from ._sources import latest, new_call, stream_with_sources, with_sources
from .contract import AsyncProvider


def question(messages: Messages) -> dict[str, str]:
    """The form of a request. Raises ``BadInput``."""
    prompt = prompt_of(messages)
    byte_size(prompt, "messages")
    return {"prompt": prompt, "search": prompt, "purpose": "ask"}


def read(body: bytes) -> list[Event]:
    """The events of a reply. One without results, or with a result without title or snippet, is valid."""
    match parsed(body):
        case {"answer": str(answer), **rest}:
            sources = _sources(rest.get("results") or [])
            if sources is None:
                return [
                    failed(
                        BadReply(f"a result in the reply is not an object with a link: {redact(json.dumps(rest['results']))}")
                    )
                ]
            if not answer.strip():
                return [failed(EmptyReply("the reply's answer is empty"))]
            return [*sources, Text(answer), complete()]
    return [failed(BadReply(f"the reply is not JSON with an answer: {redact(body)}"))]


def _sources(results: object) -> list[Citation] | None:
    if not isinstance(results, list):
        return None
    sources = []
    for result in results:
        match result:
            case {"link": str(link), **rest}:
                title, snippet = (rest.get(name) or "" for name in ("title", "snippet"))
                sources.append(Citation(str(title), link, str(snippet)))
            case _:
                return None
    return sources


class ChatgptDuoSite:
    """The server side: the form in, JSON out. It has no state."""

    limits: ClassVar[int] = 2 * 1024 * 1024

    def receive(self, request: Request) -> Response | SiteRequest:
        if request.path != "/":
            return json_response(404, {"error": "there is nothing here but /"})
        if request.method != "POST":
            return Response(405, b'{"error": "POST a form with prompt, search and purpose=ask"}', headers=[("Allow", "POST")])
        try:
            form = parse_qs(request.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            return json_response(400, {"error": "the body is not a urlencoded form"})
        prompt = form.get("prompt", [""])[-1]
        if not prompt.strip() or form.get("purpose") != ["ask"]:
            return json_response(400, {"error": "the form needs a prompt, and purpose=ask"})
        return SiteRequest(prompt, [{"role": "user", "content": prompt}], _Writer())


class _Writer(WholeWriter):
    def end(self) -> bytes:
        if self.failure is not None:
            self.status = 500
            return json.dumps({"error": self.failure}).encode()
        results = [{"title": source.title, "link": source.url, "snippet": source.snippet} for source in self.sources]
        return json.dumps({"answer": self.text, "results": results}).encode()


class ChatgptDuo(AsyncProvider):
    """Answers from a web search. ``get_sources()`` returns the pages; ``events`` has them as ``Citation``."""

    url = "https://chatgptduo.com"
    working = False
    evidence = "the public site no longer exists; the protocol is tested against an emulation of its server"
    supports_gpt_35_turbo = True
    timeout: ClassVar[float] = 120
    site = ChatgptDuoSite

    @classmethod
    def create_async(
        cls, model: str | None, messages: Messages, proxy: str | None = None, timeout: float | None = 120, **kwargs: Any
    ) -> Coroutine[Any, Any, str]:
        """The whole answer. Keywords and errors as for ``create_async_generator``."""
        # Not ``async def``: the caller is known when this is called; the task that awaits the result may be another.
        answer = partial(super().create_async, model, messages, proxy, timeout=timeout, **kwargs)
        return with_sources(new_call(), answer)

    @classmethod
    def create_completion(
        cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any
    ) -> Generator[str, None, None]:
        """The answer for code without an event loop. Its sources belong to the caller, though the request runs in another
        thread.
        """
        call_sources = new_call()
        return pieces_of(
            lambda: stream_with_sources(call_sources, cls.create_async_generator(model, messages, proxy, **kwargs))
        )

    @classmethod
    def get_sources(cls) -> list[dict[str, str]]:
        """The sources of the caller's own latest request: ``title``, ``url``, ``snippet`` of each.

        A caller is a task, or a thread without a loop. Empty until the answer was received, and after a failed request.
        """
        return [{"title": source.title, "url": source.url, "snippet": source.snippet} for source in latest()]

    @classmethod
    async def reply(cls, model: str | None, messages: Messages, call: Call) -> AsyncGenerator[list[Event], None]:
        call_sources = new_call()
        form = question(messages)
        async with (
            call.session(browser_headers(call.base_url)) as session,
            session.post(f"{call.base_url}/", data=form) as response,
        ):
            events = read(await body_of(response))
        call_sources.take(events)
        yield events
