"""The services asked with aiohttp and json alone, as a program does that needs one of them and no library: the floor.

A session a call, the steps in order, lines as aiohttp cuts them. No limits, no verdicts, no clocks of its own, and errors
only where aiohttp raises them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import ClientSession

Pieces = AsyncGenerator[str, None]
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/117.0.0.0 Safari/537.36"
BROWSER = {
    "accept": "*/*",
    "accept-language": "en-US,en;q=0.9",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
    "user-agent": AGENT,
}
SAID = "Why is the sky blue?"


async def opchatgpts(base: str) -> Pieces:
    asked = {
        "botId": "default",
        "chatId": "abcdefghij",
        "contextId": 28,
        "customId": None,
        "messages": [{"role": "user", "content": SAID}],
        "newMessage": SAID,
        "session": "N/A",
        "stream": True,
    }
    async with ClientSession(headers={**BROWSER, "origin": base, "referer": f"{base}/chatgpt-free-use/"}) as session:
        async with session.post(f"{base}/wp-json/mwai-ui/v1/chats/submit", json=asked) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    if event["type"] == "live":
                        yield event["data"]
                    elif event["type"] == "end":
                        break


async def chatgptt(base: str) -> Pieces:
    async with ClientSession(
        headers={**BROWSER, "accept": "application/json", "origin": base, "referer": f"{base}/chat"}
    ) as session:
        async with session.get(f"{base}/") as response:
            response.raise_for_status()
            page = await response.text()
        nonce, post = re.search(r'data-nonce="([^"]+)"', page), re.search(r'data-post-id="([^"]+)"', page)
        assert nonce is not None
        assert post is not None
        form = {
            "_wpnonce": nonce[1],
            "post_id": post[1],
            "url": base,
            "action": "wpaicg_chat_shortcode_message",
            "message": SAID,
            "bot_id": "0",
            "chatbot_identity": "shortcode",
            "wpaicg_chat_client_id": "0123456789",
            "wpaicg_chat_history": "",
        }
        async with session.post(f"{base}/wp-admin/admin-ajax.php", data=form) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    if line.startswith(b"data: [DONE]"):
                        break
                    text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                    if text:
                        yield text


_login: dict[str, Any] = {"left": 0}


async def gptalk(base: str) -> Pieces:
    now = int(time.time())
    auth = {"x-auth-appid": "2229", "x-auth-openid": "", "x-auth-platform": "", "x-auth-timestamp": str(now)}
    async with ClientSession(headers={**BROWSER, **auth, "origin": base}) as session:
        if _login["left"] == 0:
            who = {"fingerprint": "0" * 32, "platform": "fingerprint"}
            async with session.post(f"{base}/api/chatgpt/user/login", json=who) as response:
                response.raise_for_status()
                _login.update((await response.json())["data"], left=5)
        _login["left"] -= 1
        asked = {
            "content": SAID,
            "accept": "stream",
            "from": 1,
            "model": "gpt-3.5-turbo",
            "is_mobile": 0,
            "user_agent": AGENT,
            "is_open_ctx": 0,
            "prompt": "",
            "roid": 111,
            "temperature": 0,
            "ctx_msg_count": 3,
            "created_at": now,
        }
        bearer = {"authorization": f"Bearer {_login['token']}"}
        async with session.post(f"{base}/api/chatgpt/chatapi/text", json=asked, headers=bearer) as response:
            response.raise_for_status()
            token = (await response.json())["data"]["token"]
        seen = 0
        async with session.get(f"{base}/api/chatgpt/chatapi/stream", params={"token": token}) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: "):
                    if line.startswith(b"data: [DONE]"):
                        break
                    whole = json.loads(line[6:])["content"]
                    yield whole[seen:]
                    seen = len(whole)


async def chatgptduo(base: str) -> Pieces:
    async with ClientSession(headers={**BROWSER, "origin": base}) as session:
        async with session.post(f"{base}/", data={"prompt": SAID, "search": SAID, "purpose": "ask"}) as response:
            response.raise_for_status()
            yield (await response.json())["answer"]


_session: list[ClientSession] = []


async def openai(base: str) -> Pieces:
    if not _session:
        _session.append(ClientSession())  # one for all calls, as its documentation says
    asked = {"model": "m", "messages": [{"role": "user", "content": SAID}], "stream": True}
    async with _session[0].post(f"{base}/v1/chat/completions", json=asked) as response:
        response.raise_for_status()
        async for line in response.content:
            if line.startswith(b"data: "):
                if line.startswith(b"data: [DONE]"):
                    break
                text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if text:
                    yield text


async def aichat(base: str) -> Pieces:
    asked = {"message": SAID, "temperature": 0.5, "presence_penalty": 0, "top_p": 1, "frequency_penalty": 0}
    async with ClientSession(headers={**BROWSER, "origin": base}, cookies={"session": "abc"}) as session:
        async with session.post(f"{base}/api/text", json=asked) as response:
            response.raise_for_status()
            yield (await response.json())["message"]
