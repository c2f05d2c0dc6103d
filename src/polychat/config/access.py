"""The tables of polychat.toml that say who may look at the gateway and change it, and which keys no list has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from .value_types import Positive, Reference, Table, about


class SignedKeySettings(Table, frozen=True):
    """Keys that no database has: each says whose it is, what it may do and until when, and is signed."""

    secret: Annotated[
        Reference,
        about(
            "What signs and verifies keys (HMAC-SHA256): at least 32 characters, such as those of `openssl rand -base64 48`. "
            "Whoever has it can make keys."
        ),
    ]
    previous: Annotated[
        tuple[Reference, ...],
        about("Earlier secrets, which verify keys and sign none, until the keys that they signed have expired."),
    ] = ()
    revoked: Annotated[tuple[str, ...], about("The ids of signed keys that are not accepted any more.")] = ()
    longest_days: Annotated[Positive, about("The longest life of a signed key in days; longer ones are refused.")] = 366


class MetricsAccess(Table, frozen=True):
    """Who may read `/metrics`."""

    key: Annotated[
        Reference | None,
        about(
            "The key of the program that reads `/metrics`. It opens nothing else, and besides it only keys of `gateway.admin` "
            "with the scope `read` open `/metrics` then; what each client's key used is shown only to these. By default the "
            "keys of clients open it, and none is needed where chats need none."
        ),
    ] = None


AdminScope: TypeAlias = Literal["read", "usage", "config", "keys", "audit"]


class Admin(Table, frozen=True):
    """What operators can inspect and change below `/admin`."""

    keys: Annotated[
        Annotated[Mapping[str, Reference], Meta(extra={"form": 'a table of references to secrets: { name = "env:NAME" }'})],
        about(
            "The keys for `/admin/…`, which `gateway.keys` do not open: a name of your choice, and a reference to the key. "
            "Without any, the paths do not exist."
        ),
    ] = {}
    scopes: Annotated[
        Mapping[str, tuple[AdminScope, ...]],
        about(
            "What each of these keys may do: `read` requests and targets, read `usage`, read the `config` in force, read and "
            "change `keys` and their owners, read the `audit` log. A key that is not named here has `read` and `usage`."
        ),
    ] = {}
    requests: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        about("Number of the latest requests that `/admin/requests` lists; each worker keeps its own, in memory."),
    ] = 500
