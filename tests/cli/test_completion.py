"""Completion of command lines: from the parser itself, and in the shells as a person has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import SUPPRESS, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from polychat.cli.arguments import parser
from polychat.cli.completion import FILES, SCRIPTS, candidates

from ..support.command import run
from ..support.terminal import in_terminal

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def lines(of: ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ArgumentParser]]:
    """Each command and action, with the words that lead to it."""
    yield words, of
    for action in of._actions:
        if isinstance(action, _SubParsersAction):
            for name, inner in action.choices.items():
                yield from lines(inner, (*words, name))


def values(*words: str) -> list[str] | None:
    offered = candidates(words)
    return None if offered is None else [candidate.value for candidate in offered]


def test_each_command_and_option_is_offered() -> None:
    """All that the parser knows, by the longest name of an option, and after its first letters too."""
    for words, of in lines(parser()):
        named = [action for action in of._actions if action.option_strings and action.help not in (None, SUPPRESS)]
        assert set(values(*words, "-") or ()) == {max(action.option_strings, key=len) for action in named}, words
        for action in of._actions:
            if isinstance(action, _SubParsersAction):
                assert values(*words, "") == list(action.choices)
    assert values("pro") == ["providers", "probe"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sites", "--era", ""), ["1.9", "2.0", "2.4"]),
        (("sites", "--era=2"), ["--era=2.0", "--era=2.4"]),
        (("sites", "--echo", "--po"), ["--port"]),
        (("ask", "-m", "a/b", "--no"), ["--no-log", "--no-stream"]),
        (("ask", "--", "--no"), []),
        (("bench", "local/"), ["local/smollm2"]),
        (("models", "openai-r"), ["openai-responses"]),
        (("serve", "--config", ""), None),
        (("explain", "--dry-run", ""), None),
        (("no-command", "--mo"), []),
    ],
)
def test_values_by_their_place(words: tuple[str, ...], offered: list[str] | None) -> None:
    """Choices, names of the configuration and files, for an option's value in either form and for positional arguments."""
    assert values(*words) == offered


def test_names_of_the_configuration_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Routes and aliases; a file that is invalid offers none, and raises nothing."""
    file = tmp_path / "polychat" / "polychat.toml"
    file.parent.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file.write_text('[routes.house]\ntargets = ["local/smollm2"]\n[aliases]\nhome = "local/smollm2"\n')
    assert values("bench", "ho") == ["house", "home"]
    file.write_text("[routes.house]\ntargets = 7\n")
    assert values("bench", "ho") == []


async def test_what_is_printed_for_a_shell() -> None:
    """Values for bash, without what it takes for a word of its own; values and what they are for the others."""
    assert (await run("completion", "bash", "--complete", "polychat sites --era=2")).out == "2.0\n2.4\n"
    assert (await run("completion", "fish", "--complete", "bench", "local/")).out == "local/smollm2\t\n"
    assert (await run("completion", "zsh", "--complete", "pro")).out.startswith("providers\tlist the providers")
    assert (await run("completion", "zsh", "--complete", "explain", "")).out == f"{FILES}\n"
    printed = await run("completion", "zsh")
    assert (printed.code, printed.out.strip(), printed.err) == (0, SCRIPTS["zsh"].strip(), "")


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here: apt-get install {name}")
    return path


def printed(interpreter: str, script: str, environment: dict[str, str]) -> list[str]:
    done = subprocess.run([interpreter, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_bash_completes() -> None:
    """Its own variables in, its own array out."""
    script = """
        source <(polychat completion bash 2>/dev/null)
        for line in "polychat pro" "polychat ask --no-s" "polychat ask 'unfinished"; do
            COMP_LINE=$line COMP_POINT=${#line}; _polychat; echo "${COMPREPLY[*]}"
        done
    """
    assert printed(shell("bash"), script, {"PATH": PATH}) == ["providers probe", "--no-stream", ""]


def test_fish_completes(tmp_path: Path) -> None:
    """With what each candidate is; files where a file is to be named."""
    (tmp_path / "request.json").touch()
    complete = f"complete -C 'polychat pro'; complete -C 'polychat explain {tmp_path}/'"
    script = f"polychat completion fish 2>/dev/null | source; {complete}"
    offered = printed(shell("fish"), script, {"PATH": PATH, "HOME": str(tmp_path)})
    assert [line.partition("\t")[0] for line in offered[:2]] == ["probe", "providers"]
    assert offered[-1].endswith("request.json")


async def test_zsh_completes(tmp_path: Path) -> None:
    """In a terminal, as its completion works nowhere else: the only option that fits is written out."""
    environment = {"PATH": PATH, "HOME": str(tmp_path), "TERM": "xterm"}
    async with in_terminal(shell("zsh"), "-f", "-i", env=environment) as terminal:
        terminal.press(b"autoload -Uz compinit; compinit -u -D; source <(polychat completion zsh 2>/dev/null); echo re''ady\n")
        await terminal.shows(b"ready\r")
        terminal.press(b"polychat ask --no-s\t")
        await terminal.shows(b"tream")  # what it adds
