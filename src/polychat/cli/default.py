"""``polychat default``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import config
from ..client.targets import DEFAULT_MODEL, Targets, as_target, user_targets
from ..config.editing import with_setting
from ..config.environment import variable
from ..errors import BadInput, NotReady
from ..prompt import decoded_text
from ..user.whole_files import save_whole
from . import ANSWERED, complain

_VARIABLE, _SETTING = "POLYCHAT_MODEL", "default_model"


def run(arguments: argparse.Namespace) -> int:
    """Show the default model and where it is set, or set it. Raises ``BadInput`` for a model that does not exist."""
    targets = user_targets()
    if arguments.model is None and not arguments.unset:
        print(_current(targets))
        return ANSWERED
    file = config.folder() / config.FILE
    _set(file, None if arguments.unset else _known(targets, arguments.model))
    if variable(_VARIABLE).strip():
        complain(f"the variable {_VARIABLE} is set, and overrides {file}", "note")
    return ANSWERED


def _current(targets: Targets) -> str:
    if variable(_VARIABLE).strip():
        place = f"the variable {_VARIABLE}"
    elif targets.registry.config.default_model:
        place = str(targets.registry.config.file)
    else:
        return f"{DEFAULT_MODEL}  (the embedded model: none is set)"
    return f"{targets.default_model()}  ({place})"


def _known(targets: Targets, name: str) -> str:
    """The name as the file has it, which works from any folder. Raises ``BadInput`` if it means nothing."""
    targets.plan(name)
    return ", ".join(as_target(member.strip()) for member in name.split(","))


def _set(file: Path, model: str | None) -> None:
    try:
        text = decoded_text(file.read_bytes()) if file.exists() else ""
    except OSError as error:
        raise NotReady(f"{file} cannot be read: {error.strerror}") from None
    changed = with_setting(text, _SETTING, model)
    if changed is None:
        raise BadInput(f"{file} cannot be changed here: write {_SETTING} in it yourself", field="MODEL")
    if changed != text:
        save_whole(file, changed.encode())
