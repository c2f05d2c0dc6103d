"""How a command that asks a backend connects to it: the arguments, and the options of a call that they mean."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import BadInput


def add_connection(command: argparse.ArgumentParser) -> None:
    """``--config``, and the group of arguments that ``connection_options`` reads."""
    command.add_argument("--config", metavar="FILE", help="the polychat.toml to use instead of your own")
    group = command.add_argument_group("the connection")
    group.add_argument("--base-url", metavar="URL", help="the address of another instance of the same service")
    group.add_argument(
        "--proxy", metavar="URL", help="an http, https, socks5 or socks5h proxy, with user:password@ if required"
    )
    group.add_argument(
        "--cookie",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a cookie for the service, instead of those found on this machine; repeatable",
    )
    group.add_argument("--timeout", metavar="SECONDS", type=float, help="timeout for the whole request")


def connection_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keywords of ``polychat.stream``, of those that were given. Raises ``BadInput``."""
    given = {"base_url": arguments.base_url, "proxy": arguments.proxy, "timeout": arguments.timeout}
    options = {name: value for name, value in given.items() if value is not None}
    if arguments.cookie:
        options["cookies"] = dict(_cookie(pair) for pair in arguments.cookie)
    return options


def _cookie(pair: str) -> tuple[str, str]:
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise BadInput("--cookie is not NAME=VALUE", field="cookie")  # what was given may be the value: it is not shown
    return name, value
