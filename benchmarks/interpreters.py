"""Environments for other interpreters than the one of ``.venv``: how fast Python is depends on how it was built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .peers import PEERS

ROOT = Path(__file__).parent.parent
HOME = (PEERS / "pythons").resolve()
LOCK = ROOT / "requirements" / "dev.txt"


def run_on(interpreter: str, module: str, arguments: list[str]) -> None:
    """Replace this process by ``python -m module`` on another interpreter, with the locked packages in a place of its own.

    Raises ``CalledProcessError`` if they cannot be installed there.
    """
    asked = "import sys; print(sys.implementation.cache_tag, sys.version.split()[0], hash(sys.base_prefix) % 10**6, sep='-')"
    name = subprocess.run(
        [interpreter, "-c", asked], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "0"}
    ).stdout.strip()
    home = HOME / name
    python, ready = home / "bin" / "python", home / "ready.txt"
    lock = LOCK.read_text(encoding="utf-8")
    if not (ready.exists() and ready.read_text(encoding="utf-8") == lock):
        print(f"Installing the locked packages for {interpreter} into benchmarks/.peers/pythons …", file=sys.stderr)
        _install(interpreter, home, python)
        ready.write_text(lock, encoding="utf-8")
    os.execv(python, [str(python), "-m", module, *arguments])


def _install(interpreter: str, home: Path, python: Path) -> None:
    packages = ["-r", str(LOCK)], ["--no-deps", "--editable", str(ROOT)]
    subprocess.run([interpreter, "-m", "venv", "--clear", "--without-pip", home], check=True)
    for each in packages:
        if uv := shutil.which("uv"):
            command = [uv, "pip", "install", "--quiet", "--python", str(python), *each]
        else:
            command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *each]
        subprocess.run(command, check=True)
