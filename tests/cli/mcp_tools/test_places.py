"""What ``--mcp`` names: a command, a URL, or an entry of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from polychat import config
from polychat.cli.mcp_tools.places import place_of
from polychat.config.mcp_server import McpServerSettings
from polychat.config.writing import config_text
from polychat.errors import BadInput, NotReady

FILE = Path("polychat.toml")


def test_a_command_is_split_as_a_shell_does() -> None:
    """Its name is that of the program until the server says its own; a URL's is its host."""
    place = place_of("sh -c 'echo \"a b\"'", {})
    assert (place.name, list(place.command), place.url) == ("sh", ["sh", "-c", 'echo "a b"'], "")
    place = place_of("HTTPS://user:pw-secret@mcp.example.com/x?y=1", {})
    assert (place.name, place.is_older) == ("mcp-example-com", False)
    assert "pw-secret" not in f"{place!r}{place.shown}"
    assert place_of("http://127.0.0.1:9/a/sse", {}).is_older


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("sh 'x", "not closed"),
        ("no-such-program-at-all x", "no such command, and polychat.toml has no"),
        ("fils", "did you mean files"),
        ("http://[", "the URL must be"),
    ],
)
def test_what_names_no_server_is_told(text: str, says: str) -> None:
    """With the nearest name of the configuration."""
    with pytest.raises(BadInput, match=says):
        place_of(text, {"files": McpServerSettings(command="sh")})


def test_a_table_of_the_configuration_is_read_and_shown() -> None:
    """A list of words is taken as it is; shown without what may be secret; a secret that is missing is named by its key."""
    configured = config.parsed(
        '[mcp.files]\ncommand = ["sh", "a b"]\nenv = { TOKEN = "env:NO_SUCH_VARIABLE" }\n'
        '[mcp.web]\nurl = "https://u:pw-secret@x.example/mcp"\ntoken = "env:NO_SUCH_VARIABLE"\n',
        FILE,
    )
    assert configured.mcp["files"].command == ("sh", "a b")
    with pytest.raises(NotReady, match=r"mcp\.files\.env\.TOKEN refers to env:NO_SUCH_VARIABLE, which is not set"):
        place_of("files", configured.mcp)
    with pytest.raises(NotReady, match=r"mcp\.web\.token"):
        place_of("web", configured.mcp)
    text = config_text(configured)
    assert "pw-secret" not in text
    assert 'env = { TOKEN = "(hidden)" }' in text


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[mcp.a]", "must have either a command or a url"),
        ('[mcp.a]\ncommand = "x"\nurl = "http://x/"', "must have either a command or a url"),
        ('[mcp.a]\nurl = "ftp://x/"', r"mcp\.a\.url must be a URL"),
        ('[mcp.a]\ncommand = "x"\ntoken = "env:X"', "goes with a url only"),
        ('[mcp.a]\nurl = "http://x/"\nenv = { A = "b" }', "goes with a command only"),
        ('[mcp.a]\nurl = "http://x/"\ntoken = "t-secret"', "must be a reference to the secret"),
        ('[mcp."a b"]\ncommand = "x"', "is not a valid name"),
        ('[mcp.a]\ncomand = "x"', "did you mean command"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(table: str, says: str) -> None:
    """Where it is read or used, with its place, and without a value that may be a secret."""
    with pytest.raises(BadInput, match=says) as raised:
        servers = config.parsed(table, FILE).mcp
        place_of(next(iter(servers)), servers)
    assert "t-secret" not in str(raised.value)
