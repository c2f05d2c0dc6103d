"""Objects of which any member may be missing, for tests of replies that nearly have a form."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MISSING = object()
"""What a member's strategy draws where the object is to lack it."""


def objects(**members: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these members, each of which may be missing."""
    return st.fixed_dictionaries(members).map(
        lambda value: {name: member for name, member in value.items() if member is not MISSING}
    )
