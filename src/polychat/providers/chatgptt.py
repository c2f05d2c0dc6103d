"""chatgptt.me, and any other site with the WordPress plugin AI Power."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from ..calls.call import Call
from ..errors import Unauthorized, redact
from ..events import Event
from ..prompt import prompt_of
from ..types import Messages
from ..wire.sites import ai_power
from ..wire.sites.ai_power import AIPowerBot
from ..wire.sites.ai_power_site import AIPowerSite
from ._browser import USER_AGENT, host_of, origin_of, page_url
from .contract import AsyncGeneratorProvider, ProviderModelMixin

if TYPE_CHECKING:
    from ..transport import StreamResponse, StreamSession


def headers_for(base_url: str) -> dict[str, str]:
    """The headers that the original client sent with every request."""
    return {
        "authority": host_of(base_url),
        "accept": "application/json",
        "origin": origin_of(base_url),
        "referer": f"{_bare(base_url)}/chat",
        "user-agent": USER_AGENT,
    }


def _bare(url: str) -> str:
    """``url`` without a user and password."""
    return urlsplit(url)._replace(netloc=host_of(url)).geturl()


class ChatGptt(AsyncGeneratorProvider, ProviderModelMixin):
    """Reads a nonce from the page, then sends the request; an expired nonce is renewed once.

    Which model answers is the site's choice: this protocol has no field for it, so ``model`` is not sent. Whether the answer
    streams is the site's choice too. The conversation goes as one prompt.
    """

    url = "https://chatgptt.me"
    api_endpoint = "https://chatgptt.me/wp-admin/admin-ajax.php"
    working = False
    evidence = "the public site no longer exists; the protocol is tested against recordings of AI Power 1.8.99"
    supports_system_message = True
    supports_message_history = True
    default_model = "gpt-4o"
    models: ClassVar[list[str]] = ["gpt-4", "gpt-4o", "gpt-4o-mini"]
    site = AIPowerSite

    @classmethod
    async def reply(
        cls, model: str | None, messages: Messages, call: Call, *, page: str | None = None
    ) -> AsyncGenerator[list[Event], None]:
        """``page`` is the path or URL of the page with the chat; by default the home page."""
        prompt = ai_power.checked(prompt_of(messages))
        page_address = call.base_url if page is None else page_url(call.base_url, page)
        client_id = secrets.token_hex(5)
        async with call.session(headers_for(call.base_url)) as session:
            endpoint = cls.api_endpoint if call.base_url == cls.url else call.base_url + ai_power.AJAX
            bot = await _bot_of(session, page_address)
            # The original client named the site; another page names itself.
            address = _bare(call.base_url) if page is None else bot.url or _bare(page_address)
            response = await session.post(endpoint, data=ai_power.question(prompt, bot, address, client_id))
            if not response.ok:
                bot = await _renewed(session, response, bot, page_address)
                response = await session.post(endpoint, data=ai_power.question(prompt, bot, address, client_id))
            if not response.ok:
                raise response.error(ai_power.refusal(response.status, await response.read()))
            async with aclosing(response.events(ai_power.Reader())) as batches:
                async for batch in batches:
                    yield batch


async def _bot_of(session: StreamSession, page: str, *, fresh: bool = False) -> AIPowerBot:
    # A cache may return pages with an expired nonce. It may ignore the headers, but it distinguishes queries.
    headers = {"cache-control": "no-cache", "pragma": "no-cache"} if fresh else {}
    params = {"fresh": secrets.token_hex(4)} if fresh else None
    async with session.get(page, headers={"accept": "text/html,*/*", **headers}, params=params) as response:
        if not response.ok:
            raise response.error(f"cannot load the page {redact(page)}; name the page with the chat in the option page")
        return ai_power.bot_of(await response.text(), page)


async def _renewed(session: StreamSession, response: StreamResponse, bot: AIPowerBot, page: str) -> AIPowerBot:
    """The chat with another nonce; raises the site's error if it is not about the nonce, or the page still has the same."""
    refused = response.error(ai_power.refusal(response.status, await response.read()))
    if not isinstance(refused, Unauthorized):
        raise refused
    renewed = await _bot_of(session, page, fresh=True)
    if renewed.nonce == bot.nonce:
        raise refused
    return renewed
