"""What a compiled build adds to a wheel runs as its sources do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from polychat.version import is_compiled

ROOT = Path(__file__).parents[1]
HOOKS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
MODULES: list[str] = HOOKS["custom"]["modules"]
TELLING = (
    "tests/test_version.py",
    "tests/backends/test_ready.py",
    "tests/gateway/chat/test_fast_path.py",
    "tests/gateway/chat/test_pushing.py",
    "tests/gateway/chat/test_requests_in_pieces.py",
    "tests/gateway/test_admin.py",
    "tests/gateway/test_renewed_keys.py",
    "tests/http/pool",
    "tests/http/server/test_known_head.py",
    "tests/routing/test_order.py",
    "tests/wire/openai_chat/test_passthrough.py",
)
"""Tests that run all listed modules; ``make test-compiled`` runs the others too."""
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
HEADERS = Path(sysconfig.get_path("include"), "Python.h")


@pytest.mark.skipif(is_compiled(), reason="it is this build that runs")
@pytest.mark.skipif(not shutil.which(COMPILER), reason=f"there is no {COMPILER}: apt-get install gcc")
@pytest.mark.skipif(not HEADERS.exists(), reason=f"there is no {HEADERS}: apt-get install python3-dev")
def test_the_compiled_modules_pass_the_same_tests(tmp_path: Path) -> None:
    """They are built without optimization, as that is quick, and kept under ``build/`` until one of them changes."""
    place = tmp_path / "compiled"
    shutil.copytree(ROOT / "src", place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(extension_modules(), place, dirs_exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TELLING],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout[-8000:] + tested.stderr[-2000:]


def extension_modules() -> Path:
    """The folder of those that belong to the sources as they are."""
    files = [ROOT / "hatch_build.py", *(ROOT / "src" / name for name in MODULES)]
    made_of = sha256(repr((sys.version, version("mypy"), COMPILER, MODULES)).encode())
    for file in files:
        made_of.update(file.read_bytes())
    home = ROOT / "build" / "tested"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"):
        found = home / made_of.hexdigest()[:16]
        if not found.exists():
            for old in home.glob("*/"):
                shutil.rmtree(old)
            folder = home / "unfinished"
            folder.mkdir()
            command, level = [sys.executable, str(ROOT / "hatch_build.py"), str(folder)], {"MYPYC_OPT_LEVEL": "0"}
            made = subprocess.run(command, env={**os.environ, **level}, capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
            (folder / "built").rename(found)
            shutil.rmtree(folder)
    return found
