"""Keys of people and their owners: the same steps as ``polychat gateway keys``, through the same functions.

Each change is in the audit log under the name of the admin key, and this process knows of it before the answer is sent; other
processes learn of it within two seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...errors import BadInput
from ...state.key_admin import KeyAdmin
from ...state.store import Owner, OwnerKind, Place, Policy, StoredKey, StoreUnavailable
from .bodies import KeyChange, NewKeyBody, OwnerBody, Revocation, Rotation, grace_in, later, owner_in, read
from .facts import key_facts, owner_facts
from .listing import limit_in, next_after, place_in
from .pages import AdminCall, Missing, Page
from .policies import changed

OWNERS: dict[str, OwnerKind] = {"people": "person", "teams": "team", "orgs": "org"}
"""The last part of the path of each kind."""


def _admin(call: AdminCall) -> KeyAdmin:
    return KeyAdmin(call.store, call.actor, call.now)


def _known_at_once(call: AdminCall) -> None:
    if call.gateway.people is not None:
        with suppress(StoreUnavailable):  # it is done, and will be known
            call.gateway.people.refresh()


# Keys


def _key(call: AdminCall) -> StoredKey:
    """That of the path. Raises ``Missing``."""
    with _missing():
        return _admin(call).key(call.path["key"])


class _missing:  # noqa: N801  # reads as a statement
    """Turns ``BadInput`` about a name in the path into ``Missing``."""

    def __enter__(self) -> None: ...
    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, BadInput):
            raise Missing(str(error)) from None


def _keys(call: AdminCall) -> Any:
    wanted, limit = owner_in(call.query.get("owner", "")), limit_in(call)
    keys = call.store.keys(owner=wanted, after=place_in(call, Place), limit=limit + 1)
    shown = [key_facts(key, call.now) for key in keys[:limit]]
    return {"keys": shown, "next": next_after(keys, limit, lambda key: (key.created_at, key.id))}


def _create(call: AdminCall) -> Any:
    body, settings = read(NewKeyBody, call.body)
    policy, expires = changed(Policy(), settings, "settings"), later(body.expires, call.now, "expires")
    key, made = _admin(call).create(body.name, owner=owner_in(body.owner), policy=policy, expires_at=expires)
    _known_at_once(call)
    return {"key": made.text, **key_facts(key, call.now)}


def _show(call: AdminCall) -> Any:
    return key_facts(_key(call), call.now)


def _change(call: AdminCall) -> Any:
    body, settings = read(KeyChange, call.body)
    key = _key(call).id
    after = _admin(call).set_policy(key, lambda policy: changed(policy, settings, "settings"), change=body.change)
    _known_at_once(call)
    return key_facts(after, call.now)


def _revoke(call: AdminCall) -> Any:
    body, _ = read(Revocation, call.body)
    key = _admin(call).revoke(_key(call).id, ends_streams=body.end_streams)
    _known_at_once(call)
    return key_facts(key, call.now)


def _rotate(call: AdminCall) -> Any:
    body, _ = read(Rotation, call.body)
    key, made = _admin(call).rotate(_key(call).id, grace_in(body.grace))
    _known_at_once(call)
    return {"key": made.text, **key_facts(key, call.now)}


# Owners


def _owner(call: AdminCall, kind: OwnerKind) -> Owner:
    with _missing():
        return _admin(call).owner(kind, call.path["name"])


def _owners(call: AdminCall, kind: OwnerKind) -> Any:
    limit = limit_in(call)
    owners = call.store.owners(kind, after=place_in(call, str), limit=limit + 1, deleted=False)
    return {"owners": [owner_facts(owner) for owner in owners[:limit]], "next": next_after(owners, limit, lambda one: one.name)}


def _put_owner(call: AdminCall, kind: OwnerKind) -> Any:
    body, settings = read(OwnerBody, call.body)
    owner = _admin(call).put_owner(
        kind,
        call.path["name"],
        parent=body.parent,
        policy=lambda policy: changed(policy, settings, "settings"),
        restore=body.restore,
        change=body.change,
    )
    _known_at_once(call)
    return owner_facts(owner)


def _delete_owner(call: AdminCall, kind: OwnerKind) -> Any:
    owner = _admin(call).delete_owner(kind, _owner(call, kind).name)
    _known_at_once(call)
    return owner_facts(owner)


def _of(kind: OwnerKind, answer: Callable[[AdminCall, OwnerKind], Any]) -> Callable[[AdminCall], Any]:
    return lambda call: answer(call, kind)


def _owner_pages(name: str, kind: OwnerKind) -> list[Page]:
    one = f"/admin/{name}/{{name}}"
    return [
        Page("GET", f"/admin/{name}", "keys", _of(kind, _owners)),
        Page("GET", one, "keys", lambda call: owner_facts(_owner(call, kind))),
        Page("PUT", one, "keys", _of(kind, _put_owner)),
        Page("DELETE", one, "keys", _of(kind, _delete_owner)),
    ]


PAGES = [
    Page("GET", "/admin/keys", "keys", _keys),
    Page("POST", "/admin/keys", "keys", _create, status=201),
    Page("GET", "/admin/keys/{key}", "keys", _show),
    Page("PATCH", "/admin/keys/{key}", "keys", _change),
    Page("POST", "/admin/keys/{key}/revoke", "keys", _revoke),
    Page("POST", "/admin/keys/{key}/rotate", "keys", _rotate, status=201),
    *(page for name, kind in OWNERS.items() for page in _owner_pages(name, kind)),
]
