"""``polychat keys``: the keys of vendors' APIs. Those of a gateway's clients are ``polychat gateway keys``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from getpass import getpass

from ..backends.keys import key_source
from ..backends.registry import user_registry
from ..config.file_errors import near
from ..config.vendor_spec import VendorSpec
from ..errors import BadInput, NotReady, redact
from ..user.vendor_keys import forget_key, has_keyring, keep_key, key_file
from . import ANSWERED, complain, print_json
from .terminal import is_piped

_LONGEST = 16_384
"""Characters of a key: some are whole certificates."""


def run(arguments: argparse.Namespace) -> int:
    """List, set or remove keys. Raises ``BadInput``, and ``NotReady`` where a key cannot be kept."""
    rows = user_registry().vendors()
    if arguments.action not in ("set", "rm"):
        _list(rows, arguments)
        return ANSWERED
    try:
        if arguments.action == "set":
            _set(rows, arguments)
        else:
            _remove(rows, arguments.name)
    except OSError as error:
        raise NotReady(f"{error.filename or key_file()} cannot be written: {error.strerror}") from None
    return ANSWERED


def _variable(rows: Mapping[str, VendorSpec], name: str) -> str:
    """The variable of a vendor's key. Raises ``BadInput`` for an unknown vendor, and for one without a key."""
    row = rows.get(name.lower())
    if row is None:
        guess = near(name.lower(), rows, "; ") or " (polychat providers lists them)"
        raise BadInput(f"no vendor {redact(name, 40)!r}{guess}", field="NAME")
    if not row.key:
        raise BadInput(f"{row.title or row.name} needs no key", field="NAME")
    return row.key[0]


def _set(rows: Mapping[str, VendorSpec], arguments: argparse.Namespace) -> None:
    variable = _variable(rows, arguments.name)
    row = rows[arguments.name.lower()]
    key = _given(row.title or row.name)
    keyring = has_keyring() if not arguments.file and not arguments.keyring else arguments.keyring
    if keyring and not has_keyring():
        raise NotReady('there is no keyring on this machine (pip install "polychat[keyring]"): use --file')
    complain(f"the key for {row.title or row.name} is kept in {keep_key(variable, key, keyring=keyring)}", "note")
    if ((source := key_source(row)) and source == variable) or row.api_key:
        complain(f"{source} is set, and overrides it", "note")


def _given(title: str) -> str:
    """The key, typed without being shown, or piped in. Raises ``BadInput`` for what cannot be one."""
    if is_piped():
        key = sys.stdin.read(_LONGEST + 1).strip()
    elif sys.stdin is not None and sys.stdin.isatty():
        key = getpass(f"The key for {title} (it is not shown): ").strip()
    else:
        raise BadInput("there is no terminal to type the key at: pipe it in", field="key")
    if not key:
        raise BadInput("no key was given", field="key")
    if len(key) > _LONGEST or not key.isascii() or not key.isprintable():
        raise BadInput("that is no key: it must be one line of ASCII letters", field="key")
    return key


def _remove(rows: Mapping[str, VendorSpec], name: str) -> None:
    variable = _variable(rows, name)
    gone = forget_key(variable)
    complain(f"the key for {name} is {'removed' if gone else 'not kept here'}", "note")
    if source := key_source(rows[name.lower()]):
        complain(f"{name} still has a key: {source}", "note")


def _list(rows: Mapping[str, VendorSpec], arguments: argparse.Namespace) -> None:
    keyed = [(row, key_source(row)) for row in rows.values() if row.key or row.api_key]
    keyed.sort(key=lambda entry: (not entry[1], entry[0].name))
    if arguments.json:
        facts = ({"name": row.name, "is_set": bool(source), "source": source, "key": list(row.key)} for row, source in keyed)
        print_json(list(facts), indent=2)
        return
    _print_keys(keyed, shows_all="all" in arguments and arguments.all)


def _print_keys(keyed: Sequence[tuple[VendorSpec, str]], *, shows_all: bool) -> None:
    shown = [(row, source) for row, source in keyed if source or shows_all]
    width = max((len(row.name) for row, _ in shown), default=0)
    for row, source in shown:
        print(f"{row.name:<{width}}  {f'set: {source}' if source else f'not set ({row.key[0]})'}")
    if left := len(keyed) - len(shown):
        complain(f"{left} vendors have no key: polychat keys list --all names them, polychat keys set VENDOR keeps one", "note")
