"""``polychat ask -e``: a shell command is proposed, shown, and run when the person confirms."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess

from ..errors import BadReply
from . import ANSWERED, FAILED, complain
from .code_blocks import first_block
from .printing import code_of, failure_line, read_whole
from .question import Question, recorded
from .terminal import TERMINAL_INPUT, confirmed


def propose(question: Question) -> int:
    """The exit code is that of the command if it was run, 0 if it was declined, 1 if there is no terminal to confirm it on."""
    question = question.with_system(_instructions())
    reply = question.stream()
    with recorded(question, reply):
        whole, failure = asyncio.run(read_whole(reply))
    if failure is not None:
        complain(failure_line(failure, question.targets))
        return code_of(failure)
    command = _command_in(whole.text)
    print(command, flush=True)
    answer = confirmed("Run it?")
    if answer is None:
        complain("not run: there is no terminal to confirm it on", "note")
        return FAILED
    return _run(command) if answer else ANSWERED


def _instructions() -> str:
    return (
        f"Answer with one command for {os.path.basename(_shell()[0])} on {platform.system()} that does what the user asks. "
        "Write only the command: no explanation, no Markdown. Join several steps with && or ;."
    )


def _command_in(text: str) -> str:
    """The command of a reply. Raises ``BadReply`` for one that a terminal would not show as it is."""
    block = first_block(text)
    command = (text if block is None else block).strip()
    if not command:
        raise BadReply("the reply has no command")
    # Control characters, and letters that change the direction of others or have no width, would hide what is run.
    if not all(letter.isprintable() or letter in "\n\t" for letter in command):
        raise BadReply("the command has characters that a terminal does not show: it is not run")
    return command


def _shell() -> list[str]:
    if os.name == "posix":
        return [os.environ.get("SHELL") or "/bin/sh", "-c"]
    return [os.environ.get("COMSPEC") or "cmd.exe", "/c"]


def _run(command: str) -> int:
    """The exit code of the command. The terminal is its input, also where ours is a pipe."""
    try:
        with open(TERMINAL_INPUT, "rb") as keys:
            done = subprocess.run([*_shell(), command], stdin=keys, check=False)  # noqa: S603  # it was shown and confirmed
    except OSError as error:
        complain(f"the shell cannot be run: {error.filename}: {error.strerror}")
        return FAILED
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
