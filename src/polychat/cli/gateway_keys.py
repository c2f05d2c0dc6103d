"""``polychat gateway keys``, ``people``, ``teams`` and ``orgs``: who may use the gateway, and how much."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from time import time
from typing import Any

from msgspec import to_builtins

from ..config.settings import State
from ..gateway.admin.bodies import grace_in, later
from ..gateway.admin.facts import key_facts, moment, owner_facts
from ..gateway.process.source import ConfigSource
from ..gateway.storage import store_of
from ..state.key_admin import PARENTS, KeyAdmin, state_of
from ..state.key_text import NewKey
from ..state.store import Owner, OwnerKind, Policy, StateStore, StoredKey
from . import ANSWERED, complain, print_json
from .gateway_key_arguments import KINDS, policy_from
from .signed_key import sign

_NANO = 1_000_000_000
_PATIENCE = 5.0
_AT_ONCE = 1000
"""Keys that are read at a time."""


def run(arguments: argparse.Namespace) -> int:
    """One step. Raises ``BadInput`` for what cannot be, ``StoreUnavailable`` where the database is away."""
    now = time()
    if arguments.step == "sign":
        return sign(arguments, now)
    with _store(arguments.config) as store:
        admin = KeyAdmin(store, f"command:{_user()}", now)
        if arguments.action == "keys":
            _keys(arguments, admin, store, now)
        else:
            _owners(arguments, admin, store, KINDS[arguments.action])  # type: ignore[arg-type]  # the kinds are OwnerKind
    return ANSWERED


@contextmanager
def _store(file: str | None) -> Iterator[StateStore]:
    settings = ConfigSource(Path(file) if file else None, {}).read().gateway.state
    if settings is None:
        complain("this makes the gateway's database: restart a gateway that is running, so that it reads it", "note")
    store = store_of(settings or State(), patience=_PATIENCE)
    try:
        yield store
    finally:
        store.close()


def _keys(arguments: argparse.Namespace, admin: KeyAdmin, store: StateStore, now: float) -> None:
    match arguments.step:
        case "create":
            kind = next((kind for kind in PARENTS if getattr(arguments, kind)), None)
            expires = later(arguments.expires or "", now, "--expires")
            policy = policy_from(arguments, Policy())
            owner = None if kind is None else (kind, getattr(arguments, kind))
            _told(*admin.create(arguments.name, owner=owner, policy=policy, expires_at=expires))
        case "rotate":
            _told(*admin.rotate(arguments.key, grace_in(arguments.grace, "--grace")))
        case "revoke":
            print(f"{admin.revoke(arguments.key, ends_streams=arguments.end_streams).id} is revoked")
        case "set-limit":
            print(_line(admin.set_policy(arguments.key, lambda policy: policy_from(arguments, policy)), now))
        case "show":
            key = admin.key(arguments.key)
            print_json(key_facts(key, now), indent=2) if arguments.json else print(_line(key, now))
        case _:
            keys = _all_keys(store)
            if arguments.json:
                print_json([key_facts(key, now) for key in keys], indent=2)
            else:
                sys.stdout.writelines(f"{_line(key, now)}\n" for key in keys)


def _all_keys(store: StateStore) -> Iterator[StoredKey]:
    """In the order in which they were made, read some at a time: there may be a million."""
    keys = store.keys(limit=_AT_ONCE)
    while keys:
        yield from keys
        keys = store.keys(after=(keys[-1].created_at, keys[-1].id), limit=_AT_ONCE)


def _owners(arguments: argparse.Namespace, admin: KeyAdmin, store: StateStore, kind: OwnerKind) -> None:
    match arguments.step:
        case "set":
            above = "team" if kind == "person" else "org"
            parent = getattr(arguments, above, None) or ""
            changed = admin.put_owner(
                kind,
                arguments.name,
                parent=parent,
                policy=lambda policy: policy_from(arguments, policy),
                restore=arguments.restore,
            )
            print(_owner_line(changed))
        case "delete":
            print(f"the {kind} {admin.delete_owner(kind, arguments.name).name} is deleted, and its keys are refused")
        case _:
            owners = store.owners(kind, deleted=False)
            if arguments.json:
                print_json([owner_facts(owner) for owner in owners], indent=2)
            else:
                sys.stdout.writelines(f"{_owner_line(owner)}\n" for owner in owners)


def _told(key: StoredKey, made: NewKey) -> None:
    """The key alone on standard output, for scripts; the rest beside it."""
    complain(f"this is the key {key.id} ({key.name}): it is not kept and cannot be shown again", "note")
    print(made.text)


def _policy(policy: Policy) -> dict[str, Any]:
    facts: dict[str, Any] = to_builtins(policy)
    if isinstance(facts.get("unpriced"), int):
        facts["unpriced"] = f"${facts['unpriced'] * 1_000_000 / _NANO:,.2f} per million tokens"
    for name in ("limits", "user_limits"):
        if name in facts:
            facts[name] = [_limit(limit) for limit in facts[name]]
    return facts


def _limit(limit: dict[str, Any]) -> str:
    amount = f"${limit['cap'] / _NANO:,.2f}" if limit["metric"] == "dollars" else f"{limit['cap']:,} {limit['metric']}"
    return f"{amount} per {limit['window']}" if limit["window"] else amount


def _line(key: StoredKey, now: float) -> str:
    owner = "-" if key.owner is None else " ".join(key.owner)
    used = f"used {moment(key.last_used_at)}" if key.last_used_at else "never used"
    return "  ".join((key.id, key.name, owner, state_of(key, now) or "in use", used, _summary(key.policy))).rstrip()


def _owner_line(owner: Owner) -> str:
    return "  ".join((owner.name, owner.parent or "-", _summary(owner.policy))).rstrip()


def _summary(policy: Policy) -> str:
    facts = _policy(policy)
    words = [*facts.pop("limits", []), *(f"{limit} for each user" for limit in facts.pop("user_limits", []))]
    words += [f"{name}: {', '.join(value) if isinstance(value, (list, tuple)) else value}" for name, value in facts.items()]
    return "; ".join(words)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user that has no name
        return "unknown"
