"""What ``polychat setup`` wrote into other programs' files: it may be replaced, what a person changed there may not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..state.probes import folder
from ..user.whole_files import write_whole
from .client_tools import ToolFile
from .file_changes import parsed_json, parsed_yaml, settings_text, shown, tables_text

FILE = "setup.json"


def before_setup(file: ToolFile, text: str) -> str:
    """The text of the file without what was written into it earlier, as far as that is there unchanged."""
    earlier = _records().get(str(file.path))
    if not earlier:
        return text
    written = ToolFile(file.path, earlier)
    text = text if text.endswith("\n") else f"{text}\n"  # which an editor may have removed
    with suppress(ValueError, TypeError, AttributeError, RecursionError):  # another format meanwhile, or a damaged record
        match file.path.suffix:
            case ".json":
                return json.dumps(_without(parsed_json(text), earlier), indent=2, ensure_ascii=False) + "\n"
            case ".toml":
                return _toml_without(written, text)
            case _:
                return _yaml_without(written, text)
    return text


def record(file: ToolFile) -> None:
    """Keep what was written. Where that is impossible, it counts as the person's own."""
    with suppress(OSError):
        write_whole(folder() / FILE, json.dumps(_records() | {str(file.path): file.content}, indent=1).encode())


def _records() -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        records = json.loads(Path(folder() / FILE).read_bytes())
        return records if isinstance(records, dict) else {}
    return {}


def _without(old: Any, written: Any) -> Any:
    """A table without the members that are as they were written; tables that have nothing else go with them."""
    if not isinstance(old, dict) or not isinstance(written, Mapping):
        return old
    left = {}
    for name, value in old.items():
        if name in written and isinstance(value, dict):
            if rest := _without(value, written[name]):
                left[name] = rest
        elif name not in written or value != written[name]:
            left[name] = value
    return left


def _toml_without(written: ToolFile, text: str) -> str:
    """Raises ``ValueError``."""
    content: Any = written.content
    shorter = text
    for piece in (*settings_text(content), *tables_text(content)):
        shorter = f"\n{shorter}".replace(f"\n{piece.strip()}\n", "\n", 1)[1:]
    wanted = _without(tomllib.loads(text), content)
    return shorter if tomllib.loads(shorter) == wanted else text


def _yaml_without(written: ToolFile, text: str) -> str:
    """Entries of a list; a mapping only where it is all of the file. Raises ``ValueError``."""
    shorter = text.replace(shown(written), "", 1)
    old, content = parsed_yaml(text), written.content
    if isinstance(content, list) and isinstance(old, list):
        return shorter if (parsed_yaml(shorter) or []) == [entry for entry in old if entry not in content] else text
    return "" if old == content and not shorter.strip() else text
