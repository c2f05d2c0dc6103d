"""The configuration as it is shown: nothing that may be a secret, wherever a person wrote it."""

from __future__ import annotations

from pathlib import Path

from polychat import config
from polychat.config.writing import config_text


def test_secrets_in_addresses_and_commands_are_hidden() -> None:
    """A webhook's path, a database's parameters, and what a command gets as a token; the rest is shown as it is."""
    shown = config_text(
        config.parsed(
            """
            [gateway.webhook]
            url = "https://hooks.example.com/services/T0/CANARY?token=CANARY"
            [gateway.state]
            url = "postgresql://polychat@127.0.0.1/db?password=CANARY&sslmode=require"
            shared = "valkeys://10.0.0.1:6379/0?password=CANARY"
            [mcp.files]
            command = ["serve", "--root", "/srv", "--api-key", "CANARY", "sk-CANARY", "--token=CANARY"]
            """,
            Path("polychat.toml"),
        )
    )
    assert "CANARY" not in shown
    assert 'command = ["serve", "--root", "/srv", "--api-key", "(hidden)", "(hidden)", "--token=…"]' in shown
    assert "https://hooks.example.com/(hidden)" in shown
    assert "postgresql://polychat@127.0.0.1/db?(hidden)" in shown


def test_what_holds_no_secret_is_shown_whole() -> None:
    """References and addresses without parameters, so that the text read again is the same configuration."""
    read = config.parsed(
        '[gateway.webhook]\nurl = "env:HOOK"\n[gateway.state]\nurl = "postgresql://me@127.0.0.1/db"\nshared = "file:a?b"\n',
        Path("polychat.toml"),
    )
    assert config.parsed(config_text(read), Path("polychat.toml")) == read
