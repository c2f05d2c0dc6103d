"""A key that no output may show, and what finds it in whatever is written."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from copy import copy

CANARY = "sk-canary-4f9A71bX/c2+77e0=D"
"""With letters that JSON, URLs and base64 write another way."""
MARK = "4f9A71bX"
"""What of it is the same in all forms but base64."""


def shows(text: str | bytes) -> bool:
    """Whether the key can be read in it, plain or in base64."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return any(form in text for form in (CANARY, CANARY[3:], base64.b64encode(CANARY.encode()).decode()[:-4])) or (
        f"canary-{MARK}" in text
    )


def links(error: BaseException) -> Iterator[BaseException]:
    """An error and all that causes it."""
    yield error
    for behind in (error.__cause__, error.__context__):
        if behind is not None:
            yield from links(behind)


def all_of(error: BaseException) -> str:
    """Everything that an error tells, and what its copies tell."""
    texts = []
    for link in links(error):
        for one in (link, copy(link), pickle.loads(pickle.dumps(link))):
            texts += [str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "headers", ""))]
    return "\n".join(texts)
