"""Who may open which page below ``/admin``: keys of ``[gateway.admin]``, each with its scopes."""

from __future__ import annotations

from collections.abc import Mapping

from ...config.access import Admin, AdminScope
from ..admission.guesses import Guesses
from ..admission.keys import Keys, keys_in

USUAL: tuple[AdminScope, ...] = ("read", "usage")
"""The scopes of a key for which none are set: to look, and to change nothing."""
NO_KEY = "missing or unknown admin key: send one of gateway.admin.keys as Authorization: Bearer …"


class AdminKeys:
    """The keys by name, and what each may do. Raises what ``Keys`` raises."""

    def __init__(self, settings: Admin) -> None:
        self._keys = Keys(settings.keys, "gateway.admin.keys")
        self._scopes = settings.scopes
        self.guesses = Guesses()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def name_of(self, headers: Mapping[bytes, bytes]) -> str:
        """The name of the request's key; empty if it has none. A key in the query, where proxies log it, is none."""
        return self._keys.name_of(headers, b"")

    def is_guess(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request without a known key has an unknown one."""
        return bool(keys_in(headers, b""))

    def lack(self, name: str, scope: AdminScope) -> str:
        """Why this key may not open a page of the scope; empty where it may."""
        scopes = self._scopes.get(name, USUAL)
        if scope in scopes:
            return ""
        has = ", ".join(scopes) or "none"
        return f"the admin key {name} does not have the scope {scope}, only {has}: see gateway.admin.scopes"
