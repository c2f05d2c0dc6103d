"""The loss ledger: every field of an ask has a fate on every wire."""

from __future__ import annotations

import dataclasses
import typing
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import types
from polychat.errors import BadInput, LossWarning
from polychat.types import (
    ChatMessage,
    ChatRequest,
    HostedTool,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolChoice,
)
from polychat.wire.contract import names, wire_named
from polychat.wire.field import KEPT, Support, dropped, emulated
from polychat.wire.fields import FIELDS
from polychat.wire.losses import FORM, Loss, apply_loss_policy, losses, used

from ..support.random_conversations import asks


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("field", FIELDS)
def test_every_wire_declares_its_support_of_every_field(field: str, name: str) -> None:
    """Each field has a fate, and one that is emulated or dropped says why."""
    support = wire_named(name).SUPPORT[field]
    assert support.kind in ("kept", "mapped", "emulated", "dropped")
    assert support.note or support.kind in ("kept", "mapped")


@pytest.mark.parametrize("name", names())
def test_no_wire_speaks_of_a_field_that_is_none(name: str) -> None:
    """A fate under a name that is misspelt, or gone, is found."""
    assert set(wire_named(name).SUPPORT) == set(FIELDS)


def values() -> list[type]:
    """The values an ask is made of."""
    parts = typing.get_args(types.Part)
    return [ChatRequest, ChatMessage, *parts, Tool, HostedTool]


@pytest.mark.parametrize("value", values(), ids=lambda value: value.__name__)
def test_every_field_of_the_values_is_accounted_for(value: type) -> None:
    """A field added to a value without a row in the table is found here, and a row that speaks of none."""
    listed = {name for row in FIELDS.values() for name in (row.of.split() if row.type is None else [f"ChatRequest.{row.name}"])}
    here = {name for name in listed if name.startswith(f"{value.__name__}.")}
    assert {f"{value.__name__}.{field.name}" for field in dataclasses.fields(value)} == here


def test_what_changes_the_form_of_an_answer_are_fields() -> None:
    """The fields whose loss is refused are in the ledger."""
    assert set(FIELDS) >= FORM


def support_table(**kinds: Support) -> dict[str, Support]:
    return {name: kinds.get(name.replace(".", "_"), KEPT) for name in FIELDS}


def ask(**fields: Any) -> ChatRequest:
    return ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], **fields)


def test_only_what_is_used_is_lost() -> None:
    """A wire that drops seeds loses nothing of an ask without one."""
    table = support_table(seed=dropped("no such thing"))
    assert losses(ask(), table, "w", "v") == []
    assert losses(ask(seed=1), table, "w", "v") == [Loss("seed", "dropped", "no such thing")]


def test_a_zero_is_sent_too() -> None:
    """A temperature of 0 and a flag that is false are fields that are used."""
    table = support_table(temperature=dropped("x"), parallel_tool_calls=dropped("y"))
    lost = losses(ask(temperature=0.0, parallel_tool_calls=False), table, "w", "v")
    assert {loss.field for loss in lost} == {"temperature", "parallel_tool_calls"}


def test_a_field_is_lost_once_with_its_detail() -> None:
    """Of two images the first is named; the ledger counts fields and not their uses."""
    turns = [ChatMessage("user", [ImagePart(url="http://a"), ImagePart(url="http://b", detail="low")])]
    lost = losses(ChatRequest("m", turns), support_table(parts_image_url=dropped("blind")), "w", "v")
    assert [str(loss) for loss in lost] == ["parts.image.url is dropped: blind"]


def test_signatures_are_their_vendors() -> None:
    """The same opaque part is kept for its vendor and foreign to any other."""
    turns = [ChatMessage("assistant", [ReasoningPart("hm", Opaque("v", "sig"))])]
    assert ("parts.opaque", "v") in set(used(ChatRequest("m", turns), "w", "v"))
    assert ("parts.opaque.foreign", "v") in set(used(ChatRequest("m", turns), "w", "other"))


def test_extras_are_their_wires() -> None:
    """What only one wire knows is kept on it and foreign on another, wherever it stands."""
    known = ChatRequest("m", [ChatMessage("user", [TextPart("x", extra={"deep": 1})])], wire="w", extra={"top": 2})
    assert [name for name, _ in used(known, "w", "v")].count("extra") == 2
    assert {("extra.foreign", "deep"), ("extra.foreign", "top")} <= set(used(known, "other", "v"))


def test_what_its_field_does_not_name_is_named_itself() -> None:
    """Each field that another wire alone knows, each tool and each item, once and in order; as many as a line can hold."""
    turns = [ChatMessage("user", [TextPart("x", extra={"deep": 1, "top": 2})])]
    turns.append(
        ChatMessage(
            "assistant", [ReasoningPart("", Opaque("v", f'{{"type":"{kind}"}}')) for kind in ("a_call", "b2", "a_call")]
        )
    )
    known = ChatRequest("m", turns, [HostedTool("search", {}), HostedTool("shell", {})], wire="w", extra={"top": 2, "last": 3})
    table = support_table(extra_foreign=dropped("x"), tools_hosted_foreign=dropped("x"), parts_opaque_foreign=dropped("x"))
    assert {loss.field: loss.detail for loss in losses(known, table, "other", "o")} == {
        "extra.foreign": "deep, top last",
        "tools.hosted.foreign": "search shell",
        "parts.opaque.foreign": "a_call b2",
    }
    known.extra = {f"field{number}": number for number in range(1000)}
    known.messages += [ChatMessage("user", [TextPart("x", extra={f"part{number}": number})]) for number in range(1000)]
    (loss, *_) = losses(known, table, "other", "o")
    assert len(loss.detail) < 12_000


