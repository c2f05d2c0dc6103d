"""polychat.toml: what a person says once about this machine. Strict: a key that means nothing is an error."""

from __future__ import annotations

import os
import stat
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ._strict import Strict

FILE = "polychat.toml"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One entry of ``[local.models]``; ``None`` where it says nothing."""

    path: Path | None = None
    """Absolute: the file's relative paths are relative to the file."""
    context: int | None = None
    """Tokens that one ask may hold, prompt and answer together."""
    threads: int | None = None
    parallel: int | None = None
    """Asks that are answered at the same time; each has a context of its own."""
    pooling: str | None = None
    """Of an embedding model, where its file does not say it: ``mean``, ``cls`` or ``last``."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; empty where there is no file."""

    file: Path | None = None
    local_models: Mapping[str, LocalModel] = field(default_factory=dict)
    providers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The tables ``[providers.NAME]``, for ``rows.row_of``: over a known vendor's row, or a vendor of one's own."""


def folder() -> Path:
    """Where a person's own configuration is kept: ``$XDG_CONFIG_HOME/polychat``, or ``~/.config/polychat``."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "polychat"


_read: dict[tuple[int, int], tuple[tuple[int, int], Config]] = {}
"""What was read, by the file's place on its disk, and how the file stood then."""
_NOTHING = Config()


def load() -> Config:
    """``./polychat.toml``, else the one in ``folder()``, else nothing. A file that has not changed is not read again.

    Raises ``BadInput`` naming the file and the key, for what cannot be read or means nothing.
    """
    for file in (FILE, _own_file()):
        try:
            state = os.stat(file)
        except OSError:
            continue
        if stat.S_ISREG(state.st_mode):
            place, stamp = (state.st_dev, state.st_ino), (state.st_mtime_ns, state.st_size)
            known = _read.get(place)
            if known is None or known[0] != stamp:
                _read[place] = known = (stamp, read(Path(file).absolute()))
            return known[1]
    return _NOTHING


_LOOK = 1.0
"""Seconds."""
_last: list[tuple[float, Config]] = []


def current(now: Callable[[], float] = time.monotonic) -> Config:
    """As ``load``, which looks at the disk; this one looks again after a second: every ask of a vendor comes by here."""
    moment = now()
    if not _last or not 0 <= moment - _last[0][0] < _LOOK:
        _last[:] = [(moment, load())]
    return _last[0][1]


def _own_file() -> str:
    """``folder()`` and the file in it, by hand where the environment says it all."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if home[:1] == "/":
        return f"{home}/polychat/{FILE}"
    home = os.environ.get("HOME", "")
    return f"{home}/.config/polychat/{FILE}" if home[:1] == "/" else str(folder() / FILE)


def read(file: Path) -> Config:
    """One file. Raises as ``load``."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{file} cannot be read as TOML: {said}", field=FILE) from None
    return _Reading(file).config(content)


_COUNTS = ("context", "threads", "parallel")


class _Reading(Strict):
    def config(self, content: Mapping[str, Any]) -> Config:
        self.known(content, ("local", "providers"), "")
        local = self.table(content.get("local", {}), "local")
        self.known(local, ("models",), "local.")
        models = self.table(local.get("models", {}), "local.models")
        providers = self.table(content.get("providers", {}), "providers")
        return Config(
            self.file,
            {name: self._model(entry, f"local.models.{name}") for name, entry in models.items()},
            {name: self.table(entry, f"providers.{name}") for name, entry in providers.items()},
        )

    def _model(self, entry: object, key: str) -> LocalModel:
        if isinstance(entry, str):
            return LocalModel(self._path(entry, key))
        if not isinstance(entry, dict):
            raise self.error(
                key, f'is {entry!r}; it must be "path/to/model.gguf" or a table with path, {", ".join(_COUNTS)}, pooling'
            )
        self.known(entry, ("path", *_COUNTS, "pooling"), f"{key}.")
        path = self._path(entry["path"], f"{key}.path") if "path" in entry else None
        context, threads, parallel = (self._count(entry.get(name), f"{key}.{name}") for name in _COUNTS)
        pooling = entry.get("pooling")
        if pooling not in (None, "mean", "cls", "last"):
            raise self.error(f"{key}.pooling", f'is {pooling!r}; it must be "mean", "cls" or "last"')
        return LocalModel(path, context, threads, parallel, pooling)

    def _path(self, value: object, key: str) -> Path:
        if not isinstance(value, str) or not value:
            raise self.error(key, f"is {value!r}; it must be the path of a GGUF file")
        # absolute() and not resolve(): a symbolic link to the file of the day is the person's to keep.
        return self.file.absolute().parent / os.path.expanduser(value)

    def _count(self, value: object, key: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, f"is {value!r}; it must be a whole number of at least 1")
        return value
