"""The gateways polychat is measured beside, installed in a place of their own below ``benchmarks/.peers``."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache

from ..peers import PEERS

HOME = PEERS / "gateways"
PROGRAMS = HOME / "bin"
PORTKEY = HOME / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
READY = HOME / "ready.txt"
FROM_PYPI = {"litellm[proxy]": "1.106.2", "g4f[api]": "8.8.6", "smg": "1.13.0", "tensorzero": "2026.6.0"}
FROM_NPM = {"@portkey-ai/gateway": "1.15.2"}
OVERRIDES = {"@hono/node-server": "1.13.8"}
"""With the newest that it allows, Portkey answers every stream with a 500: it writes headers that became immutable."""
PINS = {**FROM_PYPI, **FROM_NPM, **OVERRIDES}
"""The version of each package."""
_WANTED = json.dumps([FROM_PYPI, FROM_NPM, OVERRIDES])


@cache
def ready() -> bool:
    """Whether they are there, installed if need be; a word on stderr where they cannot be had."""
    if READY.exists() and READY.read_text(encoding="utf-8") == _WANTED:
        return True
    print("Installing the gateways that polychat's is measured beside into benchmarks/.peers/gateways …", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)
        pins = [f"{name}=={version}" for name, version in FROM_PYPI.items()]
        subprocess.run([*_installer(), *pins], check=True)
        if npm := shutil.which("npm"):
            package = {"private": True, "dependencies": FROM_NPM, "overrides": OVERRIDES}
            (HOME / "package.json").write_text(json.dumps(package), encoding="utf-8")
            subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund"], cwd=HOME, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"They cannot be installed ({error}); their rows are left out.", file=sys.stderr)
        return False
    READY.write_text(_WANTED, encoding="utf-8")
    return True


def _installer() -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(PROGRAMS / "python")]
    return [str(PROGRAMS / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
