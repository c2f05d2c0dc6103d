"""The lines of usual requests in the log for people: each request has one."""

from __future__ import annotations

from typing import TypeAlias

from ...errors import redact
from .record import UsualRequest

UsualForm: TypeAlias = tuple[str, str, bool, str, bool]
"""What the lines of a kind have in common: status, columns, whether there are notes, those with what follows them, and whether
its replies are streams.
"""
DURATIONS = [f"{number:7} ms  " for number in range(1000)]


def usual_text(request: UsualRequest, form: UsualForm, stamp: str, dim: str, ending: str) -> str:
    """The line of a usual request; ``dim`` begins it in the colour of a time, ``ending`` ends it and its colour."""
    _, request_id, start, _, first, over, usage, cost = request
    status, columns, has_notes, end, is_stream = form
    duration = int((over - start) * 1000)
    shown = DURATIONS[duration] if 0 <= duration < 1000 else f"{duration:7} ms  "
    counts = "" if usage is None else tokens_text(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    if is_stream:
        counts = f"first token {int((first - start) * 1000)} ms, {counts}"
    if cost is not None:
        counts += f"${cost:.6f}, "
    if counts and not has_notes:
        counts = f"{counts[:-2]}  "
    if not request_id.isprintable():
        request_id = redact(request_id)
    return f"{dim}{stamp}{status}{shown}{columns}{counts}{end}{request_id}{ending}"


def tokens_text(prompt: int | None, completion: int | None, cached: int | None) -> str:
    """What a request took of tokens, for people."""
    if prompt is None and completion is None:
        return ""
    return (
        f"{prompt or 0}+{completion or 0} tokens, {cached} cached, " if cached else f"{prompt or 0}+{completion or 0} tokens, "
    )
