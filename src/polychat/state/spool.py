"""Usage records on disk while their database is away: a file for each process, read back and deleted when it is there again.

A file holds frames: the length and the CRC-32 of what follows, four bytes each, then a batch of records as MessagePack. It is
synchronised after each batch. Its process holds a lock on it, which ends with the process, however that ends: what nobody
locks was left behind, and the next process that looks delivers it. A frame that was cut short by the end of its process or of
the disk's space ends its file; whatever is before it is whole.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO
from zlib import crc32

import msgspec

from .store import UsageRecord

if sys.platform != "win32":
    import fcntl

_FRAME = struct.Struct(">II")
_LARGEST = 64 * 1024 * 1024
"""Bytes of a frame: a longer one was not written by this."""
_RECORDS = msgspec.msgpack.Decoder(list[UsageRecord])
_ENCODER = msgspec.msgpack.Encoder()


class Spool:
    """Those of one process, in a folder that is made with the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None

    def append(self, records: Sequence[UsageRecord]) -> None:
        """Returns when they are on the disk. Raises ``OSError``, and then keeps none of them."""
        data = _ENCODER.encode(records)
        if self._file is None:
            self._file = self._opened()
        size = os.fstat(self._file).st_size
        try:
            _write(self._file, _FRAME.pack(len(data), crc32(data)) + data)
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, size)
            raise

    def _opened(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"usage-{os.getpid()}-{token_hex(4)}.spool"
        hidden = path.with_name(f".{path.name}")  # until it is locked: another process would take it for one left behind
        file = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, path)
        except OSError:
            os.close(file)
            raise
        return file

    def close(self) -> None:
        """The file so far gets no more records; another one begins with the next."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def files(self) -> list[Path]:
        """What can be delivered now: what this process wrote so far, and what others left behind."""
        self.close()
        try:
            return [file for file in sorted(self.folder.glob("usage-*.spool")) if _is_left(file)]
        except OSError:
            return []


def deliver(file: Path, write: Callable[[Sequence[UsageRecord]], None]) -> None:
    """Write what a file holds, up to where it was cut short, and delete it; one that is gone was delivered by another.

    Raises ``OSError``, what ``write`` raises, and ``ValueError`` for records of another version. A file that caused a
    ``ValueError`` is kept under another name and not read again.
    """
    try:
        with file.open("rb") as stream:
            for data in _frames(stream):
                write(_RECORDS.decode(data))
    except FileNotFoundError:
        return
    except ValueError as error:  # of msgspec too
        kept = file.with_suffix(".unreadable")
        file.rename(kept)
        raise ValueError(f"{kept} has usage records that cannot be stored: {error}") from error
    file.unlink(missing_ok=True)


def _frames(stream: BinaryIO) -> Iterator[bytes]:
    while len(head := stream.read(_FRAME.size)) == _FRAME.size:
        length, checksum = _FRAME.unpack(head)
        data = stream.read(min(length, _LARGEST))
        if len(data) != length or crc32(data) != checksum:
            return
        yield data


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _is_left(file: Path) -> bool:
    """Whether no process has it open to write."""
    if sys.platform == "win32":  # it is delivered twice, and counts once
        return True
    try:
        number = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(number)
    return True
