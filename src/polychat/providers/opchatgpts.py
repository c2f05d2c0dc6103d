"""opchatgpts.net, and any other site with the WordPress plugin AI Engine."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ChatNotFound, StatusError
from ..events import Event
from ..types import Messages
from ..wire import ai_engine
from ..wire.ai_engine import Bot, Overrides
from ..wire.ai_engine_site import AIEngineSite
from ._base import AsyncGeneratorProvider
from ._browser import USER_AGENT, host_of, origin_of, page_url
from ._call import Call

if TYPE_CHECKING:
    from ..transport import StreamResponse, StreamSession

_PAGE = "/chatgpt-free-use/"
"""Where the seed's client said it came from; its nonce is looked for there."""


def headers_for(base_url: str) -> dict[str, str]:
    """What the seed's client sent with everything."""
    return {
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Language": "en-US,en;q=0.9",
        "Origin": origin_of(base_url),
        "Alt-Used": host_of(base_url),
        "Referer": f"{base_url}{_PAGE}",
        "Sec-Fetch-Dest": "empty",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
    }


class Opchatgpts(AsyncGeneratorProvider):
    """Asks the bot ``default`` at ``base_url``, as the seed's client did; with ``page``, the bot of that page.

    A nonce is fetched when the site asks for one, and a stale one is renewed once. The server keeps the last 15 messages, and
    takes a new one of at most 65,536 bytes. ``temperature``, ``max_tokens`` and system messages count up to version 2.0.8.
    """

    url = "https://opchatgpts.net"
    working = False
    evidence = "the public site is gone; the protocol is checked against recordings of AI Engine 1.9.99, 2.0.8 and 2.5.2"
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
        """``page`` is the path or URL of the page that holds the chat; without it nothing is fetched before the ask."""
        bot = Bot(f"{call.base_url}/wp-json")
        overrides = Overrides(temperature=temperature, max_tokens=max_tokens)
        chat = secrets.token_urlsafe(8)
        ai_engine.question(messages, bot, chat, overrides)  # what the server would refuse is refused before anything is sent
        async with call.session(headers_for(call.base_url)) as session:
            if page is not None:
                bot = await _bot_of(session, page_url(call.base_url, page))
            response = await _submit(session, bot, ai_engine.question(messages, bot, chat, overrides))
            if not response.ok:
                bot = await _renewed(session, response, bot, page_url(call.base_url, page or _PAGE))
                response = await _submit(session, bot, ai_engine.question(messages, bot, chat, overrides))
            if not response.ok:
                raise response.error(ai_engine.refusal(await response.read()))
            async with aclosing(response.events(ai_engine.Reader())) as batches:
                async for batch in batches:
                    yield batch


async def _submit(session: StreamSession, bot: Bot, asked: dict[str, object]) -> StreamResponse:
    # An empty nonce is refused by every version, a missing one only by those that want one.
    headers = {"X-WP-Nonce": bot.nonce} if bot.nonce else {}
    return await session.post(bot.submit_url, json=asked, headers=headers)


async def _bot_of(session: StreamSession, page_url: str) -> Bot:
    """The page's bot with the nonce it takes to ask it, if any: from the page, else from ``start_session``."""
    async with session.get(page_url, headers={"Cache-Control": "no-cache"}) as response:
        response.raise_for_status()
        bot = ai_engine.bot_of(await response.text(), page_url)
    return bot if bot.nonce else await _with_session(session, bot)


async def _with_session(session: StreamSession, bot: Bot) -> Bot:
    async with session.post(bot.session_url, headers={"Content-Type": "application/json"}) as response:
        # Versions before 2.4.4 have no such route: there a page without a nonce means that none is needed.
        return replace(bot, nonce=ai_engine.nonce_of(await response.read())) if response.ok else bot


async def _renewed(session: StreamSession, response: StreamResponse, bot: Bot, page_url: str) -> Bot:
    """The bot with a fresh nonce; raises the refusal where it is not about the nonce, or no other nonce can be had."""
    body = await response.read()
    refused = response.error(ai_engine.refusal(body))
    if not ai_engine.is_nonce_failure(response.status, body):
        raise refused
    try:
        fresh = await _bot_of(session, page_url)
    except (ChatNotFound, StatusError):
        fresh = await _with_session(session, bot)
    if fresh.nonce in (None, bot.nonce):
        raise refused
    return fresh
