"""Tests that only a build of plain Python can run."""

from __future__ import annotations

import pytest

from polychat.version import is_compiled

replaces_compiled = pytest.mark.skipif(
    is_compiled(), reason="replaces, or derives from, what is inside a compiled module: make test without PYTHONPATH runs it"
)
