"""The code blocks of a reply, as Markdown marks them."""

from __future__ import annotations

import re

_OPENING = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def first_block(text: str) -> str | None:
    """The content of the first fenced code block, with its last line end; ``None`` if there is none.

    A block that is not closed goes on to the end of the text. A fence within it is closed only by one as long.
    """
    fence = ""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if fence:
            if _closes(line, fence):
                return "".join(f"{line}\n" for line in lines)
            lines.append(line)
        elif (opening := _OPENING.fullmatch(line)) and not (opening[1][0] == "`" and "`" in opening[2]):
            fence = opening[1]
    return "\n".join(lines) if fence else None


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and not bare.strip(fence[0]) and len(line) - len(line.lstrip(" ")) <= 3
