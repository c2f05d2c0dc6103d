"""``python -m benchmarks.builds [PYTHON]``: a wheel in ``dist/`` with the compiled modules, for this Python or for that one.

It is unpacked too, for ``PYTHONPATH``: below ``build/compiled``, or in the environment that the measurements have of another
Python. A build belongs to the sources and to the Python that it was made of: two of one version differ in how they were built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from .interpreters import HOME, ROOT, run_on

PLACE = Path(sys.prefix, "compiled") if Path(sys.prefix).is_relative_to(HOME) else ROOT / "build" / "compiled"
"""Where the wheel of the Python that runs this is unpacked."""
MADE_BY = "python.txt"
"""The file of it that says which Python that was."""


def is_current() -> bool:
    """Whether ``PLACE`` has a build of the sources as they are, made by this Python."""
    made_by = PLACE / MADE_BY
    if not made_by.exists() or made_by.read_text(encoding="utf-8") != sys.version:
        return False
    sources = ROOT / "src"
    return _files(sources) == _files(PLACE)


def _files(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in (folder / "polychat").rglob("*.py")}


def build() -> None:
    """Make the wheel, and unpack it. Raises ``CalledProcessError``."""
    environment = {**os.environ, "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1"}
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        built = subprocess.run(command, cwd=ROOT, env=environment, **output, check=False)
        if built.returncode:
            print(built.stdout, file=sys.stderr)
        built.check_returncode()
        (wheel,) = Path(folder).iterdir()
        shutil.rmtree(PLACE, ignore_errors=True)
        with ZipFile(wheel) as archive:
            archive.extractall(PLACE)
        (ROOT / "dist").mkdir(exist_ok=True)
        print(shutil.copy(wheel, ROOT / "dist"), file=sys.stderr)
    (PLACE / MADE_BY).write_text(sys.version, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        run_on(sys.argv[1], "benchmarks.builds", [])
    build()
