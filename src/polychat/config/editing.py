"""One setting of a polychat.toml changed in its text: the rest of the file, comments too, stays as it is."""

from __future__ import annotations

import re
import tomllib

from .places import line_of
from .writing import value_text


def with_setting(text: str, key: str, value: str | None) -> str | None:
    """``text`` with the setting ``key``, which stands in no table; ``None`` removes it.

    Gives ``None`` where the text is such that it has to be changed by hand: the setting is on several lines.
    """
    lines = re.split(r"(?<=\n)", text)
    new = [] if value is None else [f"{key} = {value_text(value)}\n"]
    if (line := line_of(text, key)) is not None:
        lines[line - 1 : line] = new
    else:
        place = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
        if new and place and not lines[place - 1].endswith("\n"):
            lines[place - 1] += "\n"
        lines[place:place] = [*new, *(["\n"] if new and place < len(lines) and lines[place].startswith("[") else [])]
    changed = "".join(lines)
    return changed if _differs_in(key, value, text, changed) else None


def _differs_in(key: str, value: str | None, before: str, after: str) -> bool:
    """Whether ``after`` is ``before`` with this one setting."""
    old = tomllib.loads(before)
    try:
        new = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        return False
    old.pop(key, None)
    return new.pop(key, None) == value and new == old
