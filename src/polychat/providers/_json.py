"""Common code for services with JSON bodies, on either side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import BackendError, StatusError, redact
from ..events import Citation, Event, Finish, Text
from ..wire.answering import Response
from ..wire.reading import parsed

if TYPE_CHECKING:
    from ..transport import StreamResponse


async def body_of(response: StreamResponse) -> bytes:
    """The body of a 2xx response. Raises the ``refusal`` for another status."""
    if response.ok:
        return await response.read()
    raise await refusal(response)


async def refusal(response: StreamResponse) -> StatusError:
    """The error of a status other than 2xx, with the service's own message."""
    try:
        body = await response.read()
    except BackendError:  # the status is known all the same
        body = b""
    match parsed(body):
        case {"message": str(why)} | {"msg": str(why)} | {"error": str(why)}:
            return response.error(redact(why))
    return response.error()


def json_response(status: int, value: dict[str, Any]) -> Response:
    """``value`` as a response."""
    return Response(status, json.dumps(value).encode())


class WholeWriter:
    """Holds an answer until it is complete. A service's writer subclasses it and returns the bytes in ``end``."""

    streams = False
    status = 200
    content_type = "application/json"

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.sources: list[Citation] = []
        self._texts: list[str] = []
        self._finish: Finish | None = None

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            match event:
                case Text(text):
                    self._texts.append(text)
                case Citation():
                    self.sources.append(event)
                case Finish():
                    self._finish = event
        return b""

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def failure(self) -> str | None:
        """Why there is no answer to send; ``None`` if there is a complete one."""
        if self._finish is None:
            return "the answer was cut"
        if self._finish.verdict == "complete":
            return None
        return str(self._finish.error or self._finish.verdict)
