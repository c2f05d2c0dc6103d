"""Replies of chat sites without the credentials of the request. Their pages are read as they come, their answers handed on
without.

What goes to an API is redacted where its bytes come in; see ``redact.py``.
"""

from __future__ import annotations

from dataclasses import fields
from urllib.parse import unquote, urlsplit

from ..calls.call import Call
from ..events import Event, Finish, Text
from ..redact import Secrets, secrets_of


def secrets_in(call: Call) -> Secrets | None:
    """The caller's secrets: cookies, tokens in headers, passwords of addresses."""
    passwords = (_password(call.base_url), _password(call.proxy or ""))
    return secrets_of(call.headers.items(), call.cookies, passwords)


def _password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.password or parts.username or "")


class Redacted:
    """The events of one reply with credentials removed from its text, which may be cut anywhere."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held: dict[int, str] = {}
        """By choice, the end of the text, if it may be the beginning of a credential."""

    def batch(self, events: list[Event]) -> list[Event]:
        """The events to forward; held text is emitted before the end."""
        clean: list[Event] = []
        for event in events:
            if type(event) is Text:
                text, self._held[event.choice] = self._cut(self._held.get(event.choice, "") + event.text)
                if text:
                    clean.append(Text(text, event.choice))
                continue
            if type(event) is Finish:
                clean += self._rest()
            self._clean(event)
            clean.append(event)
        return clean

    def _cut(self, text: str) -> tuple[str, str]:
        text = self._secrets.text(text)
        cut = self._secrets.tail_of(text)
        return (text[:-cut], text[-cut:]) if cut else (text, "")

    def _rest(self) -> list[Event]:
        held, self._held = self._held, {}
        return [Text(text, choice) for choice, text in held.items() if text]

    def _clean(self, event: Event) -> None:
        if type(event) is Finish and event.error is not None:
            self._secrets.error(event.error)
        for column in fields(event):
            value = getattr(event, column.name)
            if isinstance(value, (str, list)):
                setattr(event, column.name, self._secrets.value(value))
