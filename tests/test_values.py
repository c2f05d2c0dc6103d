"""Values are dataclasses for those who ask, though compiled code makes them."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from polychat import events, types
from polychat.values import Value

KINDS = [kind for room in (events, types) for kind in vars(room).values() if isinstance(kind, type) and issubclass(kind, Value)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Value])
def test_dataclasses_treat_values_as_their_own(kind: type[Value]) -> None:
    """Fields, defaults, ``replace`` and ``asdict`` are as if ``@dataclass`` had made the class; so are copies and pickles."""
    described = dataclasses.fields(kind)
    assert [field.name for field in described] == list(kind.__struct_fields__)
    required = [field.name for field in described if field.default is field.default_factory]
    value = kind(*required)
    assert list(dataclasses.asdict(value)) == list(kind.__struct_fields__)
    again = dataclasses.replace(value)
    assert again == value == copy.deepcopy(value) == pickle.loads(pickle.dumps(value))
    assert again is not value
    for field in described:
        if field.default_factory is not dataclasses.MISSING:
            assert getattr(again, field.name) == field.default_factory()
        elif field.default is not dataclasses.MISSING:
            assert getattr(again, field.name) == field.default
