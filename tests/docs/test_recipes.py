"""The recipes for the shell: each is run as it stands, against a scripted backend."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polychat.events import Event, Finish, Text
from polychat.types import ChatRequest

from ..support.mcp_servers import raw_command
from ..support.scripted_vendors import ScriptedVendor

PAGE = (Path(__file__).parent.parent.parent / "docs/recipes.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"(?m)^```sh\n((?:.*\n)*?)```$", PAGE)
VALUES = {"string": '"x"', "integer": "1", "boolean": "true", "array": "[]"}


def answer(request: ChatRequest) -> list[list[Event]]:
    """What the schema asks for, or a text with a code block."""
    text = "Here:\n```python\npass\n```\n"
    if request.format is not None and request.format.schema is not None:
        members = request.format.schema["properties"].items()
        text = "{" + ", ".join(f'"{name}": {VALUES[schema["type"]]}' for name, schema in members) + "}"
    return [[Text(text)], [Finish("complete", "stop")]]


@pytest.mark.skipif(not shutil.which("bash") or not shutil.which("git"), reason="bash or git is not installed")
@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.partition("\n")[0][:40] for recipe in RECIPES])
async def test_a_recipe_works_as_it_stands(recipe: str, serve: Any, tmp_path: Path) -> None:
    """Each line ends well, asks the backend what it says, and writes what it is to write; nothing is complained about."""
    vendor = ScriptedVendor("openai-chat", answer)
    url = (await serve(vendor)).url
    work, bin_ = tmp_path / "work", tmp_path / "bin"
    (work / "src").mkdir(parents=True)
    bin_.mkdir()
    (bin_ / "polychat").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m polychat "$@"\n')
    (bin_ / "polychat").chmod(0o755)
    for name in ("error.log", "letter.txt", "README.md", "src/a.py"):
        (work / name).write_text(f"{name}\n")
    (work / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (work / "days.py").write_text("def weekday(day: str) -> str:\n    return day\n")
    (work / "notes.py").write_text(shlex.split(raw_command("none", "pass"))[-1])
    subprocess.run("git init -q . && git add -A && echo more >> src/a.py", shell=True, cwd=work, check=True)
    homes = {name: str(tmp_path / name) for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME")}
    environment = {"PATH": f"{bin_}:{os.environ['PATH']}", "POLYCHAT_MODEL": "openai/m", **homes}
    environment |= {"OPENAI_API_KEY": "k-secret", "OPENAI_BASE_URL": f"{url}/v1"}
    bash = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-o", "pipefail", "-c", recipe),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=work,
        env={**os.environ, **environment, "PYTHONWARNINGS": ""},
    )
    async with asyncio.timeout(120):
        out, errors = await bash.communicate()
    assert bash.returncode == 0, errors.decode()
    assert not re.search("error|warning|Traceback", errors.decode())
    assert vendor.asks
    for name in re.findall(r" > (\S+)", recipe):
        assert (work / name).read_text().strip()
    assert out or " > " in recipe


def test_there_are_as_many_recipes_as_the_page_needs() -> None:
    """A change of the page's form does not leave them unread."""
    assert len(RECIPES) >= 20
