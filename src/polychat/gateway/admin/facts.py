"""Keys, owners and the audit log as JSON shows them: without secrets and digests, moments in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ...state.key_admin import state_of
from ...state.store import AuditEntry, Owner, StoredKey
from .policies import settings_of

LATEST = 253_402_300_799.0
"""The last second of the year 9999, in seconds since 1970: later ones have no date."""


def key_facts(key: StoredKey, now: float) -> dict[str, Any]:
    """What is known of a key; its digest is not shown."""
    return {
        "id": key.id,
        "name": key.name,
        "owner": None if key.owner is None else ":".join(key.owner),
        "state": state_of(key, now) or "in use",
        "created_at": moment(key.created_at),
        "expires_at": moment(key.expires_at),
        "revoked_at": moment(key.revoked_at),
        "last_used_at": moment(key.last_used_at),
        "replaced_by": key.replaced_by or None,
        "settings": settings_of(key.policy),
        "change": key.change,
    }


def owner_facts(owner: Owner) -> dict[str, Any]:
    """``parent`` is the name of a person's team, or of a team's organisation."""
    return {
        "name": owner.name,
        "parent": owner.parent or None,
        "created_at": moment(owner.created_at),
        "settings": settings_of(owner.policy),
        "change": owner.change,
    }


def audit_facts(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": moment(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "facts": dict(entry.facts),
    }


def moment(at: float | None) -> str | None:
    """In the form of ISO 8601, to the second."""
    return None if at is None else datetime.fromtimestamp(min(at, LATEST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
