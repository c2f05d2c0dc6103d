"""What an operator does with keys and their owners: each step changes a ``KeyStore`` and enters that in its audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from msgspec import structs, to_builtins

from ..config.file_errors import near
from ..errors import BadInput, redact
from .key_text import NewKey, digest_of, new_key
from .store import AuditEntry, KeyStore, Owner, OwnerKind, Ownership, Policy, StoredKey, Superseded

PARENTS: dict[OwnerKind, OwnerKind | None] = {"person": "team", "team": "org", "org": None}
"""What kind an owner of each kind may belong to."""
T = TypeVar("T")
_LONGEST = 64
_TRIES = 10
_GUESSED = 1000
"""Keys among which a name is looked for that is like one that does not exist."""
OwnerName = tuple[OwnerKind, str]
PolicyChange: TypeAlias = Policy | Callable[[Policy], Policy]
"""A policy, or what makes it of the one that is kept: no change that somebody else made of that is lost."""
_NO_POLICY = Policy()


class KeyAdmin:
    """Changes by one ``actor``, named as the audit log is to name it.

    Methods raise ``BadInput`` for what cannot be, and ``Superseded`` where somebody changed the same thing at the same time, or
    since it had the ``change`` that they are given; what takes a permission away does not give way to another change.
    """

    def __init__(self, store: KeyStore, actor: str, now: float) -> None:
        self._store, self._actor, self._now = store, actor, now

    # Owners

    def put_owner(
        self,
        kind: OwnerKind,
        name: str,
        *,
        parent: str = "",
        policy: PolicyChange | None = None,
        restore: bool = False,
        change: int | None = None,
    ) -> Owner:
        """Make an owner, or change one: without ``policy`` or ``parent`` it keeps its own.

        One that was deleted is there again only to ``restore`` it: its keys are then accepted again.
        """
        _check_name(name, kind)
        existing = self._store.owner(kind, name)
        _check_change(existing, change)
        if existing is not None and existing.deleted_at is not None and not restore:
            message = (
                f"the {kind} {name} was deleted: choose another name, or restore it, with which its keys are accepted again"
            )
            raise BadInput(message, field="restore")
        above = PARENTS[kind]
        if parent:
            if above is None:
                raise BadInput(f"an {kind} belongs to nobody", field=kind)
            self.owner(above, parent)
        before = existing or Owner(kind=kind, name=name, created_at=self._now)
        changed = structs.replace(
            before,
            parent=parent or before.parent,
            policy=before.policy if policy is None else _applied(policy, before.policy),
            deleted_at=None,
        )
        facts = {"parent": changed.parent, "policy": to_builtins(changed.policy)}
        action = "create" if existing is None else "change" if existing.deleted_at is None else "restore"
        return self._store.put_owner(changed, self._entry(f"{kind}.{action}", name, facts))

    def delete_owner(self, kind: OwnerKind, name: str) -> Owner:
        """Its keys, and those of its members, are refused from now on."""

        def delete() -> Owner:
            owner = structs.replace(self.owner(kind, name), deleted_at=self._now)
            return self._store.put_owner(owner, self._entry(f"{kind}.delete", name))

        return _insisting(delete)

    def owner(self, kind: OwnerKind, name: str) -> Owner:
        owner = self._store.owner(kind, name)
        if owner is None or owner.deleted_at is not None:
            raise BadInput(f"no {kind} {redact(name, _LONGEST)!r}: create it first", field=kind)
        return owner

    # Keys

    def create(
        self, name: str, *, owner: OwnerName | None = None, policy: Policy = _NO_POLICY, expires_at: float | None = None
    ) -> tuple[StoredKey, NewKey]:
        """A new key, and its text, which is not kept and cannot be shown again."""
        _check_name(name, "key")
        if owner is not None:
            self.owner(*owner)
        if expires_at is not None and expires_at <= self._now:
            raise BadInput("the key would have expired already: choose a later time", field="expires")
        made = new_key()
        key = StoredKey(
            id=made.public_id,
            digest=digest_of(made.text.encode()),
            name=name,
            owner=owner,
            policy=policy,
            created_at=self._now,
            expires_at=expires_at,
        )
        return self._put(key, "create", {"name": name, "owner": owner, "expires_at": expires_at, "policy": policy}), made

    def rotate(self, wanted: str, grace: float) -> tuple[StoredKey, NewKey]:
        """A new key in place of one, which is accepted for ``grace`` seconds more."""
        key = self.key(wanted)
        self._check_in_use(key)
        fresh, made = self.create(key.name, owner=key.owner, policy=key.policy, expires_at=key.expires_at)
        until = self._now + grace
        ends = until if key.expires_at is None else min(until, key.expires_at)
        self._put(
            structs.replace(key, expires_at=ends, replaced_by=fresh.id), "rotate", {"replaced_by": fresh.id, "until": ends}
        )
        return fresh, made

    def revoke(self, wanted: str, *, ends_streams: bool = False) -> StoredKey:
        """The key is refused from now on; ``ends_streams``: replies that are running are cut off too."""

        def revoke() -> StoredKey:
            key = self.key(wanted)
            revoked = structs.replace(key, revoked_at=key.revoked_at or self._now, ends_streams=ends_streams)
            return self._put(revoked, "revoke", {"ends_streams": ends_streams})

        return _insisting(revoke)

    def set_policy(self, wanted: str, policy: PolicyChange, *, change: int | None = None) -> StoredKey:
        key = self.key(wanted)
        _check_change(key, change)
        self._check_in_use(key)
        after = _applied(policy, key.policy)
        return self._put(structs.replace(key, policy=after), "change", {"policy": after})

    def key(self, wanted: str) -> StoredKey:
        """By its public id, or by its name if one key in use has it that was not rotated."""
        if (key := self._store.key_by_id(wanted)) is not None:
            return key
        named = self._store.keys(name=wanted)
        in_use = [key for key in named if not self.state(key) and not key.replaced_by] or named
        if len(in_use) == 1:
            return in_use[0]
        if in_use:
            ids = ", ".join(key.id for key in in_use[:10])
            raise BadInput(f"several keys are named {redact(wanted, _LONGEST)!r}: use one of the ids {ids}", field="key")
        guess = near(wanted, [key.name for key in self._store.keys(limit=_GUESSED)], "; ")
        raise BadInput(f"no key {redact(wanted, _LONGEST)!r}{guess}", field="key")

    def state(self, key: StoredKey) -> str:
        """Why a key is not accepted: ``revoked`` or ``expired``; empty where it is."""
        return state_of(key, self._now)

    def _check_in_use(self, key: StoredKey) -> None:
        if state := self.state(key):
            raise BadInput(f"the key {key.id} is {state}: create another", field="key")

    def _put(self, key: StoredKey, action: str, facts: dict[str, Any]) -> StoredKey:
        return self._store.put_key(key, self._entry(f"key.{action}", key.id, to_builtins(facts)))

    def _entry(self, action: str, subject: str, facts: dict[str, Any] | None = None) -> AuditEntry:
        kind = action.partition(".")[0]
        return AuditEntry(at=self._now, actor=self._actor, action=action, subject=f"{kind}:{subject}", facts=facts or {})


def _applied(change: PolicyChange, before: Policy) -> Policy:
    return change if isinstance(change, Policy) else change(before)


def _check_change(kept: Owner | StoredKey | None, change: int | None) -> None:
    """Raises ``Superseded`` unless what is kept has this ``change``; 0: nothing is kept; ``None``: it may have any."""
    if change is not None and change != (0 if kept is None else kept.change):
        raise Superseded


def _insisting(step: Callable[[], T]) -> T:
    """What ``step`` gives, once no other change comes between its reading and its writing."""
    for _ in range(_TRIES):
        try:
            return step()
        except Superseded:
            continue
    return step()


def state_of(key: StoredKey, now: float) -> str:
    """Why a key is not accepted at a moment: ``revoked`` or ``expired``; empty where it is."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else ""


def owners_above(store: KeyStore, key: StoredKey) -> list[Owner]:
    """Whose a key is, from the nearest up; one that was deleted is among them."""
    chain: list[Owner] = []
    place = key.owner
    while place is not None and len(chain) < len(PARENTS):
        owner = store.owner(*place)
        if owner is None:
            break
        chain.append(owner)
        above = PARENTS[owner.kind]
        place = (above, owner.parent) if above is not None and owner.parent else None
    return chain


def ownership(key: StoredKey, chain: list[Owner]) -> Ownership:
    """For the usage of a key's requests."""
    return Ownership(key=key.id, key_name=key.name, **{owner.kind: owner.name for owner in chain})


def _check_name(name: str, kind: str) -> None:
    if not name or len(name) > _LONGEST or not name.isprintable() or name != name.strip() or "/" in name:
        raise BadInput(f"the name of a {kind} is 1 to {_LONGEST} printable characters without a slash", field="name")
