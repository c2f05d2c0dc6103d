"""What is mistyped on the command line gets the nearest word there is."""

from __future__ import annotations

import argparse

import pytest

from polychat.cli.arguments import parsed, parser


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("log delet", "polychat log: error: argument ACTION: there is no 'delet'; did you mean delete? (there are: list,"),
        ("gateway keys lst", "polychat gateway keys: error: argument STEP: there is no 'lst'; did you mean list?"),
        ("ask hi --modle x", "polychat ask: error: there is no option '--modle'; did you mean --model?"),
        ("gateway keys list --jsno=x", "polychat gateway keys list: error: there is no option '--jsno'; did you mean --json?"),
        ("log zzzz", "argument ACTION: there is no 'zzzz' (there are: list,"),
        ("keys list extra", "polychat keys list: error: there is no argument 'extra'\n"),
        ("log --limt 3", "polychat log: error: there is no option '--limt'; did you mean --limit?\n"),
        ("log --zzzz 3", "polychat log: error: there is no option '--zzzz'\n"),
        ("log --limit 3 zzzz", "argument ACTION: there is no 'zzzz' (there are: list,"),
        ("ask -Q hi", "polychat ask: error: there is no option '-Q'\n"),
    ],
)
def test_the_error_names_the_command_and_the_nearest_word(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no word is near, what there is."""
    with pytest.raises(SystemExit, match="2"):
        parsed(words.split())
    assert says in capsys.readouterr().err


def test_every_subcommand_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Its last letter is missing: it is named."""
    tried = 0
    stack: list[tuple[argparse.ArgumentParser, list[str]]] = [(parser(), [])]
    while stack:
        command, words = stack.pop()
        for action in command._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    stack.append((inner, [*words, name]))
                    if words and len(name) > 2 and name[:-1] not in action.choices:
                        tried += 1
                        with pytest.raises(SystemExit, match="2"):
                            parsed([*words, name[:-1]])
                        assert f"did you mean {name}?" in capsys.readouterr().err
    assert tried > 10
