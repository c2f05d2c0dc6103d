"""What this wire reports besides the reply, reading and writing: usage, probabilities, the pages that support an answer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, TypeAlias

from ...events import Citation, Usage
from ..token_counts import token_count
from .constants import Object

Place: TypeAlias = tuple[int | None, int | None]
_NOWHERE: Place = (None, None)
_BLOCK = 1024
"""Characters of an answer whose bytes are counted together."""
_QUOTED = 1024 * 1024
"""Maximum characters of the answer that citations repeat: each of many pages may refer to all of it."""


def usage_of(metadata: Object) -> Usage:
    """Token counts. The wire counts thoughts apart from candidates and input of hosted tools apart from the prompt; it omits
    zeros.
    """
    prompt = _sum(_count(metadata, "promptTokenCount"), _count(metadata, "toolUsePromptTokenCount"))
    thoughts, total = _count(metadata, "thoughtsTokenCount"), _count(metadata, "totalTokenCount")
    completion = _sum(_count(metadata, "candidatesTokenCount"), thoughts)
    if completion is None and prompt is not None and total is not None and total >= prompt:
        completion = total - prompt
    return Usage(
        prompt,
        completion,
        total,
        _count(metadata, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
        audio_prompt_tokens=_audio(metadata, "promptTokensDetails"),
        audio_completion_tokens=_audio(metadata, "candidatesTokensDetails"),
    )


def _count(metadata: Object, name: str) -> int | None:
    return token_count(metadata.get(name))


def _sum(count: int | None, other: int | None) -> int | None:
    return count if other is None else other + (count or 0)


def _audio(metadata: Object, name: str) -> int | None:
    for detail in metadata.get(name) or ():
        if detail.get("modality") == "AUDIO":
            return _count(detail, "tokenCount")
    return None


def usage_value(usage: Usage) -> Object:
    prompt, completion, thoughts = usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens
    answer = completion if completion is None or thoughts is None else max(completion - thoughts, 0)
    counts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "totalTokenCount": _sum(prompt, completion) if usage.total_tokens is None else usage.total_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "thoughtsTokenCount": thoughts,
        "promptTokensDetails": _details(prompt, usage.audio_prompt_tokens),
        "candidatesTokensDetails": _details(answer, usage.audio_completion_tokens),
    }
    return {name: value for name, value in counts.items() if value is not None}


def _details(whole: int | None, audio: int | None) -> list[Object] | None:
    if audio is None:
        return None
    rest = [] if whole is None or whole <= audio else [{"modality": "TEXT", "tokenCount": whole - audio}]
    return [*rest, {"modality": "AUDIO", "tokenCount": audio}]


def logprobs_of(result: Object) -> list[Object]:
    """Probabilities in OpenAI's format. The wire gives tokens as text, whose UTF-8 is taken as their bytes."""
    tops = result.get("topCandidates") or []
    tokens = []
    for place, chosen in enumerate(result.get("chosenCandidates") or []):
        among = tops[place].get("candidates") or [] if place < len(tops) else []
        tokens.append({**_token(chosen), "top_logprobs": [_token(candidate) for candidate in among]})
    return tokens


def _token(candidate: Object) -> Object:
    token = candidate.get("token", "")
    return {"token": token, "logprob": candidate.get("logProbability", 0.0), "bytes": list(token.encode())}


def logprobs_value(tokens: list[Object]) -> Object:
    return {
        "topCandidates": [{"candidates": [_candidate(top) for top in token.get("top_logprobs") or ()]} for token in tokens],
        "chosenCandidates": [_candidate(token) for token in tokens],
    }


def _candidate(token: Object) -> Object:
    return {"token": token["token"], "logProbability": token["logprob"]}


