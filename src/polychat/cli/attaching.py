"""What ``-f`` and ``-a`` attach to a prompt: files, the text files of folders, documents behind URLs, images."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from ..calls.attachments import MAX_FILE, content_part, file, image
from ..errors import BackendError, BadInput
from ..http.proxy import environment_proxy
from ..prompt import decoded_text
from ..redact import bare_url
from ..types import FilePart, ImagePart, Part, TextPart
from . import complain

MOST_FILES = 10_000
"""Files below one folder."""
MOST_TEXT = 10_000_000
"""Bytes of all attached text: more than any model reads."""


class Attachments:
    """The parts of a prompt before its text, each content once."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._digests: set[bytes] = set()
        self._text = 0

    def add(self, part: Part, name: str) -> None:
        """Raises ``BadInput`` where the text of all files is too much."""
        content = _content(part)
        digest = sha256(content).digest()
        if digest in self._digests:
            return
        self._digests.add(digest)
        if isinstance(part, TextPart):
            self._text += len(content)
            if self._text > MOST_TEXT:
                raise BadInput(
                    f"-f: the attached text is more than {MOST_TEXT:,} bytes (at {name}): attach fewer files", field="file"
                )
            # Services that take one text get all parts joined: a blank line divides them.
            end = "\n" if part.text.endswith("\n") else "\n\n"
            part = TextPart(f"{name}:\n\n{part.text}{end}")
        self.parts.append(part)


def _content(part: Part) -> bytes:
    match part:
        case TextPart(text=text):
            return text.encode("utf-8", "surrogatepass")
        case ImagePart(url=str(url)) | FilePart(url=str(url)):
            return url.encode("utf-8", "surrogatepass")
    data = getattr(part, "data", None)
    assert isinstance(data, bytes)  # what is attached has a URL or bytes
    return data


def attached(files: Sequence[str], images: Sequence[str], timeout: float | None) -> list[Part]:
    """The parts for ``-a`` and ``-f``, images first; URLs of documents are fetched here.

    Raises ``BadInput``, and ``BackendError`` for a document that cannot be fetched.
    """
    attachments = Attachments()
    for source in images:
        attachments.add(image(source, "-a"), source)
    for source in files:
        if source[:8].lower().startswith(("http://", "https://")):
            attachments.add(asyncio.run(_fetched(source, timeout)), bare_url(source))
        elif os.path.isdir(source):
            _add_folder(Path(source), attachments)
        else:
            attachments.add(file(source, "-f", plain=True), source)
    return attachments.parts


async def _fetched(url: str, seconds: float | None) -> Part:
    from ..http.session.session import StreamSession  # it loads aiohttp

    try:
        async with StreamSession(timeout=seconds, proxy=environment_proxy(url)) as session, session.get(url) as response:
            response.raise_for_status()
            data, media_type = await response.read(MAX_FILE), response.content_type
    except BackendError:
        complain(f"-f {bare_url(url)} cannot be fetched", "note")
        raise
    return content_part(data, media_type or None, None, "-f")


def _add_folder(folder: Path, attachments: Attachments) -> None:
    """The text files below a folder, by name; hidden ones, links and special files are not attached."""
    binary = 0
    for number, path in enumerate(_files_below(folder)):
        if number == MOST_FILES:
            raise BadInput(f"-f: {folder} has more than {MOST_FILES:,} files: attach a folder within it", field="file")
        text = _text_of(path)
        if text is None:
            binary += 1
        elif text.strip():
            attachments.add(TextPart(text), str(path))
    if binary:
        complain(f"{folder}: left out what is not text: {binary:,} {'file' if binary == 1 else 'files'}", "note")


def _files_below(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise BadInput(f"-f: {error.filename} cannot be read: {error.strerror}", field="file")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _text_of(path: Path) -> str | None:
    """The text of a file; ``None`` if it is not text, or larger than all that may be attached. Raises ``BadInput``."""
    try:
        with open(path, "rb") as opened:
            data = opened.read(MOST_TEXT + 1)
    except OSError as error:
        raise BadInput(f"-f: {path} cannot be read: {error.strerror}", field="file") from None
    if b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    try:
        return decoded_text(data) if len(data) <= MOST_TEXT else data.decode("latin-1")  # whose size is then refused
    except UnicodeDecodeError:
        return None
