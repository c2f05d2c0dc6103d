"""A connection to PostgreSQL on which nothing is waited for without an end. Needs the extra ``postgres``.

The server's own time limit of a statement does not help where the server hangs, and the system's limits do not as long as its
machine acknowledges what is sent.
"""

from __future__ import annotations

from typing import Any

from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus


class TimedConnection(Connection[Any]):
    """Closed when one step, such as a statement, takes longer than ``patience`` seconds."""

    patience = 12.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # what the server says later is nobody's answer
                self.pgconn.finish()
            raise
