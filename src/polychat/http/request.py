"""A request before it is sent: validated, and as bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from yarl import URL

from ..errors import BadInput

Data: TypeAlias = Mapping[str, Any] | bytes | str
"""A form, as a mapping, or a body."""
Params: TypeAlias = Mapping[str, str | int | float]


@dataclass(slots=True, frozen=True)
class OutgoingRequest:
    """A request as it is sent."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None


def url_of(url: str, params: Params | None) -> URL:
    """The URL of a request. Raises ``BadInput`` without the URL, which may contain a password."""
    try:
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed.extend_query(params) if params else parsed
    except (ValueError, TypeError):
        pass
    field = "params" if params else "url"
    raise BadInput("url must begin with http:// or https:// and name a host; params map names to text or numbers", field=field)


def body_of(data: Data | None, value: object) -> tuple[bytes | None, str]:
    """Bytes and their content type. Raises ``BadInput``."""
    try:
        match data:
            case None if value is None:
                return None, ""
            case None:
                return json.dumps(value, allow_nan=False).encode(), "application/json"
            case bytes():
                return data, "application/octet-stream"
            case str():
                return data.encode(), "text/plain; charset=utf-8"
        return urlencode(data).encode(), "application/x-www-form-urlencoded"
    except (TypeError, ValueError) as error:
        field, reason = (
            ("json", str(error)) if data is None else ("data", "it is not text, bytes or a form that UTF-8 can encode")
        )
    raise BadInput(f"the body cannot be written: {reason}", field=field)


_NO_NAME = re.compile(r"[\x00-\x20\x7f=;,]")
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f;]")


def sendable(cookies: Mapping[str, str]) -> dict[str, str]:
    """A copy. Raises ``BadInput`` for values that a ``Cookie`` header cannot contain."""
    for name, value in cookies.items():
        if not name or _NO_NAME.search(name) or _NO_VALUE.search(value):
            raise BadInput(
                "cookies contains a name or value with a semicolon or another character that is not allowed: remove it",
                field="cookies",
            )
    return dict(cookies)
