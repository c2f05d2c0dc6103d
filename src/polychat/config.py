"""polychat.toml: what a person says once about this machine. Strict: a key that means nothing is an error."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import BadInput

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


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; empty where there is no file."""

    file: Path | None = None
    local_models: Mapping[str, LocalModel] = field(default_factory=dict)


def folder() -> Path:
    """Where a person's own configuration is kept: ``$XDG_CONFIG_HOME/polychat``, or ``~/.config/polychat``."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path there is to be ignored.
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "polychat"


def load() -> Config:
    """``./polychat.toml``, else the one in ``folder()``, else nothing.

    Raises ``BadInput`` naming the file and the key, for what cannot be read or means nothing.
    """
    for file in (Path.cwd() / FILE, folder() / FILE):
        if file.is_file():
            return read(file)
    return Config()


def read(file: Path) -> Config:
    """One file. Raises as ``load``."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{file} cannot be read as TOML: {said}", field=FILE) from None
    return _Reading(file).config(content)


class _Reading:
    """Knows which file it reads, for the errors."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def config(self, content: Mapping[str, Any]) -> Config:
        self._known(content, ("local",), "")
        local = self._table(content.get("local", {}), "local")
        self._known(local, ("models",), "local.")
        models = self._table(local.get("models", {}), "local.models")
        return Config(self._file, {name: self._model(entry, f"local.models.{name}") for name, entry in models.items()})

    def _model(self, entry: object, key: str) -> LocalModel:
        if isinstance(entry, str):
            return LocalModel(self._path(entry, key))
        if not isinstance(entry, dict):
            raise self._error(
                key, f'is {entry!r}; it must be "path/to/model.gguf" or a table with path, context, threads, parallel'
            )
        self._known(entry, ("path", "context", "threads", "parallel"), f"{key}.")
        path = self._path(entry["path"], f"{key}.path") if "path" in entry else None
        counts = (self._count(entry.get(name), f"{key}.{name}") for name in ("context", "threads", "parallel"))
        return LocalModel(path, *counts)

    def _path(self, value: object, key: str) -> Path:
        if not isinstance(value, str) or not value:
            raise self._error(key, f"is {value!r}; it must be the path of a GGUF file")
        # absolute() and not resolve(): a symbolic link to the file of the day is the person's to keep.
        return self._file.absolute().parent / os.path.expanduser(value)

    def _count(self, value: object, key: str) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._error(key, f"is {value!r}; it must be a whole number of at least 1")
        return value

    def _table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(key, f"is {value!r}; it must be a table: [{key}]")
        return value

    def _known(self, table: Iterable[str], known: tuple[str, ...], prefix: str) -> None:
        for name in table:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                raise self._error(f"{prefix}{name}", f"is not a key of polychat; {hint}")

    def _error(self, key: str, what: str) -> BadInput:
        return BadInput(f"{self._file}: {key} {what}", field=key)
