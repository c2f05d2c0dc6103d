"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from polychat.errors import BadInput, NotReady
from polychat.user.whole_files import create_whole, write_whole


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    """Also one that another made since it was looked for, and a link that leads nowhere; where there are no hard links, too."""
    made, link = tmp_path / "made", tmp_path / "link"
    create_whole(made, b"first", field="--output")
    link.symlink_to(tmp_path / "nowhere")
    for file in (made, link):
        with pytest.raises(BadInput, match=r"cannot be written: File exists"):
            create_whole(file, b"second", field="--output")
    assert (made.read_bytes(), stat.S_IMODE(made.stat().st_mode)) == (b"first", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "made"]


def test_without_hard_links_a_file_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none."""

    def link(source: str, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    create_whole(tmp_path / "made", b"first", field="--output")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_what_cannot_be_written_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may notice a full disk only when it is asked whether the content is there."""

    def fsync(number: int) -> None:
        raise OSError(28, "No space left on device")

    kept = tmp_path / "kept"
    kept.write_bytes(b"earlier")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(NotReady, match="new cannot be written: No space left"):
        create_whole(tmp_path / "new", b"content", field="--output")
    with pytest.raises(OSError, match="No space left"):
        write_whole(kept, b"content")
    with pytest.raises(BadInput, match="No such file or directory"):
        create_whole(tmp_path / "none" / "new", b"content", field="--output")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"earlier"}
