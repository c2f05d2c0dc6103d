"""Secrets by reference: a file has the place of the secret, never the secret."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadInput, MissingPackage, NotReady
from ..prompt import decoded_text
from .command_secret import command_secret


def secret(reference: str, field: str) -> str:
    """What ``env:NAME``, ``file:PATH``, ``keyring:NAME`` or ``exec:COMMAND`` refers to; the last waits for the command.

    Raises ``NotReady`` where there is nothing.
    """
    kind, _, name = reference.partition(":")
    match kind:
        case "env":
            value = os.environ.get(name, "")
        case "file":
            value = _of_file(name, field)
        case "keyring":
            value = _of_keyring(name)
        case "exec":
            value = command_secret(name).wait(field)
        case _:
            raise BadInput(f"{field} must be a reference: env:NAME, file:PATH, keyring:NAME or exec:COMMAND", field=field)
    if not value.strip():
        raise NotReady(f"{field} refers to {kind}:{name}, which is not set: put the secret there")
    return value.strip()


def _of_file(name: str, field: str) -> str:
    try:
        return decoded_text(Path(os.path.expanduser(name)).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise NotReady(f"{field} refers to file:{name}, which cannot be read: {reason}") from None


def _of_keyring(name: str) -> str:
    try:
        import keyring
    except ImportError:
        raise MissingPackage("keyring", extra="keyring", purpose="a secret kept in the system's keyring") from None
    return keyring.get_password("polychat", name) or ""