class AnswerText:
    """The text of an answer so far: the wire counts positions in bytes of UTF-8, we in characters.

    It is kept in blocks of known size in bytes, so that a position is found without reading all of the text.
    """

    __slots__ = ("_blocks", "_ends", "_limit", "_new", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._blocks: list[str] = [""]
        """All but the last have ``_BLOCK`` characters."""
        self._ends: list[int] = [0]
        """The offset in bytes of each block."""
        self._new: list[str] = []
        """Text that is not in a block yet."""

    def add(self, text: str) -> None:
        """Add text. Text beyond the limit is not kept: positions in it are unknown."""
        self._size += len(text)
        if self._size <= self._limit:
            self._new.append(text)

    def characters(self, start: Any, end: Any) -> Place:
        """A position in characters for one in bytes; ``None`` if it is not in the text."""
        self._take()
        first = start if type(start) is int else 0
        if type(end) is not int or not 0 <= first <= end <= self._ends[-1] + len(_bytes(self._blocks[-1])):
            return _NOWHERE
        return self._character(first), self._character(end)

    def bytes_at(self, character: int) -> int:
        self._take()
        block = min(max(character, 0) // _BLOCK, len(self._blocks) - 1)
        return self._ends[block] + len(_bytes(self._blocks[block][: max(character, 0) - block * _BLOCK]))

    def whole(self) -> str:
        self._take()
        return "".join(self._blocks)

    def _character(self, place: int) -> int:
        block = bisect_right(self._ends, place) - 1
        return block * _BLOCK + len(_bytes(self._blocks[block])[: place - self._ends[block]].decode("utf-8", "ignore"))

    def _take(self) -> None:
        if self._new:
            text = self._blocks.pop() + "".join(self._new)
            self._new.clear()
            whole = len(text) // _BLOCK * _BLOCK
            for at in range(0, whole, _BLOCK):
                self._blocks.append(text[at : at + _BLOCK])
                self._ends.append(self._ends[-1] + len(_bytes(self._blocks[-1])))
            self._blocks.append(text[whole:])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def cited(metadata: Object, answer: AnswerText, choice: int) -> Iterator[Citation]:
    """Pages that the answer quotes, with the position of the quotation."""
    for source in metadata.get("citationSources") or metadata.get("citations") or ():
        if url := source.get("uri"):
            span = answer.characters(source.get("startIndex"), source.get("endIndex"))
            yield _source(source.get("title"), url, span, choice)


def grounded(metadata: Object, answer: AnswerText, choice: int) -> Iterator[Citation]:
    """Pages found by a search: each once for every position that it supports, or once without a position."""
    places: dict[int, list[Place]] = {}
    for support in metadata.get("groundingSupports") or ():
        segment = support.get("segment") or {}
        span = answer.characters(segment.get("startIndex"), segment.get("endIndex"))
        for number in support.get("groundingChunkIndices") or ():
            places.setdefault(number, []).append(span)
    for number, chunk in enumerate(metadata.get("groundingChunks") or ()):
        page = chunk.get("web") or chunk.get("retrievedContext") or chunk.get("maps") or {}
        url = page.get("uri") or ""
        if url or page.get("title"):  # a file that was searched has only a name
            for span in places.get(number, [_NOWHERE]):
                yield _source(page.get("title"), url, span, choice, page.get("text"))


def visited(metadata: Object, choice: int) -> Iterator[Citation]:
    """Pages that were read because the request named them."""
    for page in metadata.get("urlMetadata") or ():
        if page.get("urlRetrievalStatus") == "URL_RETRIEVAL_STATUS_SUCCESS" and (url := page.get("retrievedUrl")):
            yield _source(None, url, _NOWHERE, choice)


def _source(title: Any, url: Any, span: Place, choice: int, snippet: Any = None) -> Citation:
    if not isinstance(url, str) or not isinstance(title or "", str) or not isinstance(snippet or "", str):
        raise TypeError("a source that is not a page")
    return Citation(title or "", url, snippet or "", *span, choice)


def grounding_value(sources: list[Citation], answer: AnswerText) -> Object:
    """Each page once, with the positions that it supports."""
    pages: dict[tuple[str, str, str], int] = {}
    supports: list[Object] = []
    whole, room = answer.whole(), _QUOTED
    for source in sources:
        number = pages.setdefault((source.title, source.url, source.snippet), len(pages))
        if source.start is not None and source.end is not None:
            start, end = answer.bytes_at(source.start), answer.bytes_at(source.end)
            segment: Object = {"startIndex": start, "endIndex": end}
            if (room := room - max(source.end - source.start, 0)) >= 0:
                segment["text"] = whole[source.start : source.end]
            supports.append({"segment": segment, "groundingChunkIndices": [number]})
    chunks = [_chunk(*page) for page in pages]
    return {"groundingChunks": chunks, "groundingSupports": supports} if supports else {"groundingChunks": chunks}


def _chunk(title: str, url: str, snippet: str) -> Object:
    if snippet:
        return {"retrievedContext": {"uri": url, "title": title, "text": snippet}}
    return {"web": {"uri": url, "title": title}}
