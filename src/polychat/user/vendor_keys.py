"""Keys of vendors that ``polychat keys set`` keeps: in the system's keyring, or in ``keys.toml``, for its owner alone.

``keys.toml`` in the configuration folder has a line for each variable that a vendor's key has in the environment
(``OPENAI_API_KEY = "…"``); its value is the key, or ``keyring:`` for one that the keyring holds. A variable of the environment
overrides it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from ..config import own_file
from ..errors import NotReady
from ..prompt import decoded_text
from .secrets import secret
from .whole_files import write_whole

FILE = "keys.toml"
KEYRING = "keyring:"
"""The value of a key that the system's keyring holds."""
_SERVICE = "polychat"

_LOCK = Lock()
_read: dict[str, tuple[tuple[int, int, int], Mapping[str, str]]] = {}
"""The content of a file, with its stamp."""


def key_file() -> str:
    """The path of ``keys.toml``."""
    return own_file(FILE)


def key_file_stamp() -> tuple[int, int, int] | None:
    """A value that changes when the file does; ``None`` where there is none."""
    file = key_file()
    if not os.access(file, os.F_OK):
        return None  # most people have none, and an exception costs several times as much
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def kept_keys() -> Mapping[str, str]:
    """What the file has, by variable. Raises ``NotReady`` where it cannot be read."""
    stamp, file = key_file_stamp(), key_file()
    if stamp is None:
        return {}
    with _LOCK:
        entry = _read.get(file)
        if entry is None or entry[0] != stamp:
            _read[file] = entry = (stamp, _content(Path(file)))
        return entry[1]


def kept_key(name: str) -> str:
    """The key under this variable; empty if none is kept. Raises ``NotReady``."""
    value = kept_keys().get(name, "")
    return secret(f"{KEYRING}{name}", name) if value == KEYRING else value


def keep_key(name: str, key: str, *, keyring: bool) -> str:
    """Keep a key, and give where. Raises ``NotReady`` and ``OSError``."""
    if keyring:
        import keyring as system

        try:
            system.set_password(_SERVICE, name, key)
        except Exception as error:  # noqa: BLE001  # each keyring has errors of its own
            raise NotReady(f"the system's keyring refuses the key ({type(error).__name__}): use --file") from None
    elif kept_keys().get(name) == KEYRING:
        _leave_keyring(name)
    _write({**kept_keys(), name: KEYRING if keyring else key})
    return "the system's keyring" if keyring else key_file()


def forget_key(name: str) -> bool:
    """Whether there was one to forget. Raises ``NotReady`` and ``OSError``."""
    keys = dict(kept_keys())
    value = keys.pop(name, None)
    if value == KEYRING:
        _leave_keyring(name)
    if value is not None:
        _write(keys)
    return value is not None


def has_keyring() -> bool:
    """Whether there is a keyring that keeps something: on a server there often is none."""
    try:
        import keyring
    except ImportError:
        return False
    with suppress(Exception):
        return float(keyring.get_keyring().priority) >= 1
    return False


def _leave_keyring(name: str) -> None:
    with suppress(Exception):  # it may be gone, or its keyring
        import keyring

        keyring.delete_password(_SERVICE, name)


def _content(file: Path) -> Mapping[str, str]:
    try:
        values = tomllib.loads(decoded_text(file.read_bytes()))
    except (OSError, ValueError) as error:  # whose text would show the line with the key
        reason = getattr(error, "strerror", None) or 'it is not TOML: write lines such as OPENAI_API_KEY = "…"'
        raise NotReady(f"{file} cannot be read: {reason}") from None
    return {name: value.strip() for name, value in values.items() if isinstance(value, str)}


def _write(keys: Mapping[str, str]) -> None:
    from ..config.writing import value_text  # it loads msgspec

    file = Path(key_file())
    write_whole(file, "".join(f"{name} = {value_text(value)}\n" for name, value in sorted(keys.items())).encode(), mode=0o600)
