"""The last good configuration: the text of the file that a gateway served by, kept for a start at which the file is bad.

There is one for each file, by its path, in ``last-good`` in polychat's folder under ``$XDG_STATE_HOME``. Where the path leads
through symbolic links does not matter: those of a Kubernetes ConfigMap lead elsewhere after each change. It is the file's text
as it was, so a secret that is in the file itself, and not by reference, is in it too; only this user can read it.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from ...state.probes import folder
from ...user.whole_files import write_whole
from ..admin.facts import moment


def place_of(file: Path) -> Path:
    """Where the text of a configuration file is kept."""
    path = Path(os.path.abspath(file))
    digest = blake2b(os.fsencode(path), digest_size=6).hexdigest()
    return folder() / "last-good" / f"{path.stem}-{digest}.toml"


def keep(file: Path, text: str) -> None:
    """Keep the text of a file, in place of an earlier one. Raises ``OSError``."""
    place = place_of(file)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(place, text.encode(), mode=0o600)


def kept_text(file: Path) -> str | None:
    """What is kept of a file; ``None`` if nothing is, or it cannot be read."""
    try:
        return place_of(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def kept_since(file: Path) -> str:
    """When it was kept, as text. Raises ``OSError``."""
    return moment(place_of(file).stat().st_mtime) or ""
