"""A polychat whose table of request fields has one more row, ``top_a``; run as a program, it checks that all know the field.

The row is added before anything else of the package is loaded, as if it stood in ``fields.py``.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from polychat import types


class More(types.ChatRequest):
    top_a: float | None = None


types.ChatRequest = More  # type: ignore[misc]

from polychat.wire.field import NUMBER, At, Field, dropped  # noqa: E402
from polychat.wire.fields import FIELDS  # noqa: E402

ROW = Field(
    name="top_a",
    about="leave out tokens less likely than this",
    type=NUMBER,
    least=0,
    default=(0,),
    anthropic=At("top_a"),
    gemini=At("generationConfig.topA"),
    ollama=At("options.top_a"),
    openai_chat=At("top_a", older=("topA",)),
    openai_responses=dropped("the API has no top_a"),
)
FIELDS[ROW.name] = ROW

from polychat.calls.request import KEYWORDS, request_of  # noqa: E402
from polychat.errors import BadInput  # noqa: E402
from polychat.gateway.openapi import document  # noqa: E402
from polychat.providers._reach import options_from  # noqa: E402
from polychat.wire.contract import names, wire_named  # noqa: E402
from polychat.wire.json_text import encoded  # noqa: E402
from polychat.wire.losses import losses  # noqa: E402

from .vendor_schemas import DESCRIBED  # noqa: E402


def refused(value: Any) -> str:
    try:
        request_of("hi", "m", {"top_a": value})
    except BadInput as error:
        return str(error)
    return ""


def is_in(schema: Any, place: str) -> bool:
    """Whether a schema of the gateway's OpenAPI describes what is at a path."""
    for step in place.split("."):
        if step not in schema["properties"]:
            return False
        schema = schema["properties"][step]
    return bool(schema["type"] == ["number", "null"] and ROW.about[1:] in schema["description"])


def check() -> None:
    """Raises ``AssertionError``."""
    assert "top_a" in KEYWORDS
    assert "it must be a number" in refused("high")
    assert "from 0" in refused(-1)
    chat_request, _ = request_of("hi", "m", {"top_a": 0.25})
    assert options_from(chat_request, ("top_a",)) == {"top_a": 0.25}
    for name in names():
        wire, at = wire_named(name), ROW.on(name)
        body = wire.write_request(chat_request)
        again: Any = wire.read_request(encoded(body), model="m")
        lost = [loss.field for loss in losses(chat_request, wire.SUPPORT, name, wire.VENDOR)]
        if not isinstance(at, At):
            assert (again.top_a, lost, "top_a" in str(body)) == (None, ["top_a"], False)
            continue
        inside = body[at.within] if at.within else body
        assert (inside[at.name], again.top_a, again.extra, lost) == (0.25, 0.25, {}, [])
        assert is_in(document()["components"]["schemas"][DESCRIBED[name]], at.path)
    pages = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "pages.py"))
    assert "    top_a: float | None\n" in pages["keywords"]()
    assert "`top_a`" in pages["losses"]()
    assert "``top_a``" in pages["docstring_of_stream"]()


if __name__ == "__main__":
    check()
    print("top_a is everywhere")
