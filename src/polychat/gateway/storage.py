"""The database that ``[gateway.state]`` means, for the gateway and for commands."""

from __future__ import annotations

import re
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.settings import State
from ..errors import BadInput, MissingPackage
from ..state.probes import folder
from ..user.secrets import secret

if TYPE_CHECKING:
    from ..state.store import SharedStore, StateStore


def store_of(settings: State, *, patience: float = 0.5) -> StateStore:
    """The store that the settings mean. Raises ``PolychatError`` for a URL that cannot be used; opens nothing."""
    try:
        from ..state.database.store import DatabaseStore
    except ImportError:
        raise MissingPackage("sqlalchemy", extra="state", purpose="[gateway.state]") from None
    renewed = partial(url_of, settings) if settings.url.startswith("exec:") else None
    return DatabaseStore(url_of(settings), patience=patience, renewed=renewed)


def shared_store_of(settings: State) -> SharedStore | None:
    """Where limits are counted that end within a minute, and what else machines share; ``None``: nowhere but in the database.

    Raises ``PolychatError``, opens nothing.
    """
    if not settings.shared:
        return None
    if url_of(settings).startswith("sqlite"):
        message = (
            "gateway.state.shared is for gateways on several machines, and these need one database for keys and budgets: "
            "set gateway.state.url to postgresql://HOST/NAME"
        )
        raise BadInput(message, field="gateway.state.url")
    from ..state.valkey import ValkeyLedger  # the extra `valkey`

    return ValkeyLedger(settings.shared if "://" in settings.shared else secret(settings.shared, "gateway.state.shared"))


def url_of(settings: State) -> str:
    """The database's URL, with the password where it has one."""
    if not settings.url:
        return f"sqlite:///{folder() / 'gateway.db'}"
    kind = settings.url.partition(":")[0]
    is_reference = kind in ("env", "file", "keyring", "exec")
    return secret(settings.url, "gateway.state.url") if is_reference else settings.url


def has_database() -> bool:
    """Whether the SQLite file that is used by default exists."""
    return (folder() / "gateway.db").is_file()


def spool_of(settings: State) -> Path:
    """Where usage records wait for this database: what another gateway left there is delivered to it."""
    address = re.sub(r":[^:@/]*@", "@", url_of(settings))
    base = Path(settings.spool).expanduser() if settings.spool else folder() / "spool"
    return base / blake2b(address.encode(), digest_size=6).hexdigest()


def check_usable(settings: State) -> None:
    """Raises ``PolychatError`` for settings with which no gateway can start; opens nothing."""
    store_of(settings).close()
    if (shared := shared_store_of(settings)) is not None:
        shared.close()
