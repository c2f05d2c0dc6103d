"""All that is kept, in one database."""

from __future__ import annotations

from collections.abc import Callable

from .engine import Database
from .keys import DatabaseKeys
from .ledger import DatabaseLedger
from .texts import DatabaseTexts
from .usage import DatabaseUsage


class DatabaseStore(DatabaseKeys, DatabaseLedger, DatabaseUsage, DatabaseTexts):
    """``StateStore``, on SQLite or PostgreSQL. Nothing is opened before the first use."""

    def __init__(self, url: str, *, patience: float = 0.5, renewed: Callable[[], str] | None = None) -> None:
        """``patience``: seconds to wait for a lock. ``renewed`` gives the URL whose user and password new connections use.

        Raises ``BadInput`` for a URL of another kind.
        """
        super().__init__(Database(url, patience=patience, renewed=renewed))

    def close(self) -> None:
        self._database.close()
