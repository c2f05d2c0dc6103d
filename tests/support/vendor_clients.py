"""The vendors' own Python clients, imported without their warnings, and what several of their tests ask for."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest

from .scripted_server import Say, Seen


def vendor_client(name: str, distribution: str = "") -> Any:
    """The module of a vendor's client; what it warns of at its import is its own.

    Skips the tests that need it, with the command that installs it, where it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name, reason=f"not installed: pip install {distribution or name}")
        return importlib.import_module(name)


class City(vendor_client("pydantic").BaseModel):  # type: ignore[misc]
    """What ``gateway_for_clients.CITY`` answers, as a type of the caller's."""

    name: str
    people: int


def vectors(wire: str) -> Any:
    """A backend whose every vector is the same."""
    vector = [0.5, 1.0]

    async def handler(seen: Seen, say: Say) -> None:
        body = seen.json
        if wire == "gemini":
            many = [{"values": vector}] * len(body["requests"]) if "requests" in body else None
            await say.whole({"embeddings": many} if many else {"embedding": {"values": vector}})
        elif wire == "ollama":
            await say.whole({"model": "small", "embeddings": [vector] * len(body["input"]), "prompt_eval_count": 2})
        else:
            many = [{"object": "embedding", "index": at, "embedding": vector} for at in range(len(body["input"]))]
            usage = {"prompt_tokens": 2, "total_tokens": 2}
            await say.whole({"object": "list", "data": many, "model": "small", "usage": usage})

    return handler
