"""The server side of GPTalk: logins valid for five requests, requests that wait for their stream, the stream."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..wire.answering import Request, Response, SiteRequest
from ..wire.reading import parsed
from ._gptalk_stream import StreamWriter
from ._json import json_response

USES = 5
"""Requests that a login is valid for."""

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(slots=True)
class _Login:
    expires_at: int
    left: int = USES


@dataclass(slots=True)
class _Ask:
    prompt: str
    model: str
    temperature: float
    until: float

    @property
    def weight(self) -> int:
        """Approximate bytes that it takes to remember it."""
        return 512 + len(self.prompt)


class GPTalkSite:
    """``clock`` returns unix seconds, ``token`` a new secret. Its memory is limited: the oldest entries are removed."""

    limits: ClassVar[int] = 1024 * 1024
    lifetime: ClassVar[int] = 24 * 3600
    """Seconds for which a login is valid."""
    patience: ClassVar[int] = 60
    """Seconds a request waits for its stream to be fetched."""
    most_logins: ClassVar[int] = 10_000
    most_waiting: ClassVar[int] = 16 * 1024 * 1024
    """Approximate maximum bytes of the requests that wait for their streams, together."""

    def __init__(
        self, clock: Callable[[], float] = time.time, token: Callable[[], str] = lambda: secrets.token_hex(16)
    ) -> None:
        self._clock = clock
        self._token = token
        self._logins: dict[str, _Login] = {}
        self._asks: dict[str, _Ask] = {}
        self._waiting = 0

    def receive(self, request: Request) -> Response | SiteRequest:
        match request.method, request.path:
            case "POST", "/api/chatgpt/user/login":
                return self._login(request)
            case "POST", "/api/chatgpt/chatapi/text":
                return self._ask(request)
            case "GET", "/api/chatgpt/chatapi/stream":
                return self._stream(request)
        return _no(404, "no such address")

    def _login(self, request: Request) -> Response:
        match parsed(request.body):
            case {"fingerprint": str(who), "platform": "fingerprint"} if _FINGERPRINT.fullmatch(who):
                token, login = self._token(), _Login(int(self._clock()) + self.lifetime)
                self._logins[token] = login
                if len(self._logins) > self.most_logins:
                    del self._logins[next(iter(self._logins))]
                return json_response(200, {"code": 0, "data": {"token": token, "expires_at": login.expires_at}})
        return _no(400, "a login needs platform=fingerprint and a fingerprint of 32 hex digits")

    def _ask(self, request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        login = self._logins.get(token) if kind.lower() == "bearer" else None
        if login is None or not login.left or self._clock() >= login.expires_at:
            return _no(401, "the login is unknown, used up or expired")
        match parsed(request.body):
            case {"content": str(prompt), "model": str(model), "accept": "stream", **rest} if prompt.strip():
                login.left -= 1
                return json_response(200, {"code": 0, "data": {"token": self._remember(prompt, model, _temperature(rest))}})
        return _no(400, "an ask needs content, model and accept=stream")

    def _remember(self, prompt: str, model: str, temperature: float) -> str:
        now = self._clock()
        token = self._token()
        self._asks[token] = chat_request = _Ask(prompt, model, temperature, now + self.patience)
        self._waiting += chat_request.weight
        while (oldest := next(iter(self._asks))) != token:
            if self._asks[oldest].until > now and self._waiting <= self.most_waiting:
                break
            self._take(oldest)
        return token

    def _take(self, token: str) -> _Ask | None:
        chat_request = self._asks.pop(token, None)
        if chat_request is not None:
            self._waiting -= chat_request.weight
        return chat_request

    def _stream(self, request: Request) -> Response | SiteRequest:
        chat_request = self._take(request.query.get("token", ""))
        if chat_request is None or self._clock() >= chat_request.until:
            return _no(401, "the stream is unknown, fetched already or expired")
        messages = [{"role": "user", "content": chat_request.prompt}]
        return SiteRequest(
            chat_request.prompt, messages, StreamWriter(), chat_request.model, {"temperature": chat_request.temperature}
        )


def _temperature(rest: Mapping[Any, object]) -> float:
    match rest.get("temperature"):
        case int() | float() as number:
            return number
    return 0


def _no(status: int, message: str) -> Response:
    return json_response(status, {"code": status, "message": message})
