"""Ask a server of your own that speaks OpenAI's API: one call with a tool, one answer as a value.

Run: python examples/own_server.py "How warm is it in Oslo?" http://127.0.0.1:8000
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

import polychat
from polychat.types import ChatMessage, Message

WEATHER = {
    "name": "weather",
    "description": "The weather in a city now",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@dataclass
class Answer:
    city: str
    celsius: int


def weather(city: str) -> str:
    return json.dumps({"city": city, "celsius": 4, "sky": "rain"})


async def main(question: str, url: str) -> None:
    house = polychat.Client("openai/any-model", base_url=f"{url}/v1", api_key="none", timeout=60)
    asked: list[Message | ChatMessage] = [{"role": "user", "content": question}]
    reply = await house.ask(asked, tools=[WEATHER])
    conversation = [*asked, reply.turn()]
    for call in reply.tool_calls:
        print(f"{call.name}({call.arguments})")
        given = weather(**json.loads(call.arguments))
        conversation.append({"role": "tool", "tool_call_id": call.id, "content": given})
    answer = await house.ask(conversation, tools=[WEATHER], tool_choice="none", schema=Answer)
    print(answer.parsed)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
