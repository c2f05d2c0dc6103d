"""Finding and reading polychat.toml, the settings of this machine. Reading is strict: an unknown key is an error."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import BadInput
from .configured import FILE, Config
from .environment import Variables, variable

__all__ = [
    "FILE",
    "Config",
    "file_here",
    "folder",
    "home_folder",
    "is_in_folder",
    "is_named_in_folder",
    "load",
    "load_here",
    "own_file",
    "parsed",
    "read",
    "text_of",
]


def folder() -> Path:
    """Where a person's own configuration is kept: ``$XDG_CONFIG_HOME/polychat``, or ``~/.config/polychat``."""
    home = variable("XDG_CONFIG_HOME")
    # The XDG specification: ignore a relative path.
    return (Path(home) if os.path.isabs(home) else home_folder() / ".config") / "polychat"


def home_folder() -> Path:
    """The person's home. For a user who has none (a container's random uid), a folder that does not exist."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")  # as Debian's users without a home have it


_LOCK = Lock()
"""Held while a configuration is made: threads that ask for the same one get the same object."""
_read: dict[tuple[int, int], tuple[tuple[int, int], Config]] = {}
"""The configurations that were read, by device and inode, each with the file's time of change and size."""


def load() -> Config:
    """The person's own file, the one in ``folder()``, else nothing. A file that has not changed is not read again.

    A ``polychat.toml`` in the current folder is not read: it may have come with other people's files.
    Raises ``BadInput`` naming the file, the line and the key for what cannot be read or is not valid.
    """
    homes, paths = _own[0]
    file = paths[FILE] if FILE in paths and homes == _HOMES.values() else own_file()
    if os.access(file, os.F_OK) and (config := _of(file)) is not None:  # most have none, and an exception costs much more
        return config
    return _without_file[0] if _without_file else _nothing()


def _nothing() -> Config:
    with _LOCK:
        _without_file[:] = _without_file or [Config()]
    return _without_file[0]


_without_file: list[Config] = []
"""The configuration of who has no file, once it was needed."""


def load_here() -> Config:
    """``./polychat.toml``, else as ``load``. The former is marked ``from_folder``, unless it is the person's own file.

    For ``polychat serve``, which prints the name of the file it uses. Raises as ``load``.
    """
    here = _of(FILE)
    if here is None:
        return load()
    return replace(here, from_folder=True) if is_in_folder() else here


def is_in_folder() -> bool:
    """Whether there is a ``./polychat.toml`` that is not the person's own."""
    try:
        return os.path.isfile(FILE) and not os.path.samefile(FILE, own_file())
    except OSError:
        return True  # they have none


_LARGEST = 64 * 1024
"""Bytes of a ``./polychat.toml`` that are read only to find the names in it."""


def is_named_in_folder(name: str) -> bool:
    """Whether the ``./polychat.toml`` that is not the person's own defines the route, alias or provider ``name``.

    Only for an error message: nothing of the file is used. A file that cannot be read defines nothing.
    """
    if not is_in_folder():
        return False
    try:
        with open(FILE, "rb") as file:
            content = tomllib.loads(file.read(_LARGEST).decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    tables = {key: table if isinstance(table := content.get(key), dict) else {} for key in ("routes", "aliases", "providers")}
    provider = re.split("[/:]", name, maxsplit=1)[0].lower()
    is_provider = provider in {other.lower() for other in tables["providers"]}
    return is_provider or name in tables["routes"] or name in tables["aliases"]


def _of(file: str) -> Config | None:
    """``None`` where there is no such file."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    if not stat.S_ISREG(state.st_mode):
        return None
    place, stamp = (state.st_dev, state.st_ino), (state.st_mtime_ns, state.st_size)
    entry = _read.get(place)
    if entry is None or entry[0] != stamp:
        with _LOCK:
            entry = _read.get(place)
            if entry is None or entry[0] != stamp:
                _read[place] = entry = (stamp, read(Path(file).absolute()))
    return entry[1]


_HOMES = Variables(("XDG_CONFIG_HOME", "HOME"))
_own: list[tuple[list[Any], dict[str, str]]] = [([], {})]
"""How these are set, and the paths that this means, by name: they are looked for in every call."""


def own_file(name: str = FILE) -> str:
    """The path of a file in ``folder()``; it is worked out once while nothing moves the folder."""
    homes = _HOMES.values()
    of_homes, paths = _own[0]
    if of_homes != homes:
        paths = {}
        _own[0] = (homes, paths)
    path = paths.get(name)
    if path is None:
        path = paths[name] = str(folder() / name)
    return path


def file_here() -> Path | None:
    """The file that ``load_here`` reads; ``None`` where there is none."""
    return next((Path(file).absolute() for file in (FILE, own_file()) if os.path.isfile(file)), None)


def read(file: Path) -> Config:
    """One file. Raises as ``load``."""
    return parsed(text_of(file), file)


def text_of(file: Path) -> str:
    """The text of a file. Raises as ``load``."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", field=FILE) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{file}:{line}: cannot be read as TOML: it is not UTF-8", field=FILE) from None


def parsed(text: str, file: Path) -> Config:
    """The configuration in the text of a file. Raises as ``load``."""
    from .reading import parsed  # it loads msgspec: who has no file does without

    return parsed(text, file)
