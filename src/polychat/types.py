"""The words every room uses: what a conversation is, and what comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""One turn: ``{"role": "user", "content": "…"}``. ``content`` is text, or a list of ``{"type": "text", "text": …}``."""

Messages: TypeAlias = Sequence[Message]
"""A conversation, oldest turn first."""

AsyncResult: TypeAlias = AsyncGenerator[str, None]
"""What ``create_async_generator`` gives: pieces of text. Close it (``aclosing``) if you stop before its end."""
