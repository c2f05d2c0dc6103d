"""``polychat gateway keys sign``: a key that no database has."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput
from ..gateway.admin.bodies import later
from ..gateway.admin.facts import moment
from ..gateway.process.source import ConfigSource
from ..state.key_text import new_key
from ..state.signed_keys import Claims, KeyVerifier
from ..state.signed_keys import sign as signed
from ..state.store import Policy
from ..user.secrets import secret
from . import ANSWERED, complain
from .gateway_key_arguments import policy_from


def sign(arguments: argparse.Namespace, now: float) -> int:
    """Print a new key. Raises ``BadInput`` for one that no gateway with this configuration would accept."""
    settings = ConfigSource(Path(arguments.config) if arguments.config else None, {}).read().gateway.signed_keys
    if settings is None:
        raise BadInput(
            'there is no [gateway.signed_keys] in polychat.toml: add it, with secret = "env:SIGNING_SECRET"',
            field="gateway.signed_keys",
        )
    expires = later(arguments.expires, now, "--expires")
    if expires is None or expires <= now:
        raise BadInput("the key would have expired already: choose a later time", field="expires")
    claims = Claims(
        id=new_key().public_id,
        name=arguments.name,
        issued=int(now),
        expires=int(expires),
        person=arguments.person,
        team=arguments.team,
        org=arguments.org,
        policy=policy_from(arguments, Policy()),
    )
    text = signed(claims, own := secret(settings.secret, "gateway.signed_keys.secret"))
    accepted = KeyVerifier([own], longest_days=settings.longest_days).claims(text.encode(), now)
    if isinstance(accepted, str):
        raise BadInput(f"the key {accepted}", field="expires")
    complain(f"this is the signed key {claims.id} ({claims.name}), valid until {moment(claims.expires)}", "note")
    print(text)
    return ANSWERED
