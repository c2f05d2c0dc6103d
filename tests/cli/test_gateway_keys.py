"""``polychat gateway keys``, ``people``, ``teams`` and ``orgs``: from one key to a team's, in the database of a gateway."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from polychat.cli import gateway_key_arguments, main
from polychat.cli.arguments import parsed
from polychat.cli.gateway_key_arguments import policy_from
from polychat.errors import BadInput
from polychat.gateway.admin.policies import changed, settings_of
from polychat.state.key_text import mistake_in
from polychat.state.store import Policy

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")


@pytest.fixture
def gateway_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs ``polychat gateway …``, and gives its exit code and what it printed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "polychat.toml"
    file.write_text(f'[gateway.state]\nurl = "sqlite:///{tmp_path}/kept.db"\n')

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["gateway", *arguments, "--config", str(file)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_from_one_key_to_a_team(gateway_command: Any, tmp_path: Path) -> None:
    """A key is printed once, alone; everything else shows it by its public id. Limits are changed one by one, and an audit
    log has each step; neither the database nor any other output contains the secret."""
    assert gateway_command("teams", "set", "red", "--dollars-per-month", "200") == (0, "red  -  $200.00 per month\n", "")
    assert gateway_command("people", "set", "ada", "--team", "red", "--rpm", "60")[0] == 0
    code, key, note = gateway_command(
        "keys", "create", "laptop", "--person", "ada", "--expires", "90d", "--models", "team,openai/*"
    )
    assert (code, mistake_in(key.strip().encode())) == (0, "")
    public, secret = key.split("-")[1:3]
    assert (public in note, secret in note) == (True, False)
    _, changed, _ = gateway_command("keys", "set-limit", "laptop", "--tpm", "1000", "--dollars-per-day", "2.5", "--models", "")
    assert changed == f"{public}  laptop  person ada  in use  never used  1,000 tokens per minute; $2.50 per day\n"
    _, changed, _ = gateway_command("keys", "set-limit", public, "--tpm", "0", "--unpriced", "2")
    assert changed.endswith("never used  $2.50 per day; unpriced: $2.00 per million tokens\n")
    per_user = ("rpm=10,dollars-per-day=0.5", "rpm=0", "")
    users = [gateway_command("keys", "set-limit", public, "--per-user", text)[1] for text in per_user]
    assert ["10 requests per minute for each user" in line for line in users] == [True, False, False]
    assert ["$0.50 per day for each user" in line for line in users] == [True, True, False]
    texts = [gateway_command("keys", "set-limit", public, "--keep-text", word)[1] for word in ("yes", "")]
    assert ["keep_text: True" in line for line in texts] == [True, False]
    _, rotated, _ = gateway_command("keys", "rotate", "laptop", "--grace", "1h")
    new = rotated.split("-")[1]
    assert gateway_command("keys", "revoke", "laptop") == (0, f"{new} is revoked\n", ""), "the name means the key that goes on"
    listed = json.loads(gateway_command("keys", "list", "--json")[1])
    assert [(entry["id"], entry["owner"], entry["state"]) for entry in listed] == [
        (public, "person:ada", "in use"),
        (new, "person:ada", "revoked"),
    ]
    assert gateway_command("people", "delete", "ada")[0] == 0
    assert gateway_command("people", "list")[1] == ""
    with sqlite3.connect(tmp_path / "kept.db") as database:
        audited = [row[0] for row in database.execute("SELECT action FROM audit ORDER BY at, rowid")]
    database.close()
    assert audited == [
        *("team.create", "person.create", "key.create", *["key.change"] * 7, "key.create", "key.rotate"),
        *("key.revoke", "person.delete"),
    ]
    for file in tmp_path.glob("kept.db*"):
        assert secret.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys", "create", "x", "--person", "nobody"), "no person 'nobody': create it first"),
        (("keys", "create", "a/b"), "without a slash"),
        (("keys", "create", "x", "--expires", "yesterday"), "--expires is 'yesterday'"),
        (("keys", "create", "x", "--expires", "2020-01-01"), "expired already"),
        (("keys", "create", "x", "--unpriced", "free"), "--unpriced is 'free'"),
        (("keys", "create", "x", "--dollars-per-day", "-1"), "--dollars-per-day is -1.0"),
        (("keys", "create", "x", "--dollars-per-day", "nan"), "--dollars-per-day is nan"),
        (("keys", "rotate", "labtop"), "no key 'labtop'; did you mean laptop?"),
        (("keys", "rotate", "laptop", "--grace", "soon"), "--grace is 'soon'"),
        (("people", "set", "bob", "--team", "x' OR 1=1 --"), "no team"),
        (("teams", "delete", "blue"), "no team 'blue'"),
    ],
)
def test_what_cannot_be_is_told(gateway_command: Any, arguments: tuple[str, ...], message: str) -> None:
    """In one line that names the argument, with exit code 2; nothing is changed."""
    gateway_command("keys", "create", "laptop")
    before = gateway_command("keys", "list")
    code, out, err = gateway_command(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert gateway_command("keys", "list") == before


def test_two_keys_of_one_name(gateway_command: Any) -> None:
    """Are told apart by their ids, which the error lists."""
    ids = [gateway_command("keys", "create", "laptop")[1].split("-")[1] for _ in range(2)]
    code, _, err = gateway_command("keys", "show", "laptop")
    assert (code, all(name in err for name in ids)) == (2, True)
    assert gateway_command("keys", "show", ids[0])[1].startswith(f"{ids[0]}  laptop  -  in use")


def test_a_changed_limit_warns_where_it_did() -> None:
    """A key's own share for warnings, which the admin API set, holds for the limits that the command changes; and the bounds of
    the command's numbers are those of the file."""
    arguments = parsed(["gateway", "keys", "set-limit", "laptop", "--rpm", "100", "--dollars-per-day", "8"])
    policy = policy_from(arguments, changed(Policy(), {"rpm": 10, "warn_at": 0.5}, "settings"))
    assert {(limit.metric, limit.cap, limit.soft) for limit in policy.limits} == {
        ("requests", 100, 50),
        ("dollars", 8_000_000_000, 4_000_000_000),
    }
    for name, most in (("tpm", gateway_key_arguments._MOST), ("dollars-per-day", gateway_key_arguments._MOST_DOLLARS)):
        for amount, is_good in ((most, True), (most + 1, False), (-1, False)):
            arguments = parsed(["gateway", "keys", "set-limit", "laptop", f"--{name}={amount}"])
            if is_good:
                assert settings_of(policy_from(arguments, Policy()))
            else:
                with pytest.raises(BadInput, match=rf"--{name} is {amount}(\.0)?: it must be a number from 0 to"):
                    policy_from(arguments, Policy())
