"""Every kind of fault has a word in every table, and every error a line of advice."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import get_args

import pytest

from polychat import errors
from polychat.gateway.paths import DIALECTS
from polychat.routing.policy import CONSEQUENCES, attribution_of
from polychat.wire.contract import names, wire_named
from polychat.wire.faults import STATUS, Fault

KINDS = get_args(errors.FaultKind)
ADVICE = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "reference.py"))["ADVICE"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_has_every_kind(kind: errors.FaultKind) -> None:
    """A status, a consequence for routing, and an error of each wire and each dialect."""
    error = errors.BackendError("it failed")
    error.kind = kind
    assert CONSEQUENCES[attribution_of(error)]
    fault = Fault("it failed", kind, STATUS[kind])
    assert all(json.loads(wire_named(name).write_fault(fault)) for name in names())
    assert all(dialect.refusal(fault)[0] >= 400 for dialect in DIALECTS.values())
    assert {*STATUS} == {*KINDS}


def test_every_error_has_advice() -> None:
    """The page of errors says what to do about each class, and about no other."""
    classes = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.PolychatError)}
    assert {one.__name__ for one in classes} == {one.__name__ for one in ADVICE}
