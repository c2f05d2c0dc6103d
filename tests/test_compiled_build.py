"""What a compiled build adds to a wheel runs as its sources do, and pip installs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import hatch_build
import pytest
from benchmarks import builds
from filelock import FileLock

from polychat.version import is_compiled
from tests.support.compiled import COMPILER, needs_compiler

ROOT = Path(__file__).parents[1]
HOOKS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
MODULES: list[str] = HOOKS["custom"]["modules"]
TELLING = (
    "tests/test_version.py",
    "tests/backends/test_ready.py",
    "tests/client/test_beginning.py",
    "tests/client/test_direct.py",
    "tests/gateway/admission/test_admission.py",
    "tests/gateway/chat/test_fast_path.py",
    "tests/gateway/chat/test_pushing.py",
    "tests/gateway/chat/test_requests_in_pieces.py",
    "tests/gateway/test_admin.py",
    "tests/gateway/test_renewed_keys.py",
    "tests/http/pool",
    "tests/http/server/test_known_head.py",
    "tests/http/test_exchange_timer.py",
    "tests/http/test_timeouts.py",
    "tests/routing/test_order.py",
    "tests/wire/openai_chat/test_passthrough.py",
    "tests/wire/test_usual_requests.py",
)
"""Tests that run all listed modules; ``make test-compiled`` runs the others too."""


@pytest.mark.long
@pytest.mark.skipif(is_compiled(), reason="it is this build that runs")
@needs_compiler
def test_the_compiled_modules_pass_the_same_tests(tmp_path: Path) -> None:
    """They are built without optimization, as that is quick, and kept under ``build/`` until one of them changes."""
    place = unpacked(tmp_path)
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


@pytest.mark.long
@pytest.mark.skipif(is_compiled(), reason="it is this build that runs")
@needs_compiler
def test_recorded_replies_are_read_as_by_the_sources(tmp_path: Path) -> None:
    """Vendors' recorded replies give the same events, at every split, cut off, and with a byte that is another."""
    command = (sys.executable, "-m", "tests.support.recorded_events")
    environment = {**os.environ, "PYTHONPATH": str(unpacked(tmp_path))}
    read, read_by_sources = (
        subprocess.run(
            command, cwd=ROOT, env={**environment, "POLYCHAT_PURE": pure}, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()
        for pure in ("", "1")
    )
    assert (read[0], read_by_sources[0]) == ("compiled", "pure Python")
    assert len(read) > 40
    assert read[1:] == read_by_sources[1:]


def unpacked(folder: Path) -> Path:
    """Where the sources are with the extension modules of them."""
    place = folder / "compiled"
    shutil.copytree(ROOT / "src", place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(extension_modules(), place, dirs_exist_ok=True)
    return place


def extension_modules() -> Path:
    """The folder of those that belong to the sources as they are."""
    files = [ROOT / "hatch_build.py", hatch_build.CACHES, *(ROOT / "src" / name for name in MODULES)]
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


@needs_compiler
def test_pip_installs_a_compiled_build(tmp_path: Path) -> None:
    """As the documents say, in a new environment: it is compiled, and ``POLYCHAT_PURE`` runs the sources of this installation.

    The list is cut to one module, and what that imports is not looked at: the whole takes a minute. A compiler that warns of
    the C code does not fail the build.
    """
    checkout = project(tmp_path)
    settings = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    short = re.sub(r"(?s)\nmodules = \[.*?\n\]", '\nmodules = ["polychat/costs.py"]', settings)
    short = short.replace("\n[tool.mypy]\nstrict = true\n", '\n[tool.mypy]\nfollow_imports = "skip"\n')
    assert "follow_imports" in short
    assert MODULES[0] not in short
    (checkout / "pyproject.toml").write_text(short, encoding="utf-8")
    polychat = installed(checkout, tmp_path, HATCH_BUILD_HOOK_ENABLE_CUSTOM="1", MYPYC_OPT_LEVEL="0", CFLAGS="-Wextra")
    assert answer(polychat, "--version").endswith(", compiled\n")
    assert answer(polychat, "--version", POLYCHAT_PURE="1").endswith(", pure Python\n")


def test_without_a_compiler_the_error_says_so(tmp_path: Path) -> None:
    """And how to go on, before minutes of work."""
    with pytest.raises(AssertionError, match=r"there is no /no/compiler: .*apt install gcc.* plain Python"):
        installed(project(tmp_path), tmp_path, HATCH_BUILD_HOOK_ENABLE_CUSTOM="1", CC="/no/compiler -O2")


def test_pip_installs_plain_python(tmp_path: Path) -> None:
    """Without the variable: in a new environment, without a compiler."""
    polychat = installed(project(tmp_path), tmp_path, CC="false")
    assert answer(polychat, "--version").endswith(", pure Python\n")


def test_a_mypyc_that_is_not_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime may have the faults that are mended, in other words; the error names the mypy that is installed."""
    hatch_build.mended(tmp_path)
    monkeypatch.setattr(hatch_build, "MENDS", (("misc_ops.c", "a line that it does not have", ""),))
    with pytest.raises(RuntimeError, match=f"mypy {re.escape(version('mypy'))} has a misc_ops.c that is not known"):
        hatch_build.mended(tmp_path)


def test_a_build_takes_the_mypy_that_is_known() -> None:
    """pip builds in an environment of its own, where it would take the newest; the tests run with the locked one."""
    (locked,) = re.findall(r"(?m)^mypy==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    assert f"mypy=={locked}" in HOOKS["custom"]["dependencies"]


def test_a_build_is_measured_by_the_python_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of the sources as they are: those of another Python, or of other sources, are built anew."""
    place = tmp_path / "compiled"
    monkeypatch.setattr(builds, "PLACE", place)
    assert not builds.is_current()
    shutil.copytree(ROOT / "src", place, ignore=shutil.ignore_patterns("__pycache__"))
    assert not builds.is_current()
    (place / builds.MADE_BY).write_text(sys.version, encoding="utf-8")
    assert builds.is_current()
    (place / builds.MADE_BY).write_text(sys.version + " of another build", encoding="utf-8")
    assert not builds.is_current()
    (place / builds.MADE_BY).write_text(sys.version, encoding="utf-8")
    (place / "polychat" / "costs.py").write_text("", encoding="utf-8")
    assert not builds.is_current()


def project(folder: Path) -> Path:
    """A checkout's files that an installation needs, in a folder of their own."""
    checkout = folder / "checkout"
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py", "inline_caches.h", "docs/polychat.1"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    return checkout


def installed(checkout: Path, folder: Path, **variables: str) -> Path:
    """The command, installed into a new environment, which finds the dependencies in that of the tests."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--ignore-installed"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    answer(*pip, *offline, str(checkout), **variables)
    return python.with_name("polychat")


def answer(*command: str | Path, **variables: str) -> str:
    """What the command prints, run outside of the checkout with the tests' Python path away."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "POLYCHAT_PURE"}}
    ran = subprocess.run(command, cwd="/", env={**environment, **variables}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    return ran.stdout
