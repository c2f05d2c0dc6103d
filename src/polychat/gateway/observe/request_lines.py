"""The lines of requests in the log for people, a form for each kind: most requests are usual, and each has a line."""

from __future__ import annotations

from typing import TypeAlias

from ...errors import redact
from .record import RequestFacts

LineForm: TypeAlias = tuple[str, str, bool, str, bool, str]
"""What the lines of a kind have in common: status, columns, whether there are notes, those with what follows them, whether its
replies are streams, and the end of the line with what is below it.
"""
_DURATIONS = [f"{number:7} ms  " for number in range(1000)]


def line_of(request: RequestFacts, form: LineForm, stamp: str, dim: str) -> str:
    """The line of a request, with its end; ``dim`` begins it in the colour of a time."""
    _, request_id, start, _, first, over, usage, cost = request
    status, columns, has_notes, notes, is_stream, end = form
    duration = int((over - start) * 1000)
    shown = _DURATIONS[duration] if 0 <= duration < 1000 else f"{duration:7} ms  "
    counts = "" if usage is None else _tokens(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    if is_stream and first is not None:
        counts = f"first token {int((first - start) * 1000)} ms, {counts}"
    if cost is not None:
        counts += f"${cost:.6f}, "
    if counts and not has_notes:
        counts = f"{counts[:-2]}  "
    if not request_id.isprintable():
        request_id = redact(request_id)
    return f"{dim}{stamp}{status}{shown}{columns}{counts}{notes}{request_id}{end}"


def _tokens(prompt: int | None, completion: int | None, cached: int | None) -> str:
    """What a request took of tokens."""
    if prompt is None and completion is None:
        return ""
    tokens = f"{prompt or 0}+{completion or 0} tokens, "
    return f"{tokens}{cached} cached, " if cached else tokens
