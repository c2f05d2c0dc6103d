"""gptalk.net: log in, send the request, fetch the stream. A login is valid for five requests."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..calls.call import Call
from ..errors import BadReply, ReplyFailed, TimedOut, Unauthorized, redact
from ..events import Event
from ..prompt import byte_size, prompt_of
from ..types import Messages
from ..wire.reading import parsed
from ._browser import USER_AGENT, browser_headers
from ._gptalk_site import USES, GPTalkSite
from ._gptalk_stream import Reader, failure_in
from ._json import body_of, refusal
from ._lease import Accounts, Lease
from .contract import AsyncGeneratorProvider

if TYPE_CHECKING:
    from ..transport import StreamSession

_MODEL = "gpt-3.5-turbo"
_LOGIN_TIMEOUT = 60.0
"""Timeout of a login in seconds. It serves several requests, so it uses none of their timeouts."""


def headers_for(url: str, now: int) -> dict[str, str]:
    """The headers of every request; ``now`` is in unix seconds."""
    auth = {"x-auth-appid": "2229", "x-auth-openid": "", "x-auth-platform": "", "x-auth-timestamp": str(now)}
    return {**browser_headers(url), **auth}


def question(messages: Messages, model: str | None, user_agent: str, now: int) -> dict[str, Any]:
    """The JSON of a request. Raises ``BadInput``."""
    prompt = prompt_of(messages)
    byte_size(prompt, "messages")
    return {
        "content": prompt,
        "accept": "stream",
        "from": 1,
        "model": model or _MODEL,
        "is_mobile": 0,
        "user_agent": user_agent,
        "is_open_ctx": 0,
        "prompt": "",
        "roid": 111,
        "temperature": 0,
        "ctx_msg_count": 3,
        "created_at": now,
    }


def read_login(body: bytes) -> tuple[dict[str, Any], float]:
    """The ``data`` of a login, and its ``expires_at``. Raises ``BadReply`` and ``ReplyFailed``."""
    data = _data_with_token(body, "login")
    match data:
        case {"expires_at": int(until) | float(until)} if not isinstance(until, bool):
            return data, until
    raise BadReply("the login response has no expires_at in Unix seconds")


def read_ask(body: bytes) -> str:
    """The token of the answer's stream. Raises ``BadReply`` and ``ReplyFailed``."""
    return str(_data_with_token(body, "ask")["token"])


def _data_with_token(body: bytes, step: str) -> dict[str, Any]:
    value = parsed(body)
    match value:
        case {"data": {"token": str(token)} as data} if token.isascii() and token.isprintable() and token.strip():
            return dict(data)
        case {"data": {"token": str(token)}} if token:
            raise BadReply(f"the reply to the {step} contains a token that cannot be sent in a header")
    failure = failure_in(value)
    if failure is not None:
        raise ReplyFailed(f"the {step} failed: {failure}")
    raise BadReply(f"the reply to the {step} is not JSON with data.token: {redact(body)}")


_accounts: Accounts[dict[str, Any]] = Accounts(USES, time.time)


class _Latest:
    """The class-level state of the original, as a view: the login that plain calls use, in the running loop, else in this
    thread.
    """

    @staticmethod
    def lease(provider: type[GPTalk]) -> Lease[dict[str, Any]] | None:
        lease = _accounts.latest((provider.url, None, (), ()))
        return None if lease is None or lease.refused else lease


class _Auth(_Latest):
    def __get__(self, instance: object, provider: type[GPTalk]) -> dict[str, Any] | None:
        lease = self.lease(provider)
        return None if lease is None else dict(lease.value)


class _UsedTimes(_Latest):
    def __get__(self, instance: object, provider: type[GPTalk]) -> int:
        lease = self.lease(provider)
        return 0 if lease is None else lease.used


class GPTalk(AsyncGeneratorProvider):
    """GPTalk logs in by itself, once for five requests. Calls with the same account, proxy, address and loop share logins."""

    url = "https://gptalk.net"
    working = False
    evidence = "the public site no longer exists; the protocol is tested against an emulation of its server"
    supports_gpt_35_turbo = True
    site = GPTalkSite
    _auth: ClassVar[_Auth] = _Auth()
    used_times: ClassVar[_UsedTimes] = _UsedTimes()

    @classmethod
    async def reply(cls, model: str | None, messages: Messages, call: Call) -> AsyncGenerator[list[Event], None]:
        now = int(time.time())
        headers = headers_for(call.base_url, now)
        body = question(messages, model, _user_agent(call), now)
        async with call.session(headers) as session:
            token = await _stream_token(session, call, body)
            stream = f"{call.base_url}/api/chatgpt/chatapi/stream"
            async with session.get(stream, params={"token": token}) as response:
                if not response.ok:
                    raise await refusal(response)
                async with aclosing(response.events(Reader())) as batches:
                    async for batch in batches:
                        yield batch


def _user_agent(call: Call) -> str:
    """The header to send: the caller's overrides ours."""
    return next((value for name, value in call.headers.items() if name.lower() == "user-agent"), USER_AGENT)


async def _stream_token(session: StreamSession, call: Call, body: dict[str, Any]) -> str:
    """Send the request with a login; once more with another, if the service rejects the first."""
    lease = await _lease(call)
    try:
        return await _ask(session, call, body, lease)
    except Unauthorized:
        if not lease.refused:
            raise
    return await _ask(session, call, body, await _lease(call))


async def _ask(session: StreamSession, call: Call, body: dict[str, Any], lease: Lease[dict[str, Any]]) -> str:
    """The token of the answer's stream. A login that the service rejects is marked, for all callers."""
    bearer = {"authorization": f"Bearer {lease.value['token']}"}
    async with session.post(f"{call.base_url}/api/chatgpt/chatapi/text", json=body, headers=bearer) as response:
        if response.status == 401:
            lease.refused = True
        return read_ask(await body_of(response))


async def _lease(call: Call) -> Lease[dict[str, Any]]:
    """A login with one request of it reserved, waited for as long as this call may take."""
    try:
        async with asyncio.timeout_at(call.deadline):
            return await _accounts.take(call.account, lambda: _login(call))
    except TimedOut:
        raise
    except TimeoutError:
        raise TimedOut("total", call.timeout or 0) from None


async def _login(call: Call) -> tuple[dict[str, Any], float]:
    """A new login, and when it expires."""
    deadline = asyncio.get_running_loop().time() + _LOGIN_TIMEOUT
    login_call = replace(call, timeout=_LOGIN_TIMEOUT, deadline=deadline)
    who = {"fingerprint": secrets.token_hex(16), "platform": "fingerprint"}
    async with (
        login_call.session(headers_for(call.base_url, int(time.time()))) as session,
        session.post(f"{call.base_url}/api/chatgpt/user/login", json=who) as response,
    ):
        return read_login(await body_of(response))
