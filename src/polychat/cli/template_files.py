"""The templates of ``polychat ask -t``: files with a prompt, a system message, a model and options, and ``$variables``.

A template is ``NAME.toml`` with the keys of ``_KEYS``, or ``NAME.md`` or ``NAME.txt``, which is the prompt alone. ``$name`` and
``${name}`` stand for values, ``$$`` for a dollar; a dollar before anything else is itself.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import config
from ..config.file_errors import near
from ..config.writing import table, value_text
from ..errors import BadInput, redact
from ..prompt import decoded_text
from ..user.whole_files import save_whole
from . import ANSWERED, complain
from .prompting import Given

_KEYS: dict[str, type] = {
    "about": str,
    "prompt": str,
    "system": str,
    "model": str,
    "schema": str,
    "options": dict,
    "defaults": dict,
}
_SUFFIXES = (".toml", ".md", ".txt")
_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_INPUT = "input"
"""The variable that stands for the prompt."""
_SECRET = ("api_key", "cookies")
"""Options that no template keeps: a file is shown, copied and shared."""
_LARGEST = 10_000_000
"""Bytes of a template."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a template and the arguments make together."""

    prompt: str
    system: str | None
    model: str | None = None
    schema: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Template:
    """One file. Raises ``BadInput`` that names it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        text = _read(file)
        self.values: dict[str, Any] = _table(text, file) if file.suffix == ".toml" else {"prompt": text.strip("\r\n")}

    def filled(self, given: Given, arguments: argparse.Namespace) -> Filled:
        """With the values of ``-p`` in place of variables. The prompt is where ``$input`` is, or after the template's own.

        Raises ``BadInput`` for a variable without a value, and for a value without a variable.
        """
        values = {name: str(value) for name, value in self.values.get("defaults", {}).items()}
        values |= dict(_parameter(pair) for pair in arguments.param)
        prompt, system = self.values.get("prompt", ""), arguments.system or self.values.get("system")
        wanted = {*_variables(prompt), *_variables(system or "")}
        for name in dict(_parameter(pair) for pair in arguments.param):
            if name not in wanted:
                raise BadInput(f"{self.file} has no variable ${name}{near(name, wanted, '; ')}", field="param")
        has_input = _INPUT in wanted and _INPUT not in values
        if has_input:
            values[_INPUT] = given.text()
        prompt, system = self._with(values, prompt), system and self._with(values, system)
        if not has_input or not prompt:
            prompt = given.text(prompt)
        return Filled(prompt, system, self.values.get("model"), self.values.get("schema"), self.values.get("options", {}))

    def _with(self, values: Mapping[str, str], text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1]:
                return "$"
            name = match[2] or match[3]
            if name not in values:
                raise BadInput(
                    f"{self.file}: the variable ${name} has no value: pass -p {name}=…, or write $$ for a $", field="param"
                )
            return values[name]

        return _VARIABLE.sub(value, text)

    def summary(self) -> str:
        """Its description, or the beginning of its prompt, on one line."""
        return redact(str(self.values.get("about") or self.values.get("prompt") or self.values.get("system") or ""), 60)


def _variables(text: str) -> Iterable[str]:
    return [match[2] or match[3] for match in _VARIABLE.finditer(text) if not match[1]]


def _parameter(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"-p {redact(pair, 40)!r} is not NAME=VALUE", field="param")
    return name, value


def _read(file: Path) -> str:
    try:
        with open(file, "rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise BadInput(f"{file} is larger than {_LARGEST:,} bytes", field="template")
        return decoded_text(data)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"{file} cannot be read: {reason}", field="template") from None


def _table(text: str, file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read as TOML: {error}", field="template") from None
    for name, value in values.items():
        if name not in _KEYS:
            raise BadInput(f"{file}: {name} is not a key of a template{near(name, _KEYS, '; ')}", field="template")
        if not isinstance(value, _KEYS[name]):
            kind = "a table" if _KEYS[name] is dict else "text"
            raise BadInput(f"{file}: {name} must be {kind}", field="template")
    return values


def folder() -> Path:
    return config.folder() / "templates"


def template_files() -> dict[str, Path]:
    """The person's templates by name."""
    files = sorted(folder().iterdir()) if folder().is_dir() else []
    return {file.stem: file for file in files if file.suffix in _SUFFIXES and not file.name.startswith(".")}


def template_at(name: str) -> Template:
    """A template of the person's by its name, or the file at a path. Raises ``BadInput`` with the nearest name."""
    return Template(Path(name) if "/" in name or name.endswith(_SUFFIXES) else template_file(name))


def template_file(name: str) -> Path:
    """The file of one of the person's templates. Raises ``BadInput`` with the nearest name."""
    files = template_files()
    if name not in files:
        guess = near(name, files, "; ") or f"; polychat templates lists those in {folder()}"
        raise BadInput(f"no template {redact(name, 60)!r}{guess}", field="template")
    return files[name]


def save_template(arguments: argparse.Namespace) -> int:
    """Keep the arguments of an ask as a template. Raises ``BadInput`` for a name that is in use."""
    name = arguments.save
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadInput(f"--save {redact(name, 40)!r}: a name has letters, digits, dots and dashes", field="save")
    if arguments.file or arguments.image or arguments.template:
        raise BadInput("--save keeps no -f, -a and -t: pass these with the template", field="save")
    if name in template_files():
        raise BadInput(f"there is a template {name}: to replace it, run  polychat templates rm {name}", field="save")
    texts = {"prompt": " ".join(arguments.prompt), **{key: getattr(arguments, key) for key in ("system", "model", "schema")}}
    lines = [f"{key} = {value_text(value)}" for key, value in texts.items() if value]
    if not lines:
        raise BadInput("--save keeps a prompt, -s, -m or --schema: pass one", field="save")
    options = _saved_options(arguments)
    file = folder() / f"{name}.toml"
    save_whole(file, "\n".join([*lines, "", *(table(["options"], options) if options else [])]).encode())
    complain(f"{file} is written: polychat ask -t {name}", "note")
    return ANSWERED


def _saved_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of ``-o``, checked as an ask checks them. Raises ``BadInput``, also for one that may be a secret."""
    from ..client.targets import targets_of, user_targets
    from .ask_options import given_options
    from .schema_argument import schema_from

    if arguments.schema is not None:
        schema_from(arguments.schema)
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    options = given_options(arguments, targets, arguments.model)
    for name, value in options.items():
        if name in _SECRET:
            raise BadInput(
                f"--save keeps no {name}, which may be secret: polychat keys set keeps a key; pass others beside -t",
                field="save",
            )
        if value is None:
            raise BadInput(f"--save: -o {name}=null is no value of a template: leave it out", field="save")
    return options
