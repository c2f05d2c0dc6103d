"""The table of vendors, read as data: what a row may say, and what none may leave out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import polychat.backends
import polychat.providers
from polychat.config.vendor_spec import CAPABILITIES, KeyHeader
from polychat.wire.contract import names

PROVIDERS = Path(polychat.providers.__file__).parent
BACKENDS = Path(polychat.backends.__file__).parent
ROWS: dict[str, dict[str, Any]] = tomllib.loads((BACKENDS / "vendors.toml").read_text(encoding="utf-8"))
WIRES = set(names())
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CHAT_FIELDS = {
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "seed"),
    *("logit_bias", "n", "verbosity", "metadata", "user", "service_tier", "store", "parallel_tool_calls", "stop"),
    *("max_completion_tokens", "logprobs", "top_logprobs", "tools", "tool_choice", "response_format", "reasoning_effort"),
}
"""What a request of OpenAI's chat may hold, of what a vendor may know by another name or not at all."""


def own(row: dict[str, Any]) -> bool:
    return urlsplit(row["base_url"]).hostname in LOOPBACK


def wrong(holds: Any) -> list[str]:
    """The names of the rows for which ``holds`` is false."""
    return [name for name, row in ROWS.items() if not holds(row)]


def test_there_are_many() -> None:
    """At least 45 rows, of every wire, and of own servers as well as of vendors."""
    assert len(ROWS) >= 45
    assert {row["wire"] for row in ROWS.values()} == WIRES
    assert sum(map(own, ROWS.values())) >= 8


def test_every_row_has_what_is_needed() -> None:
    """Title, wire, address, key, list of models, embeddings, abilities and source are in each row."""
    needed = {"title", "wire", "base_url", "key", "models", "embeddings", "can", "source"}
    assert wrong(lambda row: needed <= row.keys()) == []


def test_the_keys_are_explained() -> None:
    """Each key that some row has is explained at the top of the file, and so is each ability."""
    top = (BACKENDS / "vendors.toml").read_text(encoding="utf-8").partition("\n[")[0]
    explained = set(re.findall(r"^#\s+(\w+)  ", top, re.MULTILINE))
    assert {key for row in ROWS.values() for key in row} - explained == set()
    assert set(CAPABILITIES) - explained == set()


def test_the_vocabularies_are_closed() -> None:
    """Wires, shapes of lists, headers and abilities are known words; no ability is repeated."""
    assert wrong(lambda row: row["wire"] in WIRES) == []
    assert wrong(lambda row: row.get("models_shape", row["wire"]) in WIRES) == []
    assert wrong(lambda row: row.get("header", "authorization") in get_args(KeyHeader)) == []
    assert wrong(lambda row: set(row["can"]) <= set(CAPABILITIES) and len(set(row["can"])) == len(row["can"])) == []


def test_names_can_be_targets() -> None:
    """Lower case, digits and dashes: ``NAME/MODEL`` is read one way, and ``NAME_BASE_URL`` is a variable's name."""
    assert [name for name in ROWS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_no_row_hides_a_provider() -> None:
    """No row has the name of a file of providers."""
    assert ROWS.keys() & {file.stem.replace("_", "-") for file in PROVIDERS.glob("*.py")} == set()


def test_titles_are_unique() -> None:
    """People tell the rows apart by their titles."""
    titles = [row["title"].casefold() for row in ROWS.values()]
    assert sorted(titles) == sorted(set(titles))


def test_keys_travel_encrypted() -> None:
    """Public hosts are asked by https; plain http goes to this machine only, and wants no key."""
    assert wrong(lambda row: urlsplit(row["base_url"]).scheme == ("http" if own(row) else "https")) == []
    assert wrong(lambda row: not own(row) or not row["key"] or row.get("key_optional")) == []


def test_public_vendors_have_a_key() -> None:
    """A variable to read the key from is named for every host that is not this machine."""
    assert wrong(lambda row: own(row) or row["key"]) == []


def test_paths_follow_the_address() -> None:
    """An address ends without a slash, before what its wire puts after it; a list's path begins with a slash."""
    ends = {
        "anthropic": "(?<!/v1)",
        "gemini": "/v1beta",
        "ollama": "(?<!/api)(?<!/v1)",
        "openai-chat": "(?<!/chat/completions)",
    }
    assert wrong(lambda row: re.search(ends.get(row["wire"], "") + "(?<!/)$", row["base_url"])) == []
    assert wrong(lambda row: not row["models"] or row["models"].startswith(("/", "https://"))) == []


def test_placeholders_are_filled() -> None:
    """Each placeholder of an address has its variable, and each such variable its placeholder."""
    assert wrong(lambda row: set(re.findall(r"{(\w+)}", row["base_url"])) == row.get("params", {}).keys()) == []


def test_variables_are_upper_case() -> None:
    """Variables of keys and of placeholders are names that a shell takes, and none is named twice."""
    assert wrong(lambda row: all(map(VARIABLE.fullmatch, (*row["key"], *row.get("params", {}).values())))) == []
    assert wrong(lambda row: len(set(row["key"])) == len(row["key"])) == []


def test_sources_are_public_pages() -> None:
    """Each row names the page that says so, and the month it was read, if it was."""
    assert wrong(lambda row: urlsplit(row["source"]).scheme == "https" and urlsplit(row["source"]).hostname) == []
    assert wrong(lambda row: re.fullmatch(r"(20\d\d-(0[1-9]|1[0-2]))?", row.get("checked", ""))) == []


def test_quirks_are_of_fields_that_are_written() -> None:
    """What is renamed or dropped is a field of OpenAI's chat, and is in rows of that wire; each drop has its reason."""
    quirky = [row for row in ROWS.values() if {"rename", "drop", "message_drop", "reasoning", "stream_usage"} & row.keys()]
    assert {row["wire"] for row in quirky} == {"openai-chat"}
    assert wrong(lambda row: {*row.get("rename", {}), *row.get("drop", {})} <= CHAT_FIELDS) == []
    assert wrong(lambda row: all(row.get("drop", {}).values())) == []


def test_no_field_is_renamed_and_dropped() -> None:
    """A field has one fate, and no two fields get the same name."""
    assert wrong(lambda row: not row.get("rename", {}).keys() & row.get("drop", {}).keys()) == []
    assert wrong(lambda row: len(set(row.get("rename", {}).values())) == len(row.get("rename", {}))) == []


def test_what_is_dropped_is_not_claimed() -> None:
    """No row says that its vendor can do what the row takes out of the request."""
    claims = {
        "seed": "seed",
        "logprobs": "logprobs",
        "n": "n",
        "top_k": "top_k",
        "tools": "tools",
        "parallel_tools": "parallel_tool_calls",
    }
    assert wrong(lambda row: not {claims.get(one) for one in row["can"]} & row.get("drop", {}).keys()) == []


def test_anthropic_rows_say_their_version() -> None:
    """Anthropic refuses a request without its version, and those who speak as it does may."""
    assert wrong(lambda row: row["wire"] != "anthropic" or "anthropic-version" in row.get("headers", {})) == []


def test_notes_are_one_line() -> None:
    """A note is one line of a table."""
    assert wrong(lambda row: "\n" not in row.get("note", "") and len(row.get("note", "")) <= 120) == []
