"""Writes the pages of the documentation that are made from the code. Run by ``make docs``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from textwrap import fill

from msgspec import NODEFAULT, inspect

from polychat.backends.builtin import known
from polychat.calls import request
from polychat.calls.request import ASKING, STRUCTURED, Keyword
from polychat.config.decoding import entry_of, form, keys_of, meaning, table_in
from polychat.config.reading import File
from polychat.config.schema import schema
from polychat.config.vendor_spec import CAPABILITIES, VendorSpec
from polychat.config.writing import value_text
from polychat.providers.catalogue import files, load
from polychat.wire.contract import names
from polychat.wire.field import Support
from polychat.wire.fields import FIELDS, plain_fields, support_table

HERE = Path(__file__).parent
LOSSES = """# What each wire carries

A request that is translated from one API to another cannot always keep all of its fields. This table accounts for each field
on each wire: **kept** as it is, **mapped** to the wire's own field for the same, **emulated** by something that comes close, or
**dropped**. The notes below the table say how and why. It is made from `wire/fields.py`, which the tests compare with what each
wire really writes.

You choose what happens to a request with fields that would be dropped: `on_loss="refuse"`, `"warn"` or `"allow"`. By default a
request is refused if the field is marked ●, because the reply would have another form; for other fields there is a warning
(`LossWarning`). `reply.losses` lists all losses, emulated fields too.
"""
VENDORS = """# Vendors

Each vendor is an entry in `backends/vendors.toml`, checked against the page that it links. A target is `vendor/model`. The key
is taken from the variable below, from `polychat.toml`, or from `api_key=`; `<VENDOR>_BASE_URL` overrides the address. A vendor
of your own is an entry of the same form in `polychat.toml`:

```toml
[providers.house]
wire = "openai-chat"                      # or openai-responses, anthropic, gemini, ollama
base_url = "http://127.0.0.1:9101/v1"
api_key = "env:HOUSE_KEY"                 # or file:PATH, keyring:NAME, exec:COMMAND
drop = { seed = "the server rejects it" } # fields that it does not support, and why
```

The capabilities are those that the vendor's documentation names for at least some of its models; check the model you use.
"""
CONFIGURATION = """# polychat.toml

The settings of this machine: where the gateway listens, the model names that clients can request, backends of your own, models
on disk. Your own file is `~/.config/polychat/polychat.toml` (`$XDG_CONFIG_HOME/polychat/` if that is set); the library and all
commands read it. `polychat serve --config FILE` uses another. Every key has a default, and the file is optional.

`polychat serve` without `--config` uses the `polychat.toml` in the current folder, if there is one, and prints which file it
uses. `polychat config check` and `show` read the same file; no other command does.

A file found in the current folder may come from someone else, such as in a cloned repository, so it cannot decide where your
keys are sent. It can define servers that need no key, routes, aliases and all of `[gateway]`; keys from the environment are
sent only to the vendors' own addresses or to `<VENDOR>_BASE_URL`. If it sets `api_key`, `key`, `params` or `host_env`, or
another `base_url` for a vendor whose key is set, `polychat serve` exits with an error that names the file, the line and what to
do. If you trust the file, name it: `polychat serve --config polychat.toml`.

```toml
default_model = "fast"                    # used by `polychat ask` and the library if no model is given

[gateway]
host = "0.0.0.0"                          # any address other than loopback requires keys
port = 8000
workers = 2
keys = { alice = "env:ALICE_KEY", ci = "file:/run/secrets/polychat-ci" }
on_disconnect = "drain:20"
log = "json"

[gateway.limits]
concurrent = 500

[routes.fast]                             # a model name that clients request
targets = ["house/small", "groq/llama-3.1-8b-instant", "local/smollm2"]
timeout = 60

[routes."gpt-4.1"]                        # quoted, for the dot in it
targets = ["openai/gpt-4.1", "azure-eu/gpt-4.1"]
strategy = "random"
weights = [1, 3]

[aliases]
small = "fast"

[providers.house]                         # a server of your own
wire = "openai-chat"
base_url = "http://127.0.0.1:9101/v1"
api_key = "env:HOUSE_KEY"

[prices."house/small"]                    # US dollars per million tokens
prompt = 0.2
completion = 0.6

[providers.azure-eu]
wire = "openai-chat"
base_url = "https://my-eu.openai.azure.com/openai/v1"
header = "api-key"
api_key = "keyring:azure-eu"

[local.models]
qwen = "models/qwen3-0.6b-q4.gguf"        # relative to this file
big = { path = "/srv/models/big.gguf", context = 8192, parallel = 2 }

[mcp.files]                               # tools for polychat ask --mcp files
command = "npx -y @modelcontextprotocol/server-filesystem /srv/notes"
```

