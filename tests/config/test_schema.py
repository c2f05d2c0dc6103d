"""The JSON schema of polychat.toml, and the page of its keys: they say what the reader does."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, validators

from polychat import config
from polychat.config.schema import schema
from polychat.config.vendor_spec import VendorSpec
from polychat.config.writing import value_text
from polychat.errors import BadInput

FILE = Path("polychat.toml")
PAGE = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "pages.py"))["PAGES"]["configuration.md"]()
SCHEMA = schema()
IS_WHOLE = Draft7Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)  # TOML's 2.0 is none
VALIDATOR = validators.extend(Draft7Validator, type_checker=IS_WHOLE)(SCHEMA)
EXAMPLE = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]


def agrees(value: Any) -> bool:
    """Whether a whole file, as TOML reads it, is what the schema says."""
    return VALIDATOR.is_valid(value)


def accepted(text: str) -> bool:
    try:
        config.parsed(text, FILE)
    except BadInput:
        return False
    return True


def tables(expected: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each table of fixed keys in the schema, with a path that leads there; ``x`` is a name of the user's own."""
    for choice in expected.get("anyOf", [expected]):
        table = SCHEMA["definitions"][choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
        if "properties" in table:
            yield path, table
            for name, inner in table["properties"].items():
                yield from tables(inner, (*path, name))
        elif isinstance(table.get("additionalProperties"), dict):
            name = '"x/m"' if path == ("prices",) else "x"  # prices are of targets
            yield from tables(table["additionalProperties"], (*path, name))


TABLES = dict(tables(SCHEMA))
KEYS = [(path, name) for path, table in TABLES.items() for name in table["properties"] if (*path, name) not in TABLES]
KEYS = [(path, name) for path, name in KEYS if not {(*path, name, "x"), (*path, name, '"x/m"')} & TABLES.keys()]
TRIED: list[Any] = [
    *(True, -1, 0, 1, 7, 70000, 10**12, -0.5, 0.0005, 0.5, 2.0),
    *("", "x/y", "env:X", "cancel", "drain:3", "json", "tools", "x-api-key", "random", "refuse", "mean"),
    *([], [1], [0.5, -1], ["x/y"], ["tools"], ["x/y", 1], {}, {"a": "b"}, {"a": "env:B"}, {"a": 1}),
]


@pytest.mark.parametrize(("path", "name"), KEYS, ids=lambda value: value if isinstance(value, str) else ".".join(value))
def test_the_schema_takes_what_the_reader_takes(path: tuple[str, ...], name: str) -> None:
    """Of each key, value by value; what several keys say together is the reader's alone to judge."""
    for value in TRIED:
        if (name, value) == ("targets", []):
            continue
        beside = {"tls_cert": {"tls_key": value}, "tls_key": {"tls_cert": value}}.get(name, {})
        if path == ("routes", "x") and name != "targets":
            beside = {"targets": ["a/b"] * (len(value) if name == "weights" and isinstance(value, list) and value else 1)}
        entries = {**beside, name: value}
        above = '[gateway]\nkeys = { x = "env:X" }\n' if path[:2] == ("gateway", "key_settings") else ""
        text = (
            above
            + (f"[{'.'.join(path)}]\n" if path else "")
            + "".join(f"{key} = {value_text(one)}\n" for key, one in entries.items())
        )
        assert accepted(text) == agrees(tomllib.loads(text)), text


@pytest.mark.parametrize("path", TABLES, ids=".".join)
def test_the_schema_knows_the_readers_keys_and_no_others(path: tuple[str, ...]) -> None:
    """The reader names the keys it knows where it meets one it does not."""
    text = f"[{'.'.join(path)}]\nqqqqqqqqqq = 1" if path else "qqqqqqqqqq = 1"
    with pytest.raises(BadInput, match="known keys") as caught:
        config.parsed(text, FILE)
    known = str(caught.value).partition("known keys: ")[2].split(", ")
    assert set(known) == set(TABLES[path]["properties"])


def test_every_key_is_described() -> None:
    """An editor shows it; and each default is one that the schema takes."""
    for path, table in TABLES.items():
        for name, key in table["properties"].items():
            assert key.get("description"), (path, name)
            assert "default" not in key or VALIDATOR.evolve(schema=key).is_valid(key["default"]), (path, name)


def test_the_example_of_the_page_is_good() -> None:
    """It is read without an error, agrees with the schema, and shows each kind of table."""
    read = config.parsed(EXAMPLE, FILE)
    assert agrees(tomllib.loads(EXAMPLE))
    assert set(tomllib.loads(EXAMPLE)) == set(SCHEMA["properties"])
    assert read.gateway.keys
    assert not agrees(tomllib.loads(EXAMPLE) | {"gateway": {"prt": 1}})


def test_the_page_has_every_key() -> None:
    """Under the heading of its table, with its meaning; those of no table come before the first heading."""
    headed = re.findall(r"^###? `\[(.+?)\]`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    parts = {"": PAGE.partition("\n## ")[0], **dict(headed)}
    assert set(parts) == set(map(heading_of, TABLES))
    for path, name in KEYS:
        about = re.escape(TABLES[path]["properties"][name]["description"])
        assert re.search(rf"^\| `{name}` \|.*\| {about} \|$", parts[heading_of(path)], re.MULTILINE)


def heading_of(path: tuple[str, ...]) -> str:
    return re.sub(r'\.(x|"x/m")', ".NAME", ".".join(path))


def test_a_rows_name_is_no_key() -> None:
    """It is in the table's header."""
    assert "name" in VendorSpec.__struct_fields__
    assert not accepted('[providers.x]\nname = "y"')
