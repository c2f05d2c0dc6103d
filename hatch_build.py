"""Wheels whose modules on the way of a request are compiled: ``HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 hatchling build -t wheel``.

``python hatch_build.py FOLDER`` makes just the extension modules, below ``FOLDER/built``.

``pyproject.toml`` lists the modules. mypyc makes an extension module of each, from the same sources, which the wheel has too:
without the extension modules they are what runs.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tomllib
from contextlib import chdir
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledModules(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own configuration
    """Puts extension modules into a wheel, which is then for one platform and one version of Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # it runs the sources
        self._folder = Path(mkdtemp(prefix="polychat-compiled-"))
        for built in compiled(Path(self.root), self.config["modules"], self._folder):
            build_data["force_include"][str(built)] = str(built.relative_to(self._folder / "built"))
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            shutil.rmtree(self._folder)


def compiled(root: Path, modules: list[str], folder: Path) -> list[Path]:
    """The extension modules of these files of ``src``, below ``folder/built``. Raises ``RuntimeError`` without a compiler."""
    if missing := missing_to_compile():
        raise RuntimeError(
            f"Compiled modules need a C compiler and Python's headers, and there is no {missing}: on Debian, apt install gcc "
            "python3-dev. Without HATCH_BUILD_HOOK_ENABLE_CUSTOM polychat is installed as plain Python."
        )
    from mypyc.build import mypycify  # both come with this hook's dependencies
    from setuptools import Distribution

    shutil.copytree(root / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--config-file", str(root / "pyproject.toml"), f"--python-executable={sys.executable}"]
    with chdir(folder / "src"):
        extensions = mypycify([*options, *modules], group_name="polychat", opt_level=os.environ.get("MYPYC_OPT_LEVEL", "3"))
        for extension in extensions:
            extension.include_dirs.insert(0, str(mended(folder / "runtime")))
            # Nobody reads warnings of generated C: mypyc makes errors of those of a newer gcc, and to look for misleading
            # indentation, which -Wall asks for and -w does not stop, takes gcc four fifths of its time.
            extension.extra_compile_args += ["-w", "-Wno-misleading-indentation"]
        build = Distribution({"name": "polychat", "ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib, build.build_temp = str(folder / "built"), str(folder / "temporary")
        build.ensure_finalized()
        build.run()
    return [file for file in (folder / "built").rglob("*") if file.is_file()]


def missing_to_compile() -> str:
    """The compiler or the header that is not on this machine, if one is: found before mypyc has worked for minutes."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "").split()[:1]  # on Windows there is no variable
    header = Path(sysconfig.get_path("include"), "Python.h")
    return next((name for name in compiler if not shutil.which(name)), "" if header.exists() else str(header))


MENDS = (
    ("bytes_ops.c", "endn = Clamp(endn, 0, len);", "endn = Clamp(endn, startn, len);"),
    (
        "misc_ops.c",
        "PyObject_CallFunctionObjArgs(_m, type, value, traceback, NULL)",
        "PyObject_CallFunctionObjArgs(_m, value, NULL)",
    ),
)
"""Of the runtime of mypyc 2.4.1: a slice of bytes that ends before it begins raises ``SystemError``, where it is empty in
Python, and an exception is thrown into what a coroutine awaits in a way that is deprecated since 3.12.
"""

CACHES = Path(__file__).resolve().parent / "inline_caches.h"
"""What makes attributes, methods and globals that are not compiled as fast in compiled code as in the interpreter."""


def mended(folder: Path) -> Path:
    """``folder``, with those files of mypyc's runtime that ``MENDS`` changes, and ``CACHES`` at its end.

    Raises ``RuntimeError`` if a file is not the one that is known: with the fault in it, some replies would be read wrongly.
    """
    from mypy.version import __version__ as found
    from mypyc.common import RUNTIME_C_FILES
    from mypyc.common import __file__ as place

    folder.mkdir(exist_ok=True)
    runtime = Path(place).parent / "lib-rt"
    for name, before, after in MENDS:
        source = (runtime / name).read_text(encoding="utf-8")
        if source.count(before) != 1:
            raise RuntimeError(
                f"mypy {found} has a {name} that is not known here: install the mypy that pyproject.toml names for this build, "
                "or bring MENDS in hatch_build.py up to date"
            )
        (folder / name).write_text(source.replace(before, after), encoding="utf-8")
    shutil.copy(CACHES, folder)
    last = folder / RUNTIME_C_FILES[-1]  # what follows it is the code of the modules
    source = (runtime / last.name).read_text(encoding="utf-8")
    last.write_text(f'{source}\n#include "{CACHES.name}"\n', encoding="utf-8")
    return folder


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    hooks = tomllib.loads((here / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    compiled(here, hooks["custom"]["modules"], Path(sys.argv[1]).resolve())
