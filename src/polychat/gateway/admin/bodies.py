"""What the bodies of requests to ``/admin`` may say. The OpenAPI document is made from these types, too."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from msgspec import structs

from ...config.decoding import decoded, keys_of, meaning
from ...config.settings import KeySettings
from ...config.value_types import Table, about
from ...errors import BadInput, redact
from ...state.key_admin import PARENTS, OwnerName
from ...state.usage_query import age_in, moment_of
from .facts import LATEST
from .policies import BodyErrors

T = TypeVar("T", bound=Table)
_CHANGE = "The `change` that was read before: with another one the request is refused with 409; without it nothing is compared."
_EXPIRES = "When it expires: a date or time in UTC (`2027-01-31`), or an age from now (`90d`)."


class NewKeyBody(Table, frozen=True):
    """A key to make."""

    name: Annotated[str, about("What the key is for.")]
    owner: Annotated[str, about("Whose it is: `person:NAME`, `team:NAME` or `org:NAME`.")] = ""
    expires: Annotated[str, about(_EXPIRES)] = ""
    settings: Annotated[KeySettings, about("What it may use.")] = KeySettings()


class KeyChange(Table, frozen=True):
    """A change of what a key may use."""

    settings: Annotated[KeySettings, about("The settings to change; null removes one, and those that are left out stay.")]
    change: Annotated[int | None, about(_CHANGE)] = None


class Revocation(Table, frozen=True):
    """How a key is revoked."""

    end_streams: Annotated[bool, about("Whether replies that are running are cut off; otherwise they go on to their end.")] = (
        False
    )


class Rotation(Table, frozen=True):
    """How a key is replaced."""

    grace: Annotated[str, about("How long the old key is accepted, such as `24h` or `0s`.")] = "24h"


class OwnerBody(Table, frozen=True):
    """A person, a team or an organisation, to make or to change."""

    parent: Annotated[str, about("The name of a person's team, or of a team's organisation.")] = ""
    settings: Annotated[KeySettings, about("What all its keys may use together; null removes one, others stay.")] = (
        KeySettings()
    )
    restore: Annotated[bool, about("Whether one that was deleted is there again, and its keys are accepted again.")] = False
    change: Annotated[int | None, about(f"{_CHANGE} 0: there was none.")] = None


BODIES = (NewKeyBody, KeyChange, Revocation, Rotation, OwnerBody)


def read(kind: type[T], body: Any) -> tuple[T, dict[str, Any]]:
    """The body as this type, and its ``settings`` as they came, where ``None`` means to remove one. Raises ``BadInput``."""
    if not isinstance(body, dict):
        raise BadInput("the body is not a JSON object: send one", field="body")
    for field in structs.fields(kind):
        if field.required and field.name not in body:
            raise BadInput(f"{field.name} is missing: {meaning(keys_of(kind)[field.name])}", field=field.name)
    settings = body.get("settings", {})
    if not isinstance(settings, dict):
        raise BadInput('settings is not a JSON object: send one, such as {"rpm": 60}', field="settings")
    plain = {**body, "settings": {}} if "settings" in body else body
    return decoded(kind, plain, "", BodyErrors()), settings


def owner_in(text: str) -> OwnerName | None:
    """``person:ada`` as a kind and a name; ``None`` for an empty text. Raises ``BadInput``."""
    if not text:
        return None
    kind, _, name = text.partition(":")
    for known in PARENTS:
        if kind == known and name:
            return known, name
    raise BadInput(f"owner is {redact(text, 80)!r}: write person:NAME, team:NAME or org:NAME", field="owner")


def later(text: str, now: float, field: str) -> float | None:
    """The moment that a date, or an age from now, means; ``None`` for an empty text. Raises ``BadInput``."""
    if not text:
        return None
    age = age_in(text)
    at = moment_of(text, now, field) if age is None else now + age
    if at > LATEST:
        raise BadInput(f"{field} is after the year 9999: leave it out for a key that does not expire", field=field)
    return at


def grace_in(text: str, field: str = "grace") -> float:
    """Seconds of an age. Raises ``BadInput``."""
    age = age_in(text)
    if age is None:
        raise BadInput(f"{field} is {redact(text, 40)!r}: write an age such as 24h, or 0s", field="grace")
    return age
