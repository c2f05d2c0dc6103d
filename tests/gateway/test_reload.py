"""A configuration that comes into force while requests run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.config import Config
from polychat.config.settings import Limits, Route
from polychat.errors import PolychatError

from ..support.running_gateway import DONE, END, FIRST, Stage, asking, configured, fault, gateway, good, row, text


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_running_streams_keep_the_old(serve: Any, dialect: str) -> None:
    """A stream goes on where it began; the next request goes by the new file, under the same name and without the old key."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    old, new = await serve(stage), await serve(good)
    async with gateway(configured({"house": row("openai-chat", old.url)}, limits=Limits(concurrent=1))) as here:
        caller = await here.caller()
        path, body = asking(dialect, stream=True)
        caller.ask(path, body)
        await caller.head()
        await caller.until(b"Hel")
        assert (await here.ask(path, body)).status == 429
        here.app.reload(configured({"house": row("openai-chat", new.url)}))
        answer = await here.ask(path, body)
        assert (answer.status, len(new.seen), len(old.seen)) == (200, 1, 1)
        stage.go.set()
        rest = await caller.rest()
        await here.app.recorded(3)
    assert b"lo" in rest
    assert b"error" not in rest
    assert {record.verdict for record in here.records} == {None, "complete"}


async def test_a_request_that_waits_for_its_second_target(serve: Any) -> None:
    """Goes by the rules it began with, all of them: its route leads where it led."""
    stage = Stage(None, then=fault(500))
    first, second, third = await serve(stage), await serve(good), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    routes = {"fast": ("house/small", "other/small")}
    async with gateway(configured(providers, routes=routes)) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "fast"))
        await stage.asked.wait()
        here.app.reload(configured({name: row("openai-chat", third.url) for name in providers}, routes=routes))
        stage.go.set()
        assert (await caller.whole()).status == 200
    assert (len(second.seen), len(third.seen)) == (1, 0)


