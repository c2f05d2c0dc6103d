"""Writes the pages of the documentation that are tables of the code: ``losses.md`` and ``vendors.md``. Run by ``make docs``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from polychat.config.rows import CAN, Row
from polychat.providers._vendor import known
from polychat.wire.ledger import FIELDS, FORM, Fate
from polychat.wire.wires import names, wire

HERE = Path(__file__).parent
LOSSES = """# What each wire carries

An ask goes from one API's words into another's, and no two APIs say the same things. This table accounts for each field of an
ask on each wire: **kept** as it is, **mapped** to the wire's own way of saying the same, **emulated** by something that comes
close, or **dropped**. The notes below say how and why. It is made from the code (`wire/*/fates.py`) that the tests hold the
wires to.

What is dropped is lost by your choice: `on_loss="refuse"`, `"warn"` or `"allow"`. Without it, losing a field marked ● is
refused, because the answer would have another form; of the others you are warned (`LossWarning`). `reply.losses` tells of all,
the emulated ones too.
"""
VENDORS = """# Vendors

Each is a row of data in `providers/vendors.toml`, checked against the page it names. Ask one as `vendor/model`; its key is
taken from the variable below, from `polychat.toml`, or from `api_key=`. `<VENDOR>_BASE_URL` moves it. A vendor of your own is
the same row in `polychat.toml`:

```toml
[providers.house]
wire = "openai-chat"                      # or openai-responses, anthropic, gemini, ollama
base_url = "http://127.0.0.1:9101/v1"
api_key = "env:HOUSE_KEY"                 # or file:PATH, keyring:NAME
drop = { seed = "the server refuses it" } # what it does not take, and why
```

"Can" is what the vendor's documentation says that some of its models can do; whether the one you ask can is the model's to say.
"""


def losses() -> str:
    """The page of the ledger."""
    wires = names()
    tables = {name: wire(name).FATES for name in wires}
    lines = [LOSSES, _row(["field", *wires]), _row(["---"] * (len(wires) + 1))]
    notes: dict[str, int] = {}
    for field, about in FIELDS.items():
        name = f"`{field}`{' ●' if field in FORM else ''}{f'<br>{about}' if about else ''}"
        lines.append(_row([name, *(_fate(tables[one][field], notes) for one in wires)]))
    lines += ["", "## Notes", "", *(f"{number}. {note}" for note, number in notes.items())]
    return "\n".join(lines) + "\n"


def _fate(fate: Fate, notes: dict[str, int]) -> str:
    if not fate.note:
        return fate.kind
    return f"{fate.kind} <sup>{notes.setdefault(fate.note, len(notes) + 1)}</sup>"


def vendors() -> str:
    """The page of the vendors: where each is, and what each can do."""
    rows = sorted(known().values(), key=lambda row: row.name)
    lines = [VENDORS, _row(["vendor", "wire", "key", "address"]), _row(["---"] * 4)]
    lines += [_row([_name(row), row.wire, ", ".join(f"`{key}`" for key in row.key), f"`{row.base_url}`"]) for row in rows]
    lines += ["", "## What they can", "", _row(["vendor", *CAN, "embeddings", "models list"]), _row(["---"] * (len(CAN) + 3))]
    for row in rows:
        marks = ["✓" if what in row.can else "" for what in CAN]
        lines.append(_row([f"`{row.name}`", *marks, "✓" if row.embeddings else "", "✓" if row.models else ""]))
    lines += ["", "## What they want otherwise", "", *_quirks(rows)]
    return "\n".join(lines) + "\n"


def _name(row: Row) -> str:
    return f"`{row.name}`<br>[{row.title or row.name}]({row.source})" if row.source else f"`{row.name}`"


def _quirks(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        said = [f"`{ours}` is `{theirs}`" for ours, theirs in row.rename.items()]
        for why in dict.fromkeys(row.drop.values()):
            names = [f"`{name}`" for name, reason in row.drop.items() if reason == why]
            said.append(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} dropped: {why}")
        said += [f"messages go without {', '.join(f'`{name}`' for name in row.message_drop)}"] if row.message_drop else []
        said += [row.note.rstrip(".")] if row.note else []
        if said:
            yield f"- **{row.title or row.name}** (`{row.name}`): {'; '.join(said)}."


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


PAGES = {"losses.md": losses, "vendors.md": vendors}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