@pytest.mark.parametrize(
    ("name", "value", "reported"),
    [
        ("thinking", {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}, False),
        ("thinking", None, False),
        ("thinking", {"type": "auto"}, True),
        ("thinking", {"type": "enabled", "clear_thinking": False}, True),
        ("reasoning", {"effort": "max", "max_tokens": 9, "exclude": True, "enabled": True}, False),
        ("reasoning", {"effort": "low", "context": "all"}, True),
        ("reasoning", "low", True),
    ],
)
def test_thinking_without_a_common_name_is_reported(name: str, value: Any, reported: bool) -> None:
    """What is read as common words is no loss where its own object stays behind; a kind or a member that is not read is one."""
    request = ChatRequest("m", [], wire="w", extra={name: value})
    assert (("extra.foreign", name) in set(used(request, "other", "v"))) is reported


def test_a_system_turn_among_the_others_is_late() -> None:
    """Before the first other turn it is a system turn; after it the ledger has another word."""
    turns = [ChatMessage("system", []), ChatMessage("user", []), ChatMessage("system", []), ChatMessage("assistant", [])]
    fields = [name for name, _ in used(ChatRequest("m", turns), "w", "v")]
    assert {"messages.system", "messages.system.late", "messages.assistant.last"} <= set(fields)
    assert "messages.system.late" not in {name for name, _ in used(ChatRequest("m", turns[:2]), "w", "v")}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [Tool("f", strict=True)]}, "tools.strict"),
        ({"tools": [HostedTool("search", {})], "wire": "w"}, "tools.hosted"),
        ({"tools": [HostedTool("search", {})]}, "tools.hosted.foreign"),
        ({"tool_choice": ToolChoice("named", "f")}, "tool_choice.named"),
        ({"reasoning": Thinking(budget=0)}, "reasoning.budget"),
        ({"stop": ["x"]}, "stop"),
        ({"stream": True}, "stream"),
    ],
)
def test_fields_inside_others_are_seen(body: dict[str, Any], field: str) -> None:
    """Each has a line of its own in the ledger."""
    assert field in {name for name, _ in used(ask(**body), "w", "v")}


GONE = Loss("tools", "dropped", "no tools here")
SMALL = Loss("seed", "dropped", "no seeds here")
CLOSE = Loss("format.json", "emulated", "by asking for it")


@pytest.mark.parametrize(
    ("lost", "on_loss", "refused"),
    [
        ([GONE], None, "tools"),
        ([SMALL, GONE], None, "tools"),
        ([SMALL], "refuse", "seed"),
        ([CLOSE, SMALL], "refuse", "seed"),
    ],
)
def test_refusing_names_the_field_and_the_way_out(lost: list[Loss], on_loss: Any, refused: str) -> None:
    """Without a choice what changes the form is refused; with ``refuse`` all that is dropped; what is emulated never."""
    with pytest.raises(BadInput, match="on_loss") as caught:
        apply_loss_policy(lost, on_loss)
    assert caught.value.field == refused


@pytest.mark.parametrize(
    ("lost", "on_loss", "warned"),
    [
        ([SMALL, CLOSE], None, ["seed"]),
        ([GONE, SMALL, CLOSE], "warn", ["tools", "seed", "format.json"]),
        ([GONE, SMALL, CLOSE], "allow", []),
        ([CLOSE], "refuse", []),
    ],
)
def test_warning_is_by_choice(lost: list[Loss], on_loss: Any, warned: list[str]) -> None:
    """What is dropped is warned of; what is emulated only for those who want to hear everything; ``allow`` is silent."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        apply_loss_policy(lost, on_loss)
    assert [str(one.message).partition(" ")[0] for one in caught] == warned
    assert all(one.category is LossWarning for one in caught)


def test_emulated_fates_need_a_reason() -> None:
    """The makers of fates keep the reason."""
    assert (emulated("so").note, dropped("so").kind) == ("so", "dropped")


@pytest.mark.parametrize("name", names())
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_plain_ask_is_looked_through_as_any_other(name: str, data: st.DataObject) -> None:
    """The short way for asks of words alone finds what the long way finds."""
    support_table = wire_named(name).SUPPORT
    ask = data.draw(asks() | asks().map(words_alone))
    slow = {field for field, _ in used(ask, name, "openai") if support_table[field].kind in ("dropped", "emulated")}
    assert {loss.field for loss in losses(ask, support_table, name, "openai")} == slow


def words_alone(ask: ChatRequest) -> ChatRequest:
    """The ask with nothing but its text in its turns, some of them late, last or empty."""
    turns = [ChatMessage(turn.role, [part for part in turn.parts if isinstance(part, TextPart)]) for turn in ask.messages]
    ask.messages = [turn for turn in turns if turn.role != "tool"]
    ask.tools, ask.tool_choice, ask.format, ask.reasoning = [], None, None, None
    if len(ask.messages) % 2:
        ask.messages.append(ChatMessage("assistant" if ask.top_k else "system", [TextPart("late")]))
    return ask
