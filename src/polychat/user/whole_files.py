"""Files of the user's that are written whole or not at all: a full disk or a crash leaves the earlier content."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from errno import EEXIST
from pathlib import Path

from ..errors import BadInput, NotReady


def write_whole(file: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace the content of ``file``, whose folder is made if needed. Permissions stay; a new file is the user's alone.
    With ``mode`` it has these permissions, and nobody else can open it before.

    A symbolic link stays one: the file that it leads to is replaced. Raises ``OSError``.
    """
    target = Path(os.path.realpath(file))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target, content) as half:
        with suppress(FileNotFoundError):
            os.chmod(half, stat.S_IMODE(target.stat().st_mode) if mode is None else mode)
        os.replace(half, target)


@contextmanager
def _beside(target: Path, content: bytes) -> Generator[str]:
    """A file with this content in the same folder, all of it on the disk; removed where the block has left it there."""
    number, half = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}-")
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(number)  # some file systems notice only here that the disk is full
        yield half
    finally:
        with suppress(OSError):
            os.unlink(half)


def create_whole(file: Path, content: bytes, *, field: str) -> None:
    """Make a new file, the user's alone, with this content or not at all; its folder must exist. For a command.

    Raises ``BadInput`` about ``field`` where the file exists or its folder does not, ``NotReady`` where it cannot be written.
    """
    try:
        if os.path.lexists(file):  # of several that create it, the first makes it, whatever was seen here
            raise FileExistsError(EEXIST, os.strerror(EEXIST))
        with _beside(file, content) as half:
            try:
                os.link(half, file)
            except FileExistsError:
                raise
            except (OSError, AttributeError, NotImplementedError):  # a file system, or a system, without links
                os.replace(half, file)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}", field=field) from None
    except OSError as error:
        raise NotReady(f"{file} cannot be written: {error.strerror}") from None


def save_whole(file: Path, content: bytes) -> None:
    """As ``write_whole``, for a command. Raises ``NotReady`` that names the file and what is wrong."""
    try:
        write_whole(file, content)
    except OSError as error:
        raise NotReady(f"{file} cannot be written: {error.strerror}") from None
