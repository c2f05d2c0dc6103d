"""Warnings that point at the line that called polychat."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_OURS = __name__.partition(".")[0]


def warn_caller(message: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn at the line that called polychat, however many of its own frames are between."""
    level = 2
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
