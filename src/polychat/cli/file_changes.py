"""Settings added to another program's file: JSON, TOML or YAML. What the file has besides stays as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..config.writing import table, value_text
from .client_tools import ToolFile


def shown(file: ToolFile) -> str:
    """All that the file is to have, in its format."""
    match file.path.suffix:
        case ".json":
            return _json(file.content)
        case ".toml":
            return _toml(file.content)
        case _:
            return _yaml(file.content)


def changed(file: ToolFile, before: str | None) -> str | None:
    """The file's text with the settings; ``None`` where a person has to add them: it has others of the same names, or its
    comments would be lost.
    """
    if before is None or not before.strip():
        return shown(file)
    match file.path.suffix:
        case ".json":
            return _merged_json(file.content, before)
        case ".toml":
            return _merged_toml(file.content, before)
        case _:
            return _merged_yaml(file.content, before)


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _toml(content: Any) -> str:
    return "\n".join([*settings_text(content), *(f"\n{text}" for text in tables_text(content))])


def settings_text(content: Mapping[str, Any]) -> list[str]:
    """A line of TOML for each setting outside a table."""
    return [f"{name} = {value_text(value)}" for name, value in content.items() if not isinstance(value, Mapping)]


def tables_text(content: Mapping[str, Any]) -> list[str]:
    """The tables, as TOML."""
    return [_tables(name, value) for name, value in content.items() if isinstance(value, Mapping)]


def _tables(name: str, content: Mapping[str, Any]) -> str:
    """Those in one that has only tables."""
    return "\n".join("\n".join(table([name, inner], values)) for inner, values in content.items())


def _yaml(content: Any) -> str:
    try:
        import yaml
    except ImportError:
        return _json(content)  # which is YAML too
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _merged_json(content: Any, before: str) -> str | None:
    with suppress(ValueError, RecursionError):  # comments, which some of these programs read, are no JSON
        old = parsed_json(before)
        if isinstance(old, dict) and not _differs(old, content):
            return _json(_merged(old, content))
    return None


def parsed_json(text: str) -> Any:
    """Raises ``ValueError`` where writing it again would lose something."""
    value = json.loads(text, object_pairs_hook=_members)
    if _numbers_kept(_json(value)) != _numbers_kept(text):
        raise ValueError("a number has more digits than Python keeps")
    return value


def _numbers_kept(text: str) -> Any:
    """Numbers as they are written: some have more digits than Python's."""
    return json.loads(text, parse_float=str, parse_int=str)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ``ValueError`` for a name that is there twice: one of the two would be lost."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(pairs)
    return members


def _differs(old: Any, new: Any) -> bool:
    """Whether ``old`` has another value where ``new`` has one."""
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return bool(old != new)
    return any(name in old and _differs(old[name], value) for name, value in new.items())


def _merged(old: Any, new: Any) -> Any:
    """``old`` with the members of ``new``, in which lists and other values replace what was there."""
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    return old | {name: _merged(old.get(name), value) for name, value in new.items()}


def _merged_toml(content: Any, before: str) -> str | None:
    """Settings are put before the first table, tables at the end."""
    try:
        old = tomllib.loads(before)
    except tomllib.TOMLDecodeError:
        return None
    wanted = _merged(old, content)
    missing = {name: value for name, value in content.items() if old.get(name) != value and not isinstance(value, Mapping)}
    if any(name in old for name in missing):
        return None
    first = re.search(r"^\s*\[", before, re.MULTILINE)
    place = len(before) if first is None else first.start()
    settings = "".join(f"{name} = {value_text(value)}\n" for name, value in missing.items())
    gap = "\n" if settings and before[:place] and not before[:place].endswith("\n") else ""
    text = before[:place] + gap + settings + ("\n" if settings and place < len(before) else "") + before[place:]
    for name, inner in content.items():
        if isinstance(inner, Mapping) and old.get(name) != wanted[name]:
            text = f"{text.rstrip()}\n\n{_tables(name, inner)}"
    with suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(text) == wanted:
            return text
    return None


def _merged_yaml(content: Any, before: str) -> str | None:
    """Entries are added to a list; a mapping is left to its owner."""
    try:
        old = parsed_yaml(before)
    except ValueError:
        return None
    if old == content:
        return before
    if not isinstance(content, list) or not isinstance(old, list):
        return None
    missing = [entry for entry in content if entry not in old]
    text = f"{before.rstrip()}\n{_yaml(missing)}" if missing else before
    with suppress(ValueError):
        if parsed_yaml(text) == old + missing:
            return text
    return None


def parsed_yaml(text: str) -> Any:
    """Raises ``ValueError``, also where YAML cannot be read here."""
    try:
        import yaml

        return yaml.safe_load(text)
    except (ImportError, RecursionError) as error:
        raise ValueError(str(error)) from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
