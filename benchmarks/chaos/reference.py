"""The least that a careful router is, to measure beside: one file, no settings. ``PORT BACKEND_PORT…``.

A target is asked in the order given, if it does not rest. Nothing is sent to the client before a first piece that can be
read, so that a failure until then is retried elsewhere: after 1.5 s without one (3 s for a whole reply) if another is left.
Who says when to come back is left alone until then; three failures in a row are a rest of 1 s, doubled up to 8 s, after which
one request tries. Retries are at most a tenth of the requests, and three a second. A stream that ends without its end is told
as an error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web

FIRST, WHOLE, LAST = 1.5, 3.0, 15.0
STREAK, REST, LONGEST = 3, 1.0, 8.0


class Sick(Exception):
    """An attempt that failed before anything of it was sent on; ``rest`` is what the target said."""

    rest = 0.0


class Target:
    def __init__(self, port: str) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self.failures, self.pause, self.until, self.trying = 0, REST, 0.0, False

    def may_be_asked(self, now: float) -> bool:
        return now >= self.until and not (self.failures >= STREAK and self.trying)

    def failed(self, rest: float) -> None:
        self.failures += 1
        if rest:
            self.until = max(self.until, monotonic() + rest)
        elif self.failures >= STREAK:
            self.until = max(self.until, monotonic() + self.pause)
            self.pause = min(LONGEST, 2 * self.pause)

    def answered(self) -> None:
        self.failures, self.pause = 0, REST


class Router:
    def __init__(self, ports: list[str]) -> None:
        self.targets = [Target(port) for port in ports]
        self.budget = 3.0
        self.refilled = monotonic()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.budget += 0.1
        tried: list[Target] = []
        while (target := self.next_target(tried)) is not None:
            if tried and not self.may_retry():
                break
            tried.append(target)
            target.trying = True
            try:
                return await self.ask(request, body, target, is_last=self.next_target(tried) is None)
            except Sick as error:
                target.failed(error.rest)
            finally:
                target.trying = False
        soonest = max(1.0, min(target.until for target in self.targets) - monotonic())
        return web.json_response({"error": {"message": "no target"}}, status=503, headers={"retry-after": f"{soonest:.0f}"})

    def next_target(self, tried: list[Target]) -> Target | None:
        now = monotonic()
        return next((each for each in self.targets if each not in tried and each.may_be_asked(now)), None)

    def may_retry(self) -> bool:
        now = monotonic()
        self.budget = min(30.0, self.budget + 3 * (now - self.refilled))
        self.refilled = now
        if self.budget < 1:
            return False
        self.budget -= 1
        return True

    async def ask(self, request: web.Request, body: dict[str, Any], target: Target, *, is_last: bool) -> web.StreamResponse:
        stream = body.get("stream")
        clock = LAST if is_last else FIRST if stream else WHOLE
        try:
            async with asyncio.timeout(clock) as first:
                async with self.session.post(target.url, json=body) as response:
                    if response.status != 200:
                        raise self.sick(response.headers.get("retry-after"))
                    if not stream:
                        return self.whole(await response.read(), target)
                    events = self.events(response)
                    begun = await anext(events, None)
                    if begun is None or not meaning(begun):
                        raise Sick
                    first.reschedule(None)
                    return await self.relayed(request, begun, events, target)
        except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
            raise Sick from error

    def sick(self, told: str | None) -> Sick:
        error = Sick()
        error.rest = float(told) if told and told.isdigit() else 0.0
        return error

    def whole(self, content: bytes, target: Target) -> web.Response:
        if "choices" not in json.loads(content):
            raise Sick
        target.answered()
        return web.Response(body=content, content_type="application/json")

    async def events(self, response: aiohttp.ClientResponse) -> Any:
        rest = b""
        async for data in response.content.iter_any():
            *events, rest = (rest + data).split(b"\n\n")
            for event in events:
                yield event
            if len(rest) > 1 << 20:
                raise ValueError("an event without end")

    async def relayed(self, request: web.Request, begun: bytes, events: Any, target: Target) -> web.StreamResponse:
        """The stream; from here on a failure is told in it, and not retried."""
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        await out.write(begun + b"\n\n")
        ended = False
        try:
            async for event in events:
                value = meaning(event)
                if not value:
                    break
                ended = ended or value == "end"
                await out.write(event + b"\n\n")
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ValueError):
            ended = False
        if ended:
            target.answered()
        else:
            target.failed(0)
            await out.write(b'data: {"error":{"message":"the backend broke off","type":"server_error"}}\n\n')
        return out


def meaning(event: bytes) -> str:
    """``end`` for what ends a reply, ``piece`` for more of it, nothing for an error. Raises ``ValueError`` for no JSON."""
    data = event.removeprefix(b"data:").strip()
    if data == b"[DONE]":
        return "piece"
    value = json.loads(data)
    if not value.get("choices"):
        return "" if "error" in value else "piece"
    return "end" if value["choices"][0].get("finish_reason") else "piece"


async def serve() -> None:
    router = Router(sys.argv[2:])
    app = web.Application()
    app.router.add_post("/v1/chat/completions", router.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, connect=5)
    ) as router.session:
        await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