- The file holds references to secrets, not secrets: `env:NAME` (an environment variable), `file:PATH`, `keyring:NAME` (the
  system's keyring, with the extra `keyring`). A key written into the file is an error, whose message does not repeat it.
- An unknown key is an error. Each error names the file, the line, what was expected, and the nearest valid word:
  `polychat.toml:12: gateway.port is "x"; it must be a whole number from 0 to 65535`.
- `polychat config check [FILE]` validates a file, `polychat config show [FILE]` prints the effective configuration with all
  defaults, and `polychat config import LITELLM.yaml` converts LiteLLM's `config.yaml` and reports what has no counterpart.
- Editors complete and check the file with its JSON schema: `polychat config schema > polychat.schema.json`, and
  `#:schema ./polychat.schema.json` in the first line of the file.

The tables below list every key. `NAME` is a name of your own.
"""


def losses() -> str:
    """The page of losses."""
    wires = names()
    tables = {name: support_table(name) for name in wires}
    lines = [LOSSES, table_row(["field", *wires]), table_row(["---"] * (len(wires) + 1))]
    notes: dict[str, int] = {}
    for field, row in FIELDS.items():
        name = f"`{field}`{' ●' if row.form else ''}<br>{row.about}"
        lines.append(table_row([name, *(_fate(tables[one][field], notes) for one in wires)]))
    lines += ["", "## Notes", "", *(f"{number}. {note}" for note, number in notes.items())]
    return "\n".join(lines) + "\n"


def _fate(support: Support, notes: dict[str, int]) -> str:
    if not support.note:
        return support.kind
    return f"{support.kind}&nbsp;<sup>{notes.setdefault(support.note, len(notes) + 1)}</sup>"


def vendors() -> str:
    """The page of the vendors: where each is, and what each can do."""
    rows = sorted(known().values(), key=lambda row: row.name)
    lines = [VENDORS, table_row(["vendor", "wire", "key", "address"]), table_row(["---"] * 4)]
    lines += [table_row([_name(row), row.wire, ", ".join(f"`{key}`" for key in row.key), f"`{row.base_url}`"]) for row in rows]
    lines += [
        "",
        "## Capabilities",
        "",
        table_row(["vendor", *CAPABILITIES, "embeddings", "models list"]),
        table_row(["---"] * (len(CAPABILITIES) + 3)),
    ]
    for row in rows:
        marks = ["✓" if what in row.can else "" for what in CAPABILITIES]
        lines.append(table_row([f"`{row.name}`", *marks, "✓" if row.embeddings else "", "✓" if row.models else ""]))
    lines += ["", "## Differences", "", *_quirks(rows)]
    return "\n".join(lines) + "\n"


def _name(row: VendorSpec) -> str:
    return f"`{row.name}`<br>[{row.title or row.name}]({row.source})" if row.source else f"`{row.name}`"


def _quirks(rows: Iterable[VendorSpec]) -> Iterable[str]:
    for row in rows:
        said = [f"`{ours}` is `{theirs}`" for ours, theirs in row.rename.items()]
        for why in dict.fromkeys(row.drop.values()):
            names = [f"`{name}`" for name, reason in row.drop.items() if reason == why]
            said.append(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} dropped: {why}")
        said += [f"messages go without {', '.join(f'`{name}`' for name in row.message_drop)}"] if row.message_drop else []
        said += [row.note.rstrip(".")] if row.note else []
        if said:
            yield f"- **{row.title or row.name}** (`{row.name}`): {'; '.join(said)}."


def configuration() -> str:
    """The page of polychat.toml: every key with its type, default and meaning."""
    return "\n".join([CONFIGURATION, *_keys("", File)]).rstrip("\n") + "\n"


def _keys(path: str, kind: type) -> list[str]:
    """The keys of a table, then the tables in it, each under its own heading."""
    rows, tables = [], []
    for name, key in keys_of(kind).items():
        entry = entry_of(key.type)
        if (table := table_in(entry or key.type)) is None:
            rows.append(table_row([f"`{name}`", _value(key.type), _default(key.default), meaning(key)]))
        else:
            place = f"{path}{name}.NAME" if entry else f"{path}{name}"
            tables += ["", f"{'###' if path else '##'} `[{place}]`", "", meaning(key), "", *_keys(f"{place}.", table)]
    return [*([table_row(["key", "value", "default", "meaning"]), table_row(["---"] * 4)] if rows else []), *rows, *tables]


def _default(value: object) -> str:
    return "" if value in (None, "", (), NODEFAULT) else f"`{value_text(value)}`"


def _value(kind: inspect.Type) -> str:
    """``whole number from 0 to 65535``, with what is written in the file as code."""
    return re.sub(r'("[^"]+"|\{.*\}|\btrue\b|\bfalse\b)', r"`\1`", form(kind).removeprefix("a ").removeprefix("the "))


_CODE_WITH_PIPES = re.compile(r"`([^`]*\|[^`]*)`")


def table_row(cells: Iterable[str]) -> str:
    """One row of a table. Markdown has no way to write ``|`` in a cell's code that every renderer reads: HTML has."""
    return "| " + " | ".join(_CODE_WITH_PIPES.sub(_html, cell).replace("|", "\\|") for cell in cells) + " |"


def _html(code: re.Match[str]) -> str:
    return f"<code>{escape(code[1], quote=False).replace('|', '&#124;')}</code>"


def editors() -> str:
    """The JSON schema of polychat.toml."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


KEYWORDS = """\"""The keywords of ``polychat.ask`` and ``stream``, for editors and type checkers.

``make fix`` writes this file from the tables in ``wire/fields.py`` and ``calls/request.py``: type checkers read source alone.
\"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, TypedDict

from ..http.timeouts import Timeouts
from ..types import Effort, Format, HostedTool, Thinking, Tool, ToolChoice

OneTool: TypeAlias = Tool | HostedTool | Mapping[str, Any] | Callable[..., object]
Attachment: TypeAlias = str | bytes | bytearray | PathLike[str]


class CallKeywords(TypedDict, total=False):
    \"""How a request is sent. ``None`` leaves a keyword out, except that ``timeout=None`` means no limit.\"""
{asking}

class Keywords(CallKeywords, total=False):
    \"""The fields of a request besides its prompt, ``model``, ``system`` and ``schema``. ``None`` leaves a field out.\"""
{keywords}

class AskKeywords(Keywords, total=False):
    \"""All keywords of ``ask`` and ``stream`` but ``schema``, on which the type of the reply depends.\"""

    model: str | None
    \"""``provider/model``, a route, an alias, or several of these separated by commas.\"""

    system: str | None
    \"""A system message, placed before the prompt.\"""

    options: Mapping[str, Any] | None
    \"""Further keywords by name, for options that only one provider has.\"""
"""


def keywords() -> str:
    """The types of keyword arguments, as source."""
    plain = [Keyword(row.name, row.type.hint, row.about) for row in plain_fields() if row.keyword and row.type is not None]
    return KEYWORDS.format(asking=_typed(ASKING), keywords=_typed([*STRUCTURED, *plain]))


def _typed(entries: Iterable[Keyword]) -> str:
    lines = []
    for entry in entries:
        lines += ["", f"    {entry.name}: {entry.hint} | None", f'    """{entry.about[:1].upper()}{entry.about[1:]}."""']
    return "\n".join(lines) + "\n"


_FIELDS_OF_STREAM = re.compile(r"(?m)^    ``prompt`` is text or a conversation;(?: .*\n)(?:    .*\n)*")
_EXPLAINED = {
    "schema": "a type or a JSON schema",
    "images": "paths, URLs or bytes; read here",
    "files": "as images",
    "reasoning": "an effort, or a number of tokens",
    "extra": "fields under the API's own names",
    "models": "called in order where the first one fails",
}
"""What the docstring of ``stream`` says of a keyword besides its name."""


def docstring_of_stream() -> str:
    """``client/calls.py`` with every field of a request in the docstring of ``stream``, which editors show."""
    names = [f"``{name}`` ({_EXPLAINED[name]})" if name in _EXPLAINED else f"``{name}``" for name in request.KEYWORDS]
    text = f"``prompt`` is text or a conversation; ``system`` is placed before it. The request's fields: {', '.join(names)}."
    lines = fill(text, 128, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    source = (HERE / "../src/polychat/client/calls.py").read_text(encoding="utf-8")
    source, count = _FIELDS_OF_STREAM.subn(lambda _: lines + "\n", source)
    assert count == 1, "the docstring of stream has no paragraph that begins with ``prompt``"
    return source


def public_providers() -> str:
    """``providers/__init__.py`` with the import of each service by which type checkers know its class."""
    text = (HERE / "../src/polychat/providers/__init__.py").read_text(encoding="utf-8")
    classes = {file: load(file).__name__ for file in files()}
    imports = [
        line for line in _LATE_IMPORTS.findall(text) if line.split()[1].startswith("..") or line.split()[1] == ".contract"
    ]
    imports += [f"    from .{file} import {name} as {name}\n" for file, name in classes.items()]
    start = text.index("if TYPE_CHECKING:\n") + len("if TYPE_CHECKING:\n")
    end = text.index("\n_HOMES")
    return text[:start] + "".join(sorted(imports, key=_import_order)) + text[end:]


_LATE_IMPORTS = re.compile(r"(?m)^    from \S+ import .*\n")


def _import_order(line: str) -> tuple[bool, str, str]:
    """As ruff sorts them: the furthest package first."""
    _, module, _, name, *_ = line.split()
    return not module.startswith(".."), module, name


PAGES = {
    "losses.md": losses,
    "vendors.md": vendors,
    "configuration.md": configuration,
    "../src/polychat/client/keywords.py": keywords,
    "../src/polychat/client/calls.py": docstring_of_stream,
    "../src/polychat/providers/__init__.py": public_providers,
    "polychat.schema.json": editors,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
