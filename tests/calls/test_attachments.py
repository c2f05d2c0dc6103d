"""Images and files that go with an ask."""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from polychat.calls import attachments
from polychat.errors import BadInput
from polychat.types import AudioPart, FilePart, ImagePart, TextPart

PNG = b"\x89PNG\r\n\x1a\n" + b"rest"
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 "


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(PNG, "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"), (WEBP, "image/webp")],
)
def test_an_image_is_known_by_its_bytes(data: bytes, media_type: str, tmp_path: Path) -> None:
    """Whatever it is called: as bytes, as a file with a wrong name, and as a data URL that names no type."""
    file = tmp_path / "wrong.txt"
    file.write_bytes(data)
    url = f"data:;base64,{b64encode(data).decode()}"
    for image in (data, bytearray(data), file, str(file), url):
        assert attachments.image(image, "images[0]") == ImagePart(data=data, media_type=media_type)


def test_an_image_by_url_is_left_to_the_backend() -> None:
    """Nothing is fetched here."""
    assert attachments.image("https://example.org/a.png", "images[0]") == ImagePart(url="https://example.org/a.png")
    assert attachments.file("https://example.org/a.pdf", "files[0]") == FilePart(url="https://example.org/a.pdf")


@pytest.mark.parametrize(
    "image", [b"text", "data:text/plain,hello", "data:image/png;base64", "data:image/png;base64,*", 5, None]
)
def test_what_is_no_image_is_named(image: Any) -> None:
    """The error names the place in the list."""
    with pytest.raises(BadInput) as caught:
        attachments.image(image, "images[3]")
    assert caught.value.field == "images[3]"


def test_a_file_is_what_its_content_is(tmp_path: Path) -> None:
    """Documents, sound, images, and text, which goes into the conversation under its name."""
    for name, content, part in (
        ("a.pdf", b"%PDF-1.7", FilePart(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")),
        ("a.wav", WAV, AudioPart(WAV, "audio/wav")),
        ("a.bin", PNG, ImagePart(data=PNG, media_type="image/png")),
        ("notes.md", "\ufeffpü".encode(), TextPart("notes.md:\n\npü")),
        ("data.json", b"{}", TextPart("data.json:\n\n{}")),
        ("Makefile", b"all:", TextPart("Makefile:\n\nall:")),
        ("a.ts", b"let a", TextPart("a.ts:\n\nlet a")),
        ("a.sh", b"ls", TextPart("a.sh:\n\nls")),
        ("a.docx", b"PK\0", FilePart(data=b"PK\0", media_type=mimetypes.guess_type("a.docx")[0], name="a.docx")),
    ):
        (tmp_path / name).write_bytes(content)
        assert attachments.file(tmp_path / name, "files[0]") == part


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file of unknown kind that is no UTF-8 is not sent as rubbish."""
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="neither UTF-8 text"):
        attachments.file(tmp_path / "x", "files[0]")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The path, and the system's reason."""
    with pytest.raises(BadInput, match="gone.pdf cannot be read: No such file"):
        attachments.file(tmp_path / "gone.pdf", "files[0]")
    with pytest.raises(BadInput, match="cannot be read"):
        attachments.file("nul\0", "files[0]")


def test_a_file_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger than the limit is refused; no more than the limit is read, of a pipe either."""
    monkeypatch.setattr(attachments, "MAX_FILE", 4)
    (tmp_path / "big").write_bytes(b"12345")
    with pytest.raises(BadInput, match="larger than 4 bytes"):
        attachments.file(tmp_path / "big", "files[0]")
