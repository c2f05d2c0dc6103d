"""Files of the user's that are written whole or not at all: a full disk or a crash leaves the earlier content."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ..errors import NotReady


def write_whole(file: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace the content of ``file``, whose folder is made if needed. Permissions stay; a new file is the user's alone.
    With ``mode`` it has these permissions, and nobody else can open it before.

    A symbolic link stays one: the file that it leads to is replaced. Raises ``OSError``.
    """
    target = Path(os.path.realpath(file))
    target.parent.mkdir(parents=True, exist_ok=True)
    number, half = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(content)
        with suppress(FileNotFoundError):
            os.chmod(half, stat.S_IMODE(target.stat().st_mode) if mode is None else mode)
        os.replace(half, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(half)
        raise


def save_whole(file: Path, content: bytes) -> None:
    """As ``write_whole``, for a command. Raises ``NotReady`` that names the file and what is wrong."""
    try:
        write_whole(file, content)
    except OSError as error:
        raise NotReady(f"{file} cannot be written: {error.strerror}") from None
