"""Keys, owners and the audit log in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import json, structs
from sqlalchemy import Connection, Row, Select, bindparam, func, select, tuple_, update

from ..store import AuditEntry, Changes, Owner, OwnerKind, Place, Policy, StoredKey, check_current
from .engine import Database
from .statements import inserting
from .tables import audit, changes, keys, owners

_POLICY = json.Decoder(Policy)
_AT_A_TIME = 500
"""Keys that one statement names: SQLite takes 999 values."""
_FACTS = json.Decoder(dict[str, Any])


class DatabaseKeys:
    """``KeyStore``, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_owner(self, owner: Owner, entry: AuditEntry) -> Owner:
        def put(connection: Connection) -> Owner:
            query = select(owners).where(owners.c.kind == owner.kind, owners.c.name == owner.name)
            if _is_entered(connection, entry) and (done := connection.execute(query).first()) is not None:
                return _owner(done)
            change = _next_change(connection)
            row = connection.execute(query).first()
            check_current(owner, None if row is None else row.change)
            fresh = structs.replace(owner, change=change)
            values = structs.asdict(fresh) | {"policy": _written(fresh.policy)}
            connection.execute(inserting(connection, owners).replacing(values, "kind", "name"))
            _enter(connection, entry)
            return fresh

        written: Owner = self._database.write(put)
        return written

    def put_key(self, key: StoredKey, entry: AuditEntry) -> StoredKey:
        def put(connection: Connection) -> StoredKey:
            query = select(keys).where(keys.c.id == key.id)
            if _is_entered(connection, entry) and (done := connection.execute(query).first()) is not None:
                return _key(done)
            change = _next_change(connection)
            row = connection.execute(query).first()
            check_current(key, None if row is None else row.change)
            used = None if row is None else row.last_used_at
            last_used = max((moment for moment in (used, key.last_used_at) if moment is not None), default=None)
            fresh = structs.replace(key, change=change, last_used_at=last_used)
            connection.execute(inserting(connection, keys).replacing(_row_of(fresh), "id"))
            _enter(connection, entry)
            return fresh

        written: StoredKey = self._database.write(put)
        return written

    def owners(
        self, kind: OwnerKind | None = None, *, after: str | None = None, limit: int | None = None, deleted: bool = True
    ) -> list[Owner]:
        query = select(owners).order_by(owners.c.kind, owners.c.name).limit(limit)
        if kind is not None:
            query = query.where(owners.c.kind == kind)
        if after is not None:
            query = query.where(owners.c.name > after)
        return self._owners(query if deleted else query.where(owners.c.deleted_at.is_(None)), slow=True)

    def owner(self, kind: OwnerKind, name: str) -> Owner | None:
        return next(iter(self._owners(select(owners).where(owners.c.kind == kind, owners.c.name == name))), None)

    def keys(
        self,
        *,
        owner: tuple[OwnerKind, str] | None = None,
        name: str | None = None,
        after: Place | None = None,
        limit: int | None = None,
    ) -> list[StoredKey]:
        query = select(keys).order_by(keys.c.created_at, keys.c.id).limit(limit)
        if owner is not None:
            query = query.where(keys.c.owner_kind == owner[0], keys.c.owner_name == owner[1])
        if name is not None:
            query = query.where(keys.c.name == name)
        if after is not None:
            query = query.where(tuple_(keys.c.created_at, keys.c.id) > tuple_(*after))
        return self._keys(query, slow=True)

    def key_by_digest(self, digest: bytes) -> StoredKey | None:
        return next(iter(self._keys(select(keys).where(keys.c.digest == digest))), None)

    def key_by_id(self, key_id: str) -> StoredKey | None:
        return next(iter(self._keys(select(keys).where(keys.c.id == key_id))), None)

    def key_names(self, ids: Collection[str]) -> dict[str, str]:
        wanted, names = list(ids), dict[str, str]()
        with self._database.reading() as connection:
            for at in range(0, len(wanted), _AT_A_TIME):
                query = select(keys.c.id, keys.c.name).where(keys.c.id.in_(wanted[at : at + _AT_A_TIME]))
                names.update({row.id: row.name for row in connection.execute(query)})
        return names

    def changes(self, after: int) -> Changes:
        with self._database.reading() as connection:
            last = _last_change(connection)
            if last <= after:
                return Changes(last, [], [])
            changed_owners = connection.execute(select(owners).where(owners.c.change > after).order_by(owners.c.change))
            changed_keys = connection.execute(select(keys).where(keys.c.change > after).order_by(keys.c.change))
            return Changes(last, [_owner(row) for row in changed_owners], [_key(row) for row in changed_keys])

    def last_change(self) -> int:
        with self._database.reading() as connection:
            return _last_change(connection)

    def keys_used(self, moments: Mapping[str, float]) -> None:
        if not moments:
            return
        is_later = keys.c.last_used_at.is_(None) | (keys.c.last_used_at < bindparam("moment"))
        statement = update(keys).where(keys.c.id == bindparam("key"), is_later).values(last_used_at=bindparam("moment"))
        rows = [{"key": name, "moment": moment} for name, moment in sorted(moments.items())]
        self._database.write(lambda connection: connection.execute(statement, rows) and None)

    def audit(self, *, since: float = 0.0, limit: int = 100, after: Place | None = None) -> list[AuditEntry]:
        query = select(audit).where(audit.c.at >= since).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(tuple_(audit.c.at, audit.c.id) < tuple_(*after))
        with self._database.reading(slow=True) as connection:
            rows = connection.execute(query)
            return [AuditEntry(**{**row._mapping, "facts": _FACTS.decode(row.facts)}) for row in rows]

    def forget_audit(self, before: float) -> int:
        """Delete the entries from before then; give how many."""
        count: int = self._database.write(
            lambda connection: connection.execute(audit.delete().where(audit.c.at < before)).rowcount, slow=True
        )
        return count

    def _owners(self, query: Select[Any], *, slow: bool = False) -> list[Owner]:
        with self._database.reading(slow=slow) as connection:
            return [_owner(row) for row in connection.execute(query)]

    def _keys(self, query: Select[Any], *, slow: bool = False) -> list[StoredKey]:
        with self._database.reading(slow=slow) as connection:
            return [_key(row) for row in connection.execute(query)]


