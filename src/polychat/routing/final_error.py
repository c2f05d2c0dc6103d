"""The one error that a request fails with, where its targets failed with several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import Failure, PolychatError
from .choice import UNLISTED, PassedOver
from .policy import failure_of, most_telling
from .resolve import Target

_NAMED = 8
"""Targets whose reasons an error names."""


def final_error(
    failed: Mapping[Target, PolychatError],
    passed: Sequence[PassedOver],
    unlisted: Sequence[str],
    chosen: PolychatError | None = None,
) -> PolychatError:
    """``chosen``, or else the most informative error of ``failed``, with the reasons of all where there are several.

    ``passed`` and ``unlisted`` are targets that were not called. ``retry_after`` is the soonest of all.
    """
    errors = list(failed.values())
    error = chosen or most_telling(errors)
    if chosen is None and error.retry_after is not None:
        error.retry_after = min(one.retry_after for one in errors if one.retry_after is not None)
    reasons = [*((over.target.name, over.reason) for over in passed), *((name, UNLISTED) for name in unlisted)]
    if len(errors) + len(reasons) > 1:
        named = [failure_of(target.name, one) for target, one in failed.items()]
        named += [Failure(name, "passed_over", why, why) for name, why in reasons]
        error.failures = tuple(named[:_NAMED])
    return error