async def test_keys_that_are_taken_away(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on: the one that went is refused, the one that came is let in."""
    monkeypatch.setenv("OLD", "an-old-key-of-theirs")
    monkeypatch.setenv("NEW", "a-new-key-of-theirs")
    async with gateway(configured({}, keys={"them": "env:OLD"})) as here:
        old, new = {"x-api-key": "an-old-key-of-theirs"}, {"x-api-key": "a-new-key-of-theirs"}
        assert [(await here.ask("/v1/models", headers=key)).status for key in (old, new)] == [200, 401]
        here.app.reload(configured({}, keys={"them": "env:NEW"}))
        assert [(await here.ask("/v1/models", headers=key)).status for key in (old, new)] == [401, 200]


BROKEN: dict[str, Any] = {
    "a route to nowhere": lambda url: configured({"house": row("openai-chat", url)}, routes={"fast": ("nobody/x",)}),
    "a circle": lambda url: configured({}, routes={"a": ("b",), "b": ("a",)}),
    "a key that is not there": lambda url: configured({}, keys={"a": "env:NOT_THERE"}),
    "a short key": lambda url: configured({}, keys={"a": "env:SHORT"}),
    "sites that nobody answers": lambda url: configured({"house": row("openai-chat", url, serves=["else"])}, sites="nobody/x"),
    "a provider that is none": lambda url: configured(
        {"house": {"wire": "openai-chat"}, "b": {"base_url": url}}, routes={"a": ("b/x",)}
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_cannot_be_served_changes_nothing(serve: Any, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Neither routes, nor addresses, nor keys, nor limits; the error says what is wrong."""
    monkeypatch.setenv("SHORT", "short")
    old, new = await serve(good), await serve(good)
    config = configured({"house": row("openai-chat", old.url)}, routes={"fast": ("house/small",)}, cors=("https://a.example",))
    async with gateway(config) as here:
        runtime, served = here.app.runtime, (await here.ask("/v1/models")).body
        with pytest.raises(PolychatError):
            here.app.reload(BROKEN[broken](new.url))
        assert here.app.runtime is runtime
        assert (await here.ask("/v1/models")).body == served
        for model in ("fast", "house/small", "house/another-that-nobody-asked-for-yet"):
            assert (await here.ask(*asking("openai-chat", model))).status == 200
        answer = await here.ask("/v1/models", headers={"origin": "https://a.example"})
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert (len(old.seen), len(new.seen)) == (3, 0)


async def test_what_is_known_of_targets_stays(serve: Any) -> None:
    """A backend that sent ``retry-after`` is still skipped, by whatever file."""
    busy, other = await serve(fault(429, "rate_limit_error", retry_after="60")), await serve(good)
    providers = {"house": row("openai-chat", busy.url), "other": row("openai-chat", other.url)}

    def config_of() -> Config:
        return configured(providers, routes={"fast": Route(("house/small", "other/small"), strategy="ordered")})

    async with gateway(config_of()) as here:
        assert (await here.ask(*asking("openai-chat", "fast"))).headers["x-polychat-attempts"] == "2"
        here.app.reload(config_of())
        assert (await here.ask(*asking("openai-chat", "fast"))).headers["x-polychat-attempts"] == "1"
    assert len(busy.seen) == 1


async def test_what_is_known_of_a_target_is_not_of_the_next_one_of_its_name(serve: Any) -> None:
    """A backend that has moved to another address is asked at once; of the one beside it, what is known stays."""
    busy, well = await serve(fault(429, "rate_limit_error", retry_after="60")), await serve(good)

    def config_of(url: str) -> Config:
        return configured({"house": row("openai-chat", url), "beside": row("openai-chat", busy.url)})

    async with gateway(config_of(busy.url)) as here:
        for model in ("house/small", "beside/small"):
            assert (await here.ask(*asking("openai-chat", model))).status == 429
        here.app.reload(config_of(well.url))
        assert (await here.ask(*asking("openai-chat", "house/small"))).status == 200
        assert (await here.ask(*asking("openai-chat", "beside/small"))).status == 429
    assert (len(busy.seen), len(well.seen)) == (2, 1)


async def test_a_file_that_breaks_meanwhile_touches_nobody(serve: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not who asks a vendor, and not who asks a model of this machine, whose names the file holds too."""
    monkeypatch.chdir(tmp_path)
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        (tmp_path / config.FILE).write_text('[gateway]\nhots = "x"\n', encoding="utf-8")
        path, body = asking("openai-chat")
        assert (await here.ask(path, body)).status == 200
        answer = await here.ask("/v1/models")
        refused = await here.ask(*asking("openai-chat", "local/no-such-model"))
    assert (answer.status, refused.status) == (200, 404)
    assert b"hots" not in refused.body


async def test_what_was_missing_is_looked_for_again(serve: Any, tmp_path: Path) -> None:
    """A target whose key is there at a reload is no longer not-ready, and is asked in its turn."""
    server, key = await serve(good), tmp_path / "key"
    providers = {"one": row("openai-chat", server.url, api_key=f"file:{key}"), "two": row("openai-chat", server.url)}
    routes = {"house": Route(targets=("one/small", "two/small"), strategy="ordered")}
    config_of = partial(configured, providers, routes=routes)
    path, body = asking("openai-chat", "house")
    async with gateway(config_of()) as here:
        for _ in range(3):
            assert (await here.ask(path, body)).status == 200
        (facts,) = (facts for facts in here.app.health.every() if facts.name == "one/small")
        assert str(key) in facts.missing
        here.app.reload(config_of())
        assert facts.missing == ""
        await here.ask(path, body)
        assert str(key) in facts.missing
        key.write_text("the-key-of-one")
        here.app.reload(config_of())
        await here.ask(path, body)
    keys = [seen.headers.get("authorization") for seen in server.seen]
    assert keys == [None, None, None, None, "Bearer the-key-of-one"]