def _next_change(connection: Connection) -> int:
    """Whoever asks next waits until this transaction is over: no reader sees a later change before an earlier one."""
    number: int = connection.execute(
        update(changes).where(changes.c.id == 1).values(last=changes.c.last + 1).returning(changes.c.last)
    ).scalar_one()
    return number


def _last_change(connection: Connection) -> int:
    number: int = connection.execute(select(func.max(changes.c.last))).scalar_one()
    return number


def _is_entered(connection: Connection, entry: AuditEntry) -> bool:
    """Whether this change was made already, and its answer lost on the way."""
    return connection.execute(select(audit.c.id).where(audit.c.id == entry.id)).first() is not None


def _enter(connection: Connection, entry: AuditEntry) -> None:
    values = structs.asdict(entry) | {"facts": _written(entry.facts)}
    connection.execute(inserting(connection, audit).once(), values)


def _written(value: object) -> str:
    return json.encode(value).decode()


def _row_of(key: StoredKey) -> dict[str, Any]:
    values = structs.asdict(key) | {"policy": _written(key.policy)}
    kind, name = values.pop("owner") or (None, None)
    return {**values, "owner_kind": kind, "owner_name": name}


def _key(row: Row[Any]) -> StoredKey:
    values = dict(row._mapping)
    kind, name = values.pop("owner_kind"), values.pop("owner_name")
    values |= {"policy": _POLICY.decode(values["policy"]), "digest": bytes(values["digest"])}
    return StoredKey(owner=None if kind is None else (kind, name), **values)


def _owner(row: Row[Any]) -> Owner:
    return Owner(**{**row._mapping, "policy": _POLICY.decode(row.policy)})
