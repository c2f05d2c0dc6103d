"""The JSON schema of polychat.toml, made from the types that read it: editors complete and check the file by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from . import LocalModel
from .decoding import Key, keys_of
from .settings import Gateway, Price, Route
from .strict import REFERENCES
from .vendor_spec import INTERNAL, VendorSpec

_PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", Path: "string"}


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of table in the file."""

    path: str
    """``NAME`` in it is a name of the user's own."""
    kind: type | None
    """What reads it; ``None`` for a table of text by name."""
    about: str
    without: tuple[str, ...] = ()
    """Fields of ``kind`` that the file does not say."""
    needed: tuple[str, ...] = ()


SECTIONS = (
    Section("gateway", Gateway, "`polychat serve`: where it listens, who has access, how it answers."),
    Section(
        "routes.NAME",
        Route,
        "A model name of your own: the targets it resolves to, and how one is chosen.",
        needed=("targets",),
    ),
    Section("aliases", None, 'Other names for targets and routes: `name = "target or route"`.'),
    Section(
        "providers.NAME",
        VendorSpec,
        "A vendor or server of your own, or changed settings for a known vendor. One of your own requires "
        "`wire` and `base_url`.",
        without=INTERNAL,
    ),
    Section(
        "prices.NAME",
        Price,
        "The price of a model in US dollars per million tokens; `NAME` is `provider/model`, in quotes. It "
        "overrides the price table of the extra `prices`, but not a cost that the backend reports itself.",
    ),
    Section("local.models.NAME", LocalModel, "A model on this machine: a table, or just the path of a GGUF file."),
)


def schema() -> dict[str, Any]:
    """For a whole file."""
    top: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "polychat.toml", **_object({})}
    about = "The model that the command and the library use if none is given; `POLYCHAT_MODEL` overrides it."
    top["properties"]["default_model"] = {"type": "string", "description": about}
    for section in SECTIONS:
        at = top
        *parents, last = section.path.removesuffix(".NAME").split(".")
        for name in parents:
            at = at["properties"].setdefault(name, _object({}))
        at["properties"][last] = _section(section)
    return top


def _section(section: Section) -> dict[str, Any]:
    about = {"description": section.about}
    if section.kind is None:
        return about | _map({"type": "string"})
    table = _table(section.kind, section.without)
    if section.needed:
        table["required"] = list(section.needed)
    if section.kind is LocalModel:
        return about | _map({"anyOf": [{"type": "string", "minLength": 1}, table]})
    return about | (_map(table) if section.path.endswith(".NAME") else table)


def _table(kind: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    return _object({one.name: _key(one) for one in keys_of(kind) if one.name not in without})


def _key(one: Key) -> dict[str, Any]:
    found = _value(one, one.hint)
    if one.about:
        found["description"] = one.about
    if isinstance(one.default, bool | int | float | str) and one.default != "":
        found["default"] = one.default
    return found


def _value(one: Key, hint: Any) -> dict[str, Any]:
    if get_origin(hint) is tuple:
        items = _value(one, get_args(hint)[0])
        listed = {"type": "array", "items": items}
        return {"anyOf": [items, listed]} if items["type"] == "string" else listed
    if get_origin(hint) is Mapping:
        return _map(_value(one, get_args(hint)[1]))
    if get_origin(hint) is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if is_dataclass(hint):
        return _table(hint)  # type: ignore[arg-type]  # a dataclass, and not one of its values
    return {"type": _PLAIN[hint], **_limits(one, hint)}


def _limits(one: Key, hint: type) -> dict[str, Any]:
    if hint is Path:
        return {"minLength": 1}
    if hint is not str:
        limits = {"minimum": one.least, "maximum": one.most}
        return {name: limit for name, limit in limits.items() if limit is not None}
    if one.reference:
        return {"pattern": f"^({'|'.join(REFERENCES)}):."}
    if one.choices:
        return {"enum": list(one.choices)}
    return {"pattern": f"^({one.pattern})$"} if one.pattern else {}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _map(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": items}
