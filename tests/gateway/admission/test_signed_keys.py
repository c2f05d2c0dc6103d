"""Keys that no database has, at the gateway and in the command that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polychat.cli import main
from polychat.config.access import SignedKeySettings
from polychat.config.settings import KeySettings
from polychat.errors import BadInput
from polychat.gateway.admission.guesses import GUESSES

from ...support.running_gateway import Running, asking, configured, gateway, good, row

PATH, BODY = asking("openai-chat")
SETTINGS = SignedKeySettings(secret="env:SIGNING_SECRET")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_SECRET", "the-secret-of-all-signed-keys-of-this-test")


@pytest.fixture
def signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``polychat gateway keys sign``, and gives the key and its id, or the error."""
    file = tmp_path / "polychat.toml"
    file.write_text('[gateway.signed_keys]\nsecret = "env:SIGNING_SECRET"\n')

    def run(*arguments: str) -> tuple[str, str]:
        code = main(["gateway", "keys", "sign", *arguments, "--config", str(file)])
        out, err = capsys.readouterr()
        assert code == (0 if out else 2)
        return out.strip(), err.split("signed key ")[-1].split(" ")[0] if out else err

    return run


async def status(running: Running, key: str, body: Any = BODY) -> int:
    return (await running.ask(PATH, body, headers={"authorization": f"Bearer {key}"})).status


async def test_a_signed_key_needs_no_store(signed: Any, serve: Any) -> None:
    """It is booked by its id and owner, limited by what it says, and refused when the file revokes it."""
    key, name = signed("laptop", "--person", "ada", "--team", "red", "--expires", "1d", "--models", "house/*", "--rpm", "3")
    backend = await serve(good)
    base = configured(
        {"house": row("openai-chat", backend.url), "other": row("openai-chat", backend.url)}, signed_keys=SETTINGS
    )
    async with gateway(base) as running:
        assert await status(running, "") == 401, "a gateway with signed keys is closed"
        assert await status(running, key, asking("openai-chat", "other/small")[1]) == 403
        assert [await status(running, key) for _ in range(4)] == [200, 200, 200, 429]
        record = (await running.app.recorded(3))[2]
        assert (record.key, record.ownership.person, record.ownership.team) == (name, "ada", "red")
        running.app.reload(configured(base.providers, signed_keys=SETTINGS.replace(revoked=(name,))))
        refused = await running.ask(PATH, BODY, headers={"authorization": f"Bearer {key}"})
        assert (refused.status, refused.json["error"]["message"]) == (401, "the signed API key is revoked")
        running.app.reload(configured(base.providers, keys={"one": "env:SIGNING_SECRET"}))
        assert await status(running, key) == 401


async def test_a_signed_key_expires_where_it_is_known(signed: Any, serve: Any) -> None:
    """Also on a connection that used it before."""
    key, _ = signed("laptop", "--expires", "1h")
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, signed_keys=SETTINGS)) as running:
        caller, statuses = await running.caller(), []
        accounting = running.app.accounting
        assert accounting is not None
        clock = accounting.clock
        for number in range(4):
            if number == 3:
                accounting.clock = lambda: clock() + 3600
            caller.ask(PATH, BODY, headers={"x-api-key": key})
            statuses.append((await caller.whole()).status)
        assert statuses == [200, 200, 200, 401]
        assert (await running.ask("/metrics", headers={"authorization": f"Bearer {key}"})).status == 401
        accounting.clock = clock
        assert (await running.ask("/metrics", headers={"authorization": f"Bearer {key}"})).status == 200


async def test_forgers_are_slowed_down(signed: Any) -> None:
    """So many wrong signatures from one address, and the next is refused without a look; good ones are answered."""
    key, _ = signed("laptop", "--expires", "1h")
    async with gateway(configured({}, signed_keys=SETTINGS)) as running:
        assert await status(running, key) != 401
        forged = [key[:-1] + ("A" if key[-1] != "A" else "E")] * GUESSES
        assert {await status(running, text) for text in forged} == {401}
        assert await status(running, forged[0]) == 429
        assert await status(running, key) not in (401, 429)


def test_a_key_that_no_gateway_would_accept_is_not_made(signed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to change."""
    assert "choose a later time" in signed("laptop", "--expires", "2020-01-01")[1]
    assert "longest_days" in signed("laptop", "--expires", "500d")[1]
    monkeypatch.setenv("SIGNING_SECRET", "short")
    assert "fewer than 32 characters" in signed("laptop", "--expires", "1d")[1]


async def test_a_reload_keeps_what_was_accepted(signed: Any, serve: Any) -> None:
    """Requests under way go on; one that is refused changes nothing, and one that revokes the key does."""
    key, name = signed("laptop", "--expires", "1d")
    backend = await serve(good)
    base = configured({"house": row("openai-chat", backend.url)}, signed_keys=SETTINGS)
    async with gateway(base) as running:
        assert await status(running, key) == 200
        accounting = running.app.accounting
        assert accounting is not None
        running.app.reload(configured(base.providers, signed_keys=SETTINGS))
        assert accounting.account(name) is not None or accounting.is_accepted(name)
        with pytest.raises(BadInput, match="encryption_keys"):
            running.app.reload(
                configured(base.providers, signed_keys=SETTINGS, key_settings={"me": KeySettings(keep_text=True)})
            )
        assert await status(running, key) == 200
