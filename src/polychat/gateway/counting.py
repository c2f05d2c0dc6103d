"""How many tokens an ask would be: by the backend's own count where it has one, else a guess, which is told as one."""

from __future__ import annotations

from dataclasses import replace

from ..routing.resolve import LONGEST
from ..types import Ask
from ..wire.estimating import estimated_prompt
from .context import RequestContext
from .listing import planned


async def counted(context: RequestContext, ask: Ask) -> int:
    """Tokens of the prompt. Raises ``PolychatError``."""
    context.record.model = ask.model[:LONGEST]
    target = (await planned(context, ask.model)).targets[0]
    context.record.provider, context.record.served = target.label, target.model
    known = await target.backend.count(replace(ask, model=target.model))
    if known is None:
        context.more.append((b"x-polychat-estimated", b"true"))
        return estimated_prompt(ask)
    return known
