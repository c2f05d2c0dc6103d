"""One request by one class of a gpt4free release, its code as released; ``gpt4free_releases.asked`` runs this file.

Of the class only its addresses are moved: ``url`` and ``api_endpoint``, and where it names its site in a call, that call's.
"""

import asyncio
import importlib
import json
import os
import sys
import types
from typing import Any

order = json.load(sys.stdin)
root = os.path.join(order["folder"], order["release"])
sys.path[:0] = [root, os.path.join(order["folder"], "shared")]
PLACES = {
    ("0.1.9.2", "ChatgptDuo"): "g4f.Provider.deprecated.ChatgptDuo",
    ("0.4.2.0", "Aichat"): "g4f.Provider.deprecated.Aichat",
    ("0.4.2.0", "Opchatgpts"): "g4f.Provider.deprecated.Opchatgpts",
    ("0.4.2.0", "GPTalk"): "g4f.Provider.deprecated.GPTalk",
    ("0.4.2.0", "ChatGptt"): "g4f.Provider.ChatGptt",
}


def loaded(place: str) -> Any:
    if order["release"] == "0.1.9.2":
        # Its packages import all its providers, which want a browser to drive and more: the one class is imported alone.
        for name in ("g4f", "g4f.Provider", "g4f.Provider.deprecated"):
            package = types.ModuleType(name)
            package.__path__ = [os.path.join(root, *name.split("."))]
            sys.modules[name] = package
    return importlib.import_module(place)


def moved(module: Any, provider: Any, base: str) -> None:
    site = provider.url
    if hasattr(provider, "api_endpoint"):
        provider.api_endpoint = provider.api_endpoint.replace(site, base)
    provider.url = base
    if order["name"] == "Aichat":  # its method names the site itself

        class Moved(module.StreamSession):
            def post(self, url: str, **more: Any) -> Any:
                return super().post(url.replace("https://chat-gpt.org", base), **more)

        module.StreamSession = Moved


async def pieces(provider: Any) -> list[str]:
    messages = [{"role": "user", "content": order["message"]}]
    if hasattr(provider, "create_async_generator"):
        return [piece async for piece in provider.create_async_generator("gpt-4o", messages, **order["settings"])]
    return [await provider.create_async("gpt-4o", messages, **order["settings"])]


module = loaded(PLACES[order["release"], order["name"]])
provider = getattr(module, order["name"])
moved(module, provider, order["base"])
try:
    result = {"pieces": asyncio.run(pieces(provider))}
except Exception as error:  # whatever it raises is what the test is told
    result = {"error": f"{type(error).__name__}: {error}"}
print(json.dumps(result))
