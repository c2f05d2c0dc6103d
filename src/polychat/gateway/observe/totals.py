"""Totals by their labels, which the workers count apart and the metrics show together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, TypeVar

Labels = TypeVar("Labels")
Number = TypeVar("Number")


class Totals(dict[Labels, Number]):
    """The numbers of one worker, or of all."""

    def add(self, labels: Labels, number: Number) -> None:
        """Count ``number`` more for ``labels``."""
        raise NotImplementedError

    @classmethod
    def total(cls, snapshots: Iterable[Iterable[tuple[Labels, Number]]]) -> Self:
        """The numbers of all workers together, from what each counted."""
        total: Self = cls()
        for snapshot in snapshots:
            for labels, number in snapshot:
                total.add(labels, number)
        return total
