"""What tests say of a compiled build: those that only plain Python can run, and those that need a compiler."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from polychat.version import is_compiled

replaces_compiled = pytest.mark.skipif(
    is_compiled(), reason="replaces, or derives from, what is inside a compiled module: make test without PYTHONPATH runs it"
)
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
HEADERS = Path(sysconfig.get_path("include"), "Python.h")


def needs_compiler(test: Callable[..., None]) -> Callable[..., None]:
    for missing, reason in (
        (not shutil.which(COMPILER), f"there is no {COMPILER}: apt-get install gcc"),
        (not HEADERS.exists(), f"there is no {HEADERS}: apt-get install python3-dev"),
    ):
        test = pytest.mark.skipif(missing, reason=reason)(test)
    return test
