"""The libraries polychat is measured beside, in an environment of their own, so that they are never among ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERS = Path(os.environ.get("BENCHMARK_PEERS") or HERE / ".peers")
HOME = PEERS / "clients"
PYTHON = HOME / "bin" / "python"
WANTED = HERE / "peers.txt"
READY = HOME / "ready.txt"


def python() -> Path | None:
    """The Python that has the peers, installed if need be; ``None``, and a word on stderr, where they cannot be had."""
    wanted = WANTED.read_text(encoding="utf-8")
    if READY.exists() and READY.read_text(encoding="utf-8") == wanted:
        return PYTHON
    print("Installing what polychat is measured beside into benchmarks/.peers/clients …", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", HOME], check=True)
        subprocess.run(_install(), check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The peers cannot be installed ({error}); their rows are left out.", file=sys.stderr)
        return None
    READY.write_text(wanted, encoding="utf-8")
    return PYTHON


def _install() -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(PYTHON), "-r", str(WANTED)]
    # The pip that the lock gave us installs for another environment too: it needs none of its own.
    return [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(PYTHON),
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
        str(WANTED),
    ]
