"""The arguments of ``polychat gateway keys``, ``people``, ``teams`` and ``orgs``, and the policy that they say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..state.store import Policy

KINDS = {"people": "person", "teams": "team", "orgs": "org"}
"""The commands for owners, and the kind of each."""
_ABOVE = {"person": "team", "team": "org"}
_MILLION = 1_000_000
_MOST, _MOST_DOLLARS = 1_000_000_000_000_000, 1_000_000_000
"""As the types of ``[gateway.key_settings]`` have it; this module loads none of them."""


class _LimitFlag(NamedTuple):
    flag: str
    metric: str
    window: str | None
    about: str


_LIMITS = (
    _LimitFlag("rpm", "requests", "minute", "requests per minute"),
    _LimitFlag("tpm", "tokens", "minute", "tokens per minute"),
    _LimitFlag("concurrent", "concurrent", None, "concurrent requests"),
    *(
        _LimitFlag(f"{metric}-per-{window}", metric, window, f"{unit} per {window} of UTC")
        for metric, unit in (("dollars", "US dollars"), ("tokens", "tokens"))
        for window in ("hour", "day", "month")
    ),
)


def add_keys(keys: argparse.ArgumentParser) -> None:
    actions = keys.add_subparsers(dest="step", metavar="STEP", title="steps", required=True)
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", metavar="NAME", help="what the key is for")
    owner = create.add_mutually_exclusive_group()
    for kind in KINDS.values():
        owner.add_argument(f"--{kind}", metavar="NAME", help=f"the {kind} whose key it is")
    create.add_argument("--expires", metavar="WHEN", help="when it expires: 2027-01-31, or an age such as 90d")
    _policy(create)
    _common(create)
    sign = actions.add_parser("sign", help="make a key that no database has: it is valid until it expires")
    sign.add_argument("name", metavar="NAME", help="what the key is for")
    for kind in KINDS.values():
        sign.add_argument(f"--{kind}", metavar="NAME", default="", help=f"the {kind} that its usage is booked on")
    sign.add_argument("--expires", metavar="WHEN", required=True, help="when it expires: 2027-01-31, or an age such as 30d")
    _policy(sign)
    _common(sign)
    _common(actions.add_parser("list", help="list all keys, without their secrets"), json=True)
    _common(_of_key(actions.add_parser("show", help="show one key and what it may use")), json=True)
    revoke = _of_key(actions.add_parser("revoke", help="refuse a key from now on"))
    revoke.add_argument("--end-streams", action="store_true", help="cut off its replies that are running, too")
    _common(revoke)
    rotate = _of_key(actions.add_parser("rotate", help="make a key in place of one, which goes on for a grace time"))
    rotate.add_argument("--grace", metavar="AGE", default="24h", help="how long the old key is accepted (default: %(default)s)")
    _common(rotate)
    change = _of_key(actions.add_parser("set-limit", help="change what a key may use"))
    _policy(change)
    _common(change)


def add_owners(owners: argparse.ArgumentParser, kind: str) -> None:
    actions = owners.add_subparsers(dest="step", metavar="STEP", title="steps", required=True)
    put = actions.add_parser("set", help=f"make a {kind}, or change one")
    put.add_argument("name", metavar="NAME")
    if above := _ABOVE.get(kind):
        put.add_argument(f"--{above}", metavar="NAME", help=f"the {above} that it belongs to")
    put.add_argument("--restore", action="store_true", help=f"restore a {kind} that was deleted: its keys are accepted again")
    _policy(put)
    _common(put)
    _common(actions.add_parser("list", help="list all, with what they may use"), json=True)
    delete = actions.add_parser("delete", help=f"refuse all keys of a {kind} from now on")
    delete.add_argument("name", metavar="NAME")
    _common(delete)


def _of_key(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("key", metavar="KEY", help="the key's public id, or its name")
    return parser


def _common(parser: argparse.ArgumentParser, *, json: bool = False) -> None:
    parser.add_argument("--config", metavar="FILE", help="the configuration file (default: the one that polychat serve uses)")
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON")


def _policy(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits and budgets", "each is a number; 0 removes it")
    for limit in _LIMITS:
        kind = float if limit.metric == "dollars" else int
        limits.add_argument(f"--{limit.flag}", metavar="N", type=kind, help=limit.about)
    limits.add_argument(
        "--per-user",
        metavar="LIST",
        help="limits of each end user that requests name, such as rpm=10,dollars-per-day=0.5; an empty text removes all",
    )
    more = parser.add_argument_group("permissions and settings", "an empty text removes one")
    more.add_argument("--models", metavar="LIST", help="routes and targets, such as team,openai/*")
    more.add_argument("--dialects", metavar="LIST", help="dialects, such as anthropic,openai-chat")
    more.add_argument("--priority", choices=("high", "normal", "low", ""), help="the priority of its requests in a queue")
    more.add_argument("--on-loss", choices=("refuse", "report", "allow", ""), help="as gateway.on_loss")
    more.add_argument("--hosted-tools", choices=("drop", "refuse", ""), help="as gateway.hosted_tools")
    more.add_argument("--keep-text", choices=("yes", "no", ""), help="whether texts of its requests may be kept, encrypted")
    more.add_argument(
        "--unpriced",
        metavar="CHOICE",
        help="for models without a price, with a budget in US dollars: refuse, allow, or a price per million tokens",
    )


def policy_from(arguments: argparse.Namespace, policy: Policy) -> Policy:
    """``policy`` with what the arguments change. Raises ``BadInput``."""
    from ..gateway.admin.policies import changed

    settings = _amounts({limit.flag: getattr(arguments, limit.flag.replace("-", "_")) for limit in _LIMITS}, "--")
    if (text := arguments.per_user) is not None:
        settings["per_user"] = _amounts(_per_user(text), "--per-user ") if text else None
    for name in ("models", "dialects"):
        if (text := getattr(arguments, name)) is not None:
            settings[name] = [word.strip() for word in text.split(",") if word.strip()] or None
    for name in ("priority", "on_loss", "hosted_tools"):
        if (word := getattr(arguments, name)) is not None:
            settings[name] = word or None
    if (word := arguments.keep_text) is not None:
        settings["keep_text"] = word == "yes" if word else None
    if (unpriced := arguments.unpriced) is not None:
        settings["unpriced"] = _unpriced(unpriced)
    return changed(policy, settings, "")


def _per_user(text: str) -> dict[str, float]:
    """The amounts in a list such as ``rpm=10,tpm=5000``. Raises ``BadInput``."""
    from ..errors import BadInput

    amounts = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, number = part.partition("=")
        if name not in {limit.flag for limit in _LIMITS}:
            names = ", ".join(limit.flag for limit in _LIMITS)
            raise BadInput(f"--per-user has {part[:40]!r}: write NAME=NUMBER with one of {names}", field="per_user")
        try:
            amounts[name] = float(number)
        except ValueError:
            raise BadInput(f"--per-user {name} is {number[:40]!r}: write a number from 0", field="per_user") from None
    return amounts


def _amounts(amounts: Mapping[str, float | None], prefix: str) -> dict[str, Any]:
    """The settings that amounts by flag mean; 0 removes one. Raises ``BadInput`` with the flag after ``prefix``."""
    from ..errors import BadInput

    settings: dict[str, Any] = {}
    for flag in _LIMITS:
        value = amounts.get(flag.flag)
        if value is None:
            continue
        most = _MOST_DOLLARS if flag.metric == "dollars" else _MOST
        if not 0 <= value <= most:
            raise BadInput(f"{prefix}{flag.flag} is {value}: it must be a number from 0 to {most:,}", field=flag.flag)
        amount = (value if flag.metric == "dollars" else round(value)) or None
        if flag.window in (None, "minute"):
            settings[flag.flag] = amount
        else:
            settings.setdefault("budget" if flag.metric == "dollars" else "tokens", {})[flag.window] = amount
    return settings


def _unpriced(text: str) -> str | float | None:
    from ..errors import BadInput

    if text in ("refuse", "allow", ""):
        return text or None
    try:
        price = float(text)
        if not 0 <= price < _MILLION:
            raise ValueError
    except ValueError:
        raise BadInput(
            f"--unpriced is {text[:40]!r}: write refuse, allow, or US dollars per million tokens", field="unpriced"
        ) from None
    return price
