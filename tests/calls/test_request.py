"""What a caller's own words mean in a request."""

from __future__ import annotations

from typing import Any

import pytest

import polychat
from polychat.events import Finish, Text

from ..support.scripted_vendors import ScriptedVendor


@pytest.mark.parametrize(("reasoning", "effort"), [(True, "medium"), (False, "none"), ("high", "high")])
async def test_reasoning_may_be_a_flag(serve: Any, reasoning: bool | str, effort: str) -> None:
    """On is what vendors take for usual, off is none at all; or an effort by its word."""
    server = await serve(vendor := ScriptedVendor("openai-chat", [[Text("a")], [Finish("complete", "stop")]]))
    await polychat.ask("hi", model="openai/gpt-5.1", base_url=f"{server.url}/v1", api_key="a-long-key", reasoning=reasoning)
    (chat_request,) = vendor.asks
    assert chat_request.reasoning is not None
    assert chat_request.reasoning.effort == effort
