"""opchatgpts.net, and any other site with the WordPress plugin AI Engine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..calls.call import Call
from ..errors import BadReply, ChallengeRequired, StatusError, redact
from ..events import Event
from ..types import Messages
from ..wire.sites import ai_engine
from ..wire.sites.ai_engine import AIEngineBot, Overrides
from ..wire.sites.ai_engine_site import AIEngineSite
from ._browser import USER_AGENT, host_of, origin_of, page_url
from .contract import AsyncGeneratorProvider

if TYPE_CHECKING:
    from ..transport import StreamResponse, StreamSession

_PAGE = "/chatgpt-free-use/"
"""The page that the original client sent as its referer; a nonce is looked up there."""


def headers_for(page: str) -> dict[str, str]:
    """The headers that the original client sent with every request, as if from that page."""
    host = host_of(page)
    return {
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Language": "en-US,en;q=0.9",
        "Origin": origin_of(page),
        "Alt-Used": host,
        "Referer": urlsplit(page)._replace(netloc=host, fragment="").geturl(),
        "Sec-Fetch-Dest": "empty",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
    }


class Opchatgpts(AsyncGeneratorProvider):
    """Uses the bot ``default`` at ``base_url``, as the original client did; with ``page``, the first bot of that page.

    A nonce is fetched when the site requires one, and an expired one is renewed once. The last message is sent as the user's;
    of those before it the server keeps the last 14. ``temperature``, ``max_tokens`` and system
    messages take effect up to version 2.0.8; later ones pass them over.
    """

    url = "https://opchatgpts.net"
    working = False
    evidence = (
        "the public site no longer exists; the protocol is tested against recordings of AI Engine 1.9.99, 2.0.8 and 2.5.2"
    )
    supports_message_history = True
    supports_gpt_35_turbo = True
    site = AIEngineSite

    @classmethod
    async def reply(
        cls,
        model: str | None,
        messages: Messages,
        call: Call,
        *,
        page: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> AsyncGenerator[list[Event], None]:
        """``page`` is the path or URL of the page with the chat; without it nothing is fetched before the request."""
        page_address = page_url(call.base_url, _PAGE if page is None else page)
        overrides = Overrides(temperature=temperature, max_tokens=max_tokens)
        chat = secrets.token_urlsafe(8)
        bot = AIEngineBot(f"{call.base_url}/wp-json")
        body = ai_engine.question(messages, bot, chat, overrides)  # before anything is sent: it may be rejected here
        async with call.session(headers_for(page_address)) as session:
            if page is not None:
                bot = await _bot_of(session, page_address)
                bot = replace(bot, nonce=bot.nonce or await _session_nonce(session, bot))
                body = ai_engine.question(messages, bot, chat, overrides)
            response = await _submit(session, bot, body)
            if not response.ok:
                response = await _submit(session, await _renewed(session, response, bot, page_address), body)
            if not response.ok:
                raise response.error(ai_engine.refusal(response.status, await response.read()))
            async with aclosing(response.events(ai_engine.Reader())) as batches:
                async for batch in batches:
                    yield batch


async def _submit(session: StreamSession, bot: AIEngineBot, body: dict[str, object]) -> StreamResponse:
    # Every version rejects an empty nonce, and only those that require one reject a missing one.
    headers = {"X-WP-Nonce": bot.nonce} if bot.nonce else {}
    return await session.post(bot.submit_url, json=body, headers=headers)


async def _bot_of(session: StreamSession, page: str) -> AIEngineBot:
    async with session.get(page, headers={"Cache-Control": "no-cache"}) as response:
        if not response.ok:
            raise response.error(f"cannot load the page {redact(page)}")
        if not ai_engine.same_host(response.url, page):
            raise BadReply(f"the page has moved to another host, {redact(response.url)}: to use it, pass its address")
        return ai_engine.bot_of(await response.text(), response.url)


async def _session_nonce(session: StreamSession, bot: AIEngineBot) -> str | None:
    """The nonce of ``start_session``. Before 2.4.4 there is none, and a page without a nonce needs none."""
    async with session.post(bot.session_url, headers={"Content-Type": "application/json"}) as response:
        return ai_engine.nonce_of(await response.read()) if response.ok else None


async def _renewed(session: StreamSession, response: StreamResponse, bot: AIEngineBot, page: str) -> AIEngineBot:
    """The bot with a new nonce; raises the site's error if it is not about the nonce, or no other nonce is available."""
    body = await response.read()
    obstacle: StatusError = response.error(ai_engine.refusal(response.status, body))
    if not ai_engine.is_nonce_failure(response.status, body):
        raise obstacle
    nonce = None
    try:
        nonce = (await _bot_of(session, page)).nonce
    except ChallengeRequired as wall:
        obstacle = wall
    except (BadReply, StatusError):
        pass  # no such page, or no chat in it: start_session needs none
    if nonce in (None, bot.nonce):  # a cache may return the expired one again
        nonce = await _session_nonce(session, bot)
    if nonce in (None, bot.nonce):
        raise obstacle
    return replace(bot, nonce=nonce)
